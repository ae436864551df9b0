"""What is compared: everything that was recorded, whatever sizes the checkpoint has."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")

from safetensors.torch import load_file  # noqa: E402  (torch is known to be there now)
from torch import Tensor  # noqa: E402

from lisa_tool.errors import (  # noqa: E402
    CheckpointInvalid,
    CheckpointNotFound,
    ImageNotFound,
    ImageUnreadable,
    LisaError,
    WeightsCorrupt,
)
from lisa_tool.eval.parity.compare import CaseReport  # noqa: E402
from lisa_tool.eval.parity.recording import RecordingInvalid  # noqa: E402
from lisa_tool.eval.parity.run import compare_recording  # noqa: E402
from lisa_tool.eval.parity.summary import document  # noqa: E402
from tests.eval.golden_copy import CASE, CLIP, GOLDEN, IMAGE, golden_copy, rewrite_json, rewrite_tensors  # noqa: E402
from tests.eval.recorded import write_recording  # noqa: E402

Damage = Callable[[Path], object]

BESIDE = ("prompts", "token_ids legacy_true", "token_ids legacy_false", "metrics", "reasonseg")
FULL_SIZE = {"full_size_keys_7b": 7401.6, "full_size_keys_13b": 13689.8}  # millions of parameters
NOT_BY_NAME = ("gt_masks_", "pred_masks_shape")  # they go into what is compared under another name


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording whose checkpoint has other sizes in every part; made by a slow path of its own."""
    return write_recording(tmp_path_factory.mktemp("recorded"))


def compared(folder: Path) -> dict[str, CaseReport]:
    return {report.name: report for report in compare_recording(folder)}


def assert_all_of_it_is_compared(folder: Path, reports: Mapping[str, CaseReport]) -> None:
    """No tensor of any file is left out in silence."""
    for path in folder.glob("*.safetensors"):
        names = {name for name in load_file(path) if not name.startswith(NOT_BY_NAME)}
        assert names <= {difference.name for difference in reports[path.stem].differences}
    assert [report.name for report in reports.values() if report.unknown] == []


def test_all_that_was_recorded_of_the_reference_is_compared_and_alike() -> None:
    reports = compared(GOLDEN / "nano")
    assert [report.line() for report in reports.values() if not report.passed] == []
    assert_all_of_it_is_compared(GOLDEN / "nano", reports)
    meta = json.loads((GOLDEN / "nano" / "meta.json").read_text("utf-8"))
    images = {f"preprocess {image}" for image in meta["images"]}
    assert reports.keys() == {"checkpoint", *meta["cases"], *images, *BESIDE, *FULL_SIZE}
    for name, millions in FULL_SIZE.items():
        n_parameters = reports[name].n_parameters
        assert n_parameters and n_parameters / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.slow
def test_a_checkpoint_of_other_sizes_is_compared_alike(other: Path) -> None:
    reports = compared(other)
    assert_all_of_it_is_compared(other, reports)
    absent = ("preprocess/", *(name.partition(" ")[0] for name in BESIDE), "full_size_keys")
    for name, report in reports.items():
        assert report.skipped if name.startswith(absent) else report.passed, report.line()
    shapes = {name: tuple(t.shape) for name, t in load_file(other / "forward_t1_wide.safetensors").items()}
    assert shapes["low_res_masks"] == (1, 1, 256, 256)
    assert shapes["decoder_tokens"] == (1, 6, 256)
    assert {"layer3_out", "sam_block3_out_every4"} <= shapes.keys()


@pytest.mark.slow
def test_a_thousandth_more_in_any_tensor_is_found(other: Path, tmp_path: Path) -> None:
    for part in (CLIP, "images", "other"):
        shutil.copytree(other.parent / part, tmp_path / part)
    for path in (tmp_path / "other").glob("*.safetensors"):
        rewrite_tensors(
            path, lambda tensors: [t.add_(1e-3) for t in tensors.values() if t.is_floating_point()]
        )
    n_changed = 0
    for name, report in compared(tmp_path / "other").items():
        path = tmp_path / "other" / f"{name}.safetensors"
        changed = {n for n, t in load_file(path).items() if t.is_floating_point()} if path.exists() else set()
        exceeding = {d.name for d in report.differences if d.exceeds}
        assert exceeding == changed, report.line()
        assert all(d.value == pytest.approx(1e-3, rel=0.05) for d in report.differences if d.exceeds)
        n_changed += len(changed)
    assert n_changed > 50


def test_what_nobody_knows_is_said_and_does_not_fail(tmp_path: Path) -> None:
    folder = golden_copy(tmp_path, beside=("preprocess/tiny.safetensors",))
    for path in (folder / f"{CASE}.safetensors", tmp_path / "preprocess" / "tiny.safetensors"):
        rewrite_tensors(path, lambda tensors: tensors.update(tea_leaves=torch.ones(3)))
    shutil.copyfile(folder / f"{CASE}.safetensors", folder / "tarot_t1.safetensors")
    rewrite_json(folder / "meta.json", lambda meta: meta["cases"].update(horoscope_h1={"sign": "leo"}))
    reports = compared(folder)
    for name in (CASE, f"preprocess {IMAGE}"):
        assert reports[name].passed
        assert reports[name].line().endswith("not compared: tea_leaves")
    for name in ("tarot_t1", "horoscope_h1"):
        assert reports[name].line().startswith(f"skip {name}  not compared")
    found = document(list(reports.values()))
    assert found["passed"]
    assert found["not_compared"] == [f"{CASE}: tea_leaves", f"preprocess {IMAGE}: tea_leaves"]
    assert {"tarot_t1", "horoscope_h1", "metrics"} <= found["skipped"].keys()


@pytest.mark.slow
def test_settings_of_the_user_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LISA_PRECISION": "bf16",
        "LISA_DEVICE": "cuda",
        "LISA_CLIP_PATH": str(tmp_path),
        "LISA_WEIGHTS_DIR": str(tmp_path / "weights"),
        "LISA_LIMITS__MAX_PIXELS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert compared(golden_copy(tmp_path))[CASE].passed
    assert not (tmp_path / "weights").exists()


def write(name: str, data: bytes) -> Damage:
    """Puts other content into a file."""
    return lambda root: (root / name).write_bytes(data)


def remove(name: str) -> Damage:
    """Takes a file or folder away."""
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def in_json(name: str, change: Callable[[Any], object]) -> Damage:
    return lambda root: rewrite_json(root / name, change)


def in_tensors(name: str, change: Callable[[dict[str, Tensor]], object]) -> Damage:
    return lambda root: rewrite_tensors(root / name, change)


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (remove("nano/meta.json"), RecordingInvalid, r"nano/meta\.json cannot be read: No such file"),
        (write("nano/meta.json", b"{"), RecordingInvalid, r"nano/meta\.json is wrong: Invalid JSON"),
        (write("nano/meta.json", b"[]"), RecordingInvalid, r"nano/meta\.json is wrong"),
        (
            in_json("nano/meta.json", lambda meta: meta["cases"][CASE].pop("turns")),
            RecordingInvalid,
            rf"nano/meta\.json at cases\.{CASE}\.turns is wrong: Field required",
        ),
        (
            in_json("nano/meta.json", lambda meta: meta["cases"][CASE].update(conv_type="vicuna")),
            RecordingInvalid,
            f"{CASE} has conv_type 'vicuna'",
        ),
        (remove(f"nano/{CASE}.safetensors"), RecordingInvalid, rf"nano/{CASE}\.safetensors is missing"),
        (
            write(f"nano/{CASE}.safetensors", b"\xff" * 100),
            RecordingInvalid,
            rf"nano/{CASE}\.safetensors cannot be read",
        ),
        (
            in_tensors(f"nano/{CASE}.safetensors", lambda t: t.pop("pred_masks_shape")),
            RecordingInvalid,
            rf"{CASE}\.safetensors has no pred_masks_shape",
        ),
        (remove("nano/checkpoint"), RecordingInvalid, "nano/checkpoint is missing"),
        (remove("nano/checkpoint/config.json"), CheckpointInvalid, r"config\.json"),
        (write("nano/checkpoint/pytorch_model.bin", b"PK"), WeightsCorrupt, r"pytorch_model\.bin"),
        (
            in_json("nano/checkpoint/config.json", lambda config: config.update(hidden_size=65)),
            CheckpointInvalid,
            "hidden_size",
        ),
        (remove(CLIP), CheckpointNotFound, "CLIP"),
        (remove("images/tiny.png"), ImageNotFound, r"tiny\.png"),
        (write("images/tiny.png", b"\x89PNG"), ImageUnreadable, "image"),
    ],
)
@pytest.mark.slow
def test_a_part_that_is_missing_or_damaged_is_one_error_that_names_it(
    damage: Damage, error: type[LisaError], words: str, tmp_path: Path
) -> None:
    folder = golden_copy(tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=words) as raised:
        compared(folder)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (write("metrics.json", b"{}"), r"metrics\.json at giou is wrong: Field required"),
        (write("metrics.safetensors", b""), r"metrics\.safetensors cannot be read"),
        (in_tensors("metrics.safetensors", lambda t: t.pop("gt_1")), r"metrics\.safetensors has no gt_1"),
        (
            in_tensors("metrics.safetensors", lambda t: t["gt_0"].fill_(7)),
            r"metrics\.safetensors is wrong at gt_0",
        ),
        (write("prompts.json", b"\xff"), r"prompts\.json is wrong"),
        (remove("reasonseg/info.json"), r"reasonseg/info\.json cannot be read"),
    ],
)
@pytest.mark.slow
def test_so_is_what_lies_beside_the_folder(damage: Damage, words: str, tmp_path: Path) -> None:
    beside = ("metrics.json", "metrics.safetensors", "prompts.json", "reasonseg")
    folder = golden_copy(tmp_path, cases=(), beside=beside)
    damage(tmp_path)
    with pytest.raises(RecordingInvalid, match=words) as raised:
        compared(folder)
    assert raised.value.hint


def test_a_sample_is_compared_with_what_it_was_taken_from() -> None:
    ours = torch.arange(2 * 10.0).reshape(1, 2, 10)
    report = CaseReport("case")
    report.close("it_every8", "masks", ours, ours[..., ::8])  # 8, though 5 gives as many
    report.close("it_every2ch", "masks", ours, ours[:, ::2])
    report.close("it", "masks", ours, ours[..., ::4])
    report.close("without its batch", "masks", ours, ours[0])
    assert [d.value for d in report.differences] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (torch.zeros(4, 3), torch.zeros(2, 3)),  # half as many masks are no sample
        (torch.zeros(2, 3), torch.zeros(2, 4)),
        (torch.zeros(2, 3), torch.zeros(2, 3, 1, 1)),
        (torch.full((2,), math.nan), torch.zeros(2)),
        (torch.zeros(2), torch.full((2,), math.inf)),
    ],
)
def test_what_has_another_shape_or_is_no_number_is_infinitely_far_away(ours: Tensor, theirs: Tensor) -> None:
    report = CaseReport("case")
    report.close("it", "masks", ours, theirs)
    assert report.differences[0].value == math.inf
    assert not report.passed
    assert document([report])["worst"]["masks"]["value"] is None


@pytest.mark.parametrize(("n_flipped", "passes"), [(0, True), (2, True), (3, False)])
def test_one_pixel_in_a_hundred_thousand_may_differ(n_flipped: int, passes: bool) -> None:
    ours = torch.zeros(1, 400, 500, dtype=torch.bool)
    recorded = torch.from_numpy(np.packbits(ours.numpy()))
    ours.view(-1)[:n_flipped] = True
    report = CaseReport("case")
    report.same_pixels("mask", ours, recorded, [1, 400, 500])
    assert report.passed is passes


@pytest.mark.parametrize("shape", [[1, 4, 4], [2, 8], [1, 100, 100]])
def test_masks_of_another_shape_are_infinitely_far_away(shape: list[int]) -> None:
    report = CaseReport("case")
    report.same_pixels(
        "mask", torch.zeros(1, 8, 8, dtype=torch.bool), torch.zeros(8, dtype=torch.uint8), shape
    )
    assert report.differences[0].value == math.inf


def test_a_line_names_what_exceeds_and_a_few_of_many() -> None:
    report = CaseReport("case")
    for i in range(5):
        report.near(f"loss {i}", "losses", 1.0, 2.0)
    report.equal("ids", "tokens", [1], [1])
    assert (
        report.line() == "FAIL case  tokens 0  losses 1.0e+00 ABOVE 1e-05 (loss 0, loss 1, loss 2 and 2 more)"
    )
