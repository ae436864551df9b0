"""`lisa-tool eval published`: a line an answer, JSON last, exit code 1 for answers unlike those published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lisa_tool.eval.published import MIN_MEAN_IOU, MIN_WITH_MASK
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Settings
from tests.cli.runner import CommandLine
from tests.cli.test_eval import without
from tests.eval.published_clone import make_clone
from tests.red import RedBackend

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def output_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where results go."""
    monkeypatch.setenv("LISA_OUTPUT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Lets the command ask RedBackend; the settings that it was opened with."""
    seen: list[Settings] = []

    def open_red(settings: Settings) -> LocalSegmenter:
        seen.append(settings)
        return LocalSegmenter(RedBackend(), settings)

    monkeypatch.setattr("lisa_tool.cli.eval.open_segmenter", open_red)
    return seen


def test_a_line_an_answer_and_the_mean_as_json_last(
    cli: CommandLine, opened: list[Settings], tmp_path: Path
) -> None:
    clone = make_clone(tmp_path / "clone")
    ran = cli("eval", "published", clone, "--model", "some/model", "--precision", "nf4", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    *lines, last = ran.out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("obama          IoU 0.9")
    assert lines[0].endswith("  found      masks 1  no Obama")
    found = json.loads(last)
    assert (found["clone"], found["passed"], found["model"]["name"]) == (str(clone), True, "red")
    assert found["mean_iou"] > 0.95
    assert Path(found["answers"][0]["overlay_path"]).is_file()
    assert found["answers"][0]["said"] == "1 red. It is red."
    assert [(s.model, s.precision, s.device) for s in opened] == [("some/model", "nf4", "cpu")]


def test_other_masks_than_the_published_ones_end_in_exit_code_1(
    cli: CommandLine, opened: list[Settings], tmp_path: Path
) -> None:
    names = ("obama", "trump", "stand_higher")
    ran = cli("eval", "published", make_clone(tmp_path / "clone", unseen=names), "--json")
    assert (ran.code, ran.document["passed"], ran.document["with_mask"]) == (1, False, 7)


def test_real_lisa_of_random_weights_fails(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")
    from tests.lisa.checkpoint.checkpoints import CLIP, NANO

    monkeypatch.setenv("LISA_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("LISA_CLIP_PATH", str(CLIP))
    monkeypatch.setenv("LISA_LIMITS__MAX_NEW_TOKENS", "4")
    clone = make_clone(tmp_path / "clone")
    ran = cli("eval", "published", clone, "--model", NANO, "--precision", "fp32", "--device", "cpu", "--json")
    assert (ran.code, ran.document["passed"]) == (1, False)
    assert ran.document["mean_iou"] < MIN_MEAN_IOU
    assert (ran.document["model"]["backend"], ran.document["model"]["precision"]) == ("lisa", "fp32")


def test_a_folder_that_is_no_clone_is_told_before_a_model_is_opened(
    cli: CommandLine, opened: list[Settings], tmp_path: Path
) -> None:
    ran = cli("eval", "published", tmp_path, "--json")
    assert (ran.code, ran.error["code"]) == (2, "clone_invalid")
    assert ran.error["message"] == f"{str(tmp_path)!r} has no imgs/, vis_output/"
    assert "git clone" in ran.error["hint"]
    assert opened == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["published"], "eval published needs a CLONE"),
        (["published", "/no/such/folder"], "'/no/such/folder' is not a folder"),
        (
            ["lite", "--model", "some/model"],
            "--model, --precision and --device are options of eval published",
        ),
        (
            ["parity", "/", "--device", "cuda"],
            "--model, --precision and --device are options of eval published",
        ),
    ],
)
def test_mistakes_are_usage_errors(cli: CommandLine, words: list[str], complaint: str) -> None:
    ran = cli("eval", *words, "--json")
    assert (ran.code, ran.error["code"]) == (2, "usage")
    assert complaint in ran.error["message"]


def test_the_help_tells_the_bounds(cli: CommandLine) -> None:
    text = " ".join(cli("eval", "--help").out.split())
    assert f"the mean IoU is below {MIN_MEAN_IOU} or fewer than {MIN_WITH_MASK} answers have a mask" in text


def test_a_part_that_is_not_installed_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    code, error = without("torch", "eval", "published", str(make_clone(tmp_path)), tmp=tmp_path)
    assert (code, error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lisa]'" in error["message"]
