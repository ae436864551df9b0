"""Every example runs as it is written, with the embedded default on real photos, and leaves its files."""

from __future__ import annotations

import csv
import importlib.util
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageStat

import lisa_tool
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Settings
from tests.conftest import PHOTOS
from tests.integrations.frameworks import REQUIRED

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
LONGEST = 60  # lines, so that one is read in a minute
Run = Callable[..., str]


@pytest.fixture
def run(
    lite: LocalSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Runs an example in an empty folder and returns what it printed. The model is loaded already."""

    def open_shared(settings: Settings) -> LocalSegmenter:
        shared = LocalSegmenter(lite._backend, settings)
        monkeypatch.setattr(shared, "close", lambda: None)
        return shared

    for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(lisa_tool, "open_segmenter", open_shared)
    monkeypatch.setattr("lisa_tool.integrations._common.open_segmenter", open_shared)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def start(name: str, *arguments: str) -> str:
        monkeypatch.setattr("sys.argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capfd.readouterr().out

    return start


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


def test_each_is_short_and_tells_how_it_is_started() -> None:
    examples = sorted(EXAMPLES.glob("0*.py"))
    assert [path.name[:2] for path in examples] == [f"0{n}" for n in range(1, len(examples) + 1)]
    for path in [*examples, EXAMPLES / "scripted.py"]:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= LONGEST, path.name
        assert path.name == "scripted.py" or f"python examples/{path.name}" in text.split('"""')[1]


def test_01_prints_the_answer_and_counts_the_pixels_of_its_masks(run: Run) -> None:
    printed = run("01_segment.py")
    assert "Outcome: found." in printed
    assert "helmet: " in printed and "pixels of a 512x512 image" in printed
    assert len(list(Path("lisa-results").glob("res_*/mask_0.png"))) == 1


def test_01_says_what_is_wrong_with_an_image(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"\[image_not_found\]"):
        run("01_segment.py", "nothing.jpg", "the cup")


def test_02_asks_on_without_looking_again(run: Run) -> None:
    printed = run("02_follow_up.py")
    first, *later = re.findall(r"the image was looked at (\d) times", printed)
    assert first in "01"  # another test may have looked at it
    assert later == ["0", "0"]
    assert size_of("lisa-results/follow-up.jpg") == (3 * 600, 400)


def test_03_is_an_agent_that_looks_before_it_trusts(run: Run) -> None:
    pytest.importorskip("langchain", reason="needs langchain: pip install 'lisa-tool[langchain-agent]'")
    printed = run("03_langchain_agent.py")
    assert (
        printed.index('Mask 1 "hat"') < printed.index("Name: view_result") < printed.index('Mask 1 "person"')
    )
    assert printed.index("Outcome: uncertain.") < printed.index("Outcome: found.")
    assert "100% done" in printed
    assert printed.rstrip().endswith("the masks are above.")


def test_04_goes_on_with_other_words_and_leaves_a_cut_out(run: Run) -> None:
    pytest.importorskip("langgraph", reason="needs langgraph: pip install 'lisa-tool[langchain-agent]'")
    printed = run("04_langgraph_workflow.py")
    assert printed.index("Outcome: not_found.") < printed.index("Outcome: found.")
    assert "use it" in printed and "7 checkpoints" in printed
    with Image.open("lisa-results/cutout.png") as cutout:
        assert cutout.mode == "RGBA"
        assert cutout.getchannel("A").getextrema() == (0, 255)


def test_04_cuts_upright_what_was_taken_with_a_turned_camera(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("langgraph", reason="needs langgraph: pip install 'lisa-tool[langchain-agent]'")
    turned = tmp_path / "turned.jpg"
    with Image.open(PHOTOS / "coffee.jpg") as upright:
        exif = upright.getexif()
        exif[ExifTags.Base.Orientation] = 6  # to be turned right
        upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
        run("04_langgraph_workflow.py", str(turned), "the cup")
        with Image.open("lisa-results/cutout.png") as cutout:
            shown = ImageStat.Stat(cutout.convert("RGB"), cutout.getchannel("A")).mean
            (path,) = Path("lisa-results").glob("res_*/mask_0.png")
            expected = ImageStat.Stat(upright.convert("RGB"), Image.open(path)).mean
    assert shown == pytest.approx(expected, abs=3)  # JPEG, twice


def test_04_ends_when_nothing_is_found(run: Run) -> None:
    pytest.importorskip("langgraph", reason="needs langgraph: pip install 'lisa-tool[langchain-agent]'")
    printed = run("04_langgraph_workflow.py", str(PHOTOS / "coffee.jpg"), "the laptop")
    assert "Outcome: not_found." in printed and "None None" in printed


@pytest.mark.filterwarnings("default")  # langchain.mcp says that it is beta
def test_05_asks_the_same_over_mcp(run: Run) -> None:
    if not importlib.util.find_spec("fastmcp"):
        assert not REQUIRED
        pytest.skip("needs fastmcp: pip install 'langchain[mcp]'")
    printed = run("05_mcp.py")
    assert printed.count("Outcome: found.") == 2
    assert printed.index('Mask 1 "cup"') < printed.index('Mask 1 "spoon"')
    assert len(list(Path("lisa-results").glob("res_*/mask_0.png"))) == 2


def test_06_writes_a_line_and_a_picture_for_each_photo(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee.jpg", "texting.jpg"):
        shutil.copy(PHOTOS / name, folder)
    run("06_batch.py", str(folder), "the person")
    with open("lisa-results/batch.csv", encoding="utf-8", newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "coffee.jpg": "not_found",
        "texting.jpg": "found",
    }
    assert float(rows["texting.jpg"]["area_fraction"]) > 0.2
    assert size_of("lisa-results/batch.jpg") == (960, 320)
