from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from lisa_tool.errors import Cancelled, CheckpointInvalid, OutputFull, OutputNotWritable, WeightsCorrupt
from lisa_tool.lisa.checkpoint.building import alone
from lisa_tool.lisa.checkpoint.convert import convert_checkpoint, convert_clip
from lisa_tool.lisa.checkpoint.manifest import read_manifest, sha256_of, verify
from lisa_tool.lisa.checkpoint.work import ByteCount
from tests.lisa.checkpoint.checkpoints import (
    BIN,
    CLIP,
    NANO,
    Waiting,
    copy_of,
    recorded_state,
    torch,
    with_state,
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for what is converted."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    """What a folder shows; locks and the like are hidden."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def read_back(folder: Path) -> dict[str, torch.Tensor]:
    return {
        key: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for key, tensor in load_file(path).items()
    }


@pytest.mark.parametrize("n_shards", [1, 3])
def test_every_tensor_comes_out_bit_by_bit_in_its_type(tmp_path: Path, place: Path, n_shards: int) -> None:
    source = with_state(copy_of(NANO, tmp_path / "source"), recorded_state(), n_shards=n_shards)
    manifest = convert_checkpoint(source, place / "out", work=Waiting(), max_shard_bytes=400_000)
    kept = {key: t for key, t in recorded_state().items() if not key.endswith("inv_freq")}
    found = read_back(place / "out")
    assert manifest.n_tensors == len(kept) == 210
    assert found.keys() == kept.keys()
    for key, tensor in kept.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key].view(torch.uint8), tensor.contiguous().view(torch.uint8)), key


def test_no_file_is_larger_than_was_asked_and_the_index_names_the_file_of_each_tensor(place: Path) -> None:
    convert_checkpoint(NANO, place / "out", work=Waiting(), max_shard_bytes=600_000)
    shards = sorted((place / "out").glob("*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    index = json.loads((place / "out" / "model.safetensors.index.json").read_text("utf-8"))
    homes: dict[str, str] = {}
    for shard in shards:
        tensors = load_file(shard)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 600_000
        homes |= dict.fromkeys(tensors, shard.name)
    assert index["weight_map"] == homes
    with safe_open(shards[0], "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_tensor_that_is_larger_than_a_file_may_be_has_one_to_itself(place: Path) -> None:
    manifest = convert_checkpoint(NANO, place / "out", work=Waiting(), max_shard_bytes=1)
    assert len(list((place / "out").glob("*.safetensors"))) == manifest.n_tensors


def test_config_and_tokenizer_come_along_and_nothing_else(tmp_path: Path, place: Path) -> None:
    source = copy_of(NANO, tmp_path / "source")
    (source / "README.md").write_text("hello", "utf-8")
    convert_checkpoint(source, place / "out", work=Waiting())
    copied = names(NANO) - {BIN}
    weights = {"model-00001-of-00001.safetensors", "model.safetensors.index.json", "manifest.json"}
    assert names(place / "out") == copied | weights
    assert all((place / "out" / name).read_bytes() == (NANO / name).read_bytes() for name in copied)


def test_the_manifest_tells_what_every_file_is_and_where_it_came_from(place: Path) -> None:
    made = convert_checkpoint(NANO, place / "out", work=Waiting(), name="xinlai/LISA-nano", revision="a" * 40)
    manifest = read_manifest(place / "out")
    assert manifest == made
    assert (manifest.source, manifest.revision) == ("xinlai/LISA-nano", "a" * 40)
    assert manifest.files.keys() == names(place / "out") - {"manifest.json"}
    assert manifest.source_files == {BIN: sha256_of(NANO / BIN, ByteCount(Waiting(), "", 1))}
    verify(place / "out", manifest.files, hashes=True, work=Waiting())


def test_two_conversions_have_the_same_fingerprint(tmp_path: Path) -> None:
    one = convert_checkpoint(NANO, tmp_path / "one", work=Waiting())
    other = convert_checkpoint(NANO, tmp_path / "other", work=Waiting())
    assert one.weights_sha256 == other.weights_sha256
    less = convert_checkpoint(NANO, tmp_path / "less", work=Waiting(), max_shard_bytes=400_000)
    assert less.weights_sha256 != one.weights_sha256


def test_everyone_may_read_what_everyone_may_read_by_default(place: Path) -> None:
    convert_checkpoint(NANO, place / "out", work=Waiting())
    modes = {path.stat().st_mode & 0o777 for path in (place / "out").iterdir()}
    assert modes == {(place / "out" / "manifest.json").stat().st_mode & 0o777}


def test_views_and_one_tensor_under_two_names_are_written_out(tmp_path: Path, place: Path) -> None:
    state = recorded_state()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    key = "model.layers.0.self_attn.q_proj.weight"
    state[key] = state[key].T.contiguous().T
    source = with_state(copy_of(NANO, tmp_path / "source"), state)
    convert_checkpoint(source, place / "out", work=Waiting())
    found = read_back(place / "out")
    assert torch.equal(found[key], recorded_state()[key])
    assert torch.equal(found["lm_head.weight"], found["model.embed_tokens.weight"])


def test_what_is_converted_already_is_left_as_it_is(place: Path) -> None:
    convert_checkpoint(NANO, place / "out", work=Waiting())
    before = {path.name: path.stat().st_mtime_ns for path in (place / "out").iterdir()}
    convert_checkpoint(NANO, place / "out", work=Waiting())
    assert {path.name: path.stat().st_mtime_ns for path in (place / "out").iterdir()} == before


def test_another_folder_of_the_same_name_is_not_taken_for_what_is_there(tmp_path: Path, place: Path) -> None:
    convert_checkpoint(copy_of(NANO, tmp_path / "one" / "lisa"), place / "out", work=Waiting())
    state = recorded_state()
    state["lm_head.weight"] += 1
    other = with_state(copy_of(NANO, tmp_path / "two" / "lisa"), state)
    with pytest.raises(OutputNotWritable, match="holds lisa already"):
        convert_checkpoint(other, place / "out", work=Waiting())


@pytest.mark.parametrize("there", ["notes.txt", "manifest of another"])
def test_a_folder_that_holds_something_else_is_not_touched(place: Path, there: str) -> None:
    out = place / "out"
    if there == "notes.txt":
        out.mkdir()
        (out / there).write_text("mine", "utf-8")
    else:
        convert_checkpoint(NANO, out, work=Waiting(), name="somebody/else")
    before = names(out)
    with pytest.raises(OutputNotWritable):
        convert_checkpoint(NANO, out, work=Waiting())
    assert names(out) == before
    assert names(place) == {"out"}


def test_an_empty_folder_is_filled(place: Path) -> None:
    (place / "out").mkdir()
    convert_checkpoint(NANO, place / "out", work=Waiting())
    assert read_manifest(place / "out")


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 0.9])
def test_a_conversion_that_is_cancelled_leaves_nothing(place: Path, at: float) -> None:
    waiting = Waiting(until=lambda stage, fraction: fraction > at)
    with pytest.raises(Cancelled):
        convert_checkpoint(NANO, place / "out", work=waiting, max_shard_bytes=100_000)
    assert not names(place)


def test_what_a_dead_run_left_is_cleared(place: Path) -> None:
    part = place / ".out.part"
    part.mkdir()
    (part / "model-00009-of-00009.safetensors").write_bytes(b"half")
    convert_checkpoint(NANO, place / "out", work=Waiting())
    assert names(place) == {"out"}
    assert "model-00009-of-00009.safetensors" not in names(place / "out")


def test_a_disk_without_room_is_refused_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    waiting = Waiting()
    with pytest.raises(OutputFull, match=r"0\.0 GB are free"):
        convert_checkpoint(NANO, place / "out", work=waiting)
    assert not names(place)
    assert not waiting.told


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OutputFull):
        convert_checkpoint(NANO, place / "out", work=Waiting())
    assert not names(place)


def test_two_who_want_the_same_convert_it_once(place: Path) -> None:
    class Telling(Waiting):
        def tell(self, stage: str, fraction: float) -> None:
            super().tell(stage, fraction)
            waits.release()

    waits, both = threading.Semaphore(0), [Telling(), Telling()]
    with ThreadPoolExecutor() as pool:
        with alone(place / "out", Waiting()):
            made = [pool.submit(convert_checkpoint, NANO, place / "out", work=one) for one in both]
            assert waits.acquire(timeout=30) and waits.acquire(timeout=30)
        assert made[0].result(60) == made[1].result(60) == read_manifest(place / "out")
    assert sum("converting the weights" in one.stages for one in both) == 1


def test_whoever_waits_for_another_conversion_can_be_cancelled(place: Path) -> None:
    waiting = Waiting(until=lambda stage, fraction: True)
    with alone(place / "out", Waiting()), ThreadPoolExecutor() as pool:
        other = pool.submit(convert_checkpoint, NANO, place / "out", work=waiting)
        with pytest.raises(Cancelled):
            other.result(30)


def test_progress_rises_from_the_source_to_the_last_byte_written(place: Path) -> None:
    waiting = Waiting()
    convert_checkpoint(NANO, place / "out", work=waiting, max_shard_bytes=100_000)
    fractions = [fraction for _, fraction in waiting.told]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.3
    assert fractions[-1] == pytest.approx(1, abs=0.05)


def test_a_checkpoint_in_safetensors_is_converted_too(tmp_path: Path) -> None:
    convert_checkpoint(NANO, tmp_path / "one", work=Waiting(), max_shard_bytes=400_000)
    (tmp_path / "one" / "manifest.json").unlink()
    again = convert_checkpoint(tmp_path / "one", tmp_path / "two", work=Waiting(), max_shard_bytes=400_000)
    assert {name for name in again.source_files if name.endswith(".safetensors")} == set(again.source_files)
    assert read_back(tmp_path / "two").keys() == read_back(tmp_path / "one").keys()


def in_the_hubs_cache(folder: Path, recorded: str) -> Path:
    """The checkpoint as huggingface_hub keeps it: links to blobs, which have their hash as their name."""
    snapshot, blobs = copy_of(NANO, folder / "snapshots" / ("a" * 40)), folder / "blobs"
    blobs.mkdir()
    (snapshot / BIN).rename(blobs / recorded)
    (snapshot / BIN).symlink_to(blobs / recorded)
    return snapshot


def test_a_download_whose_hash_is_the_hubs_is_converted(tmp_path: Path, place: Path) -> None:
    snapshot = in_the_hubs_cache(tmp_path, sha256_of(NANO / BIN, ByteCount(Waiting(), "", 1)))
    convert_checkpoint(snapshot, place / "out", work=Waiting())
    assert names(place) == {"out"}


def test_a_download_with_another_hash_than_the_hubs_is_refused_with_both(tmp_path: Path, place: Path) -> None:
    found, recorded = sha256_of(NANO / BIN, ByteCount(Waiting(), "", 1)), "0" * 64
    snapshot = in_the_hubs_cache(tmp_path, recorded)
    with pytest.raises(WeightsCorrupt, match=f"{found}, it should be {recorded}"):
        convert_checkpoint(snapshot, place / "out", work=Waiting())
    assert not names(place)


def test_clip_is_converted_from_a_folder_with_the_whole_of_it(tmp_path: Path, place: Path) -> None:
    source = copy_of(CLIP, tmp_path / "clip")
    state = torch.load(source / BIN, weights_only=True)
    extra = {
        "text_model.encoder.layers.0.mlp.fc1.bias": torch.zeros(3),
        "logit_scale": torch.tensor(4.0),
        "visual_projection.weight": torch.zeros(2, 2),
        "vision_model.embeddings.position_ids": torch.arange(257)[None],
    }
    torch.save(state | extra, source / BIN)
    convert_clip(source, place / "out", work=Waiting())
    found = read_back(place / "out")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
    assert names(place / "out") >= {"config.json", "preprocessor_config.json", "manifest.json"}


def test_a_clip_without_a_layer_is_refused(tmp_path: Path, place: Path) -> None:
    source = copy_of(CLIP, tmp_path / "clip")
    state = torch.load(source / BIN, weights_only=True)
    del state["vision_model.encoder.layers.2.mlp.fc1.bias"]
    torch.save(state, source / BIN)
    with pytest.raises(CheckpointInvalid, match=r"1 tensor is missing .*encoder\.layers\.2\.mlp\.fc1\.bias"):
        convert_clip(source, place / "out", work=Waiting())
