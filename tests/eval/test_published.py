"""The published answers: read from a clone, asked again, and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lisa_tool.engine.call import Call, Progress
from lisa_tool.errors import UnknownModel
from lisa_tool.eval.published import (
    EXAMPLES,
    CloneInvalid,
    Comparison,
    compare_published,
    document,
    published_settings,
    read_published,
    recover_mask,
)
from lisa_tool.images import LoadedImage
from lisa_tool.masks.geometry import iou
from lisa_tool.pipeline import LocalSegmenter, Prediction, Question
from lisa_tool.segmenter import open_segmenter
from lisa_tool.store import read_mask
from tests.eval.published_clone import OVAL, background, make_clone, oval, save
from tests.red import RedBackend

NAMES = [example.name for example in EXAMPLES]
BY_NAME = {example.name: example for example in EXAMPLES}


@pytest.fixture(autouse=True)
def output_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where results go."""
    monkeypatch.setenv("LISA_OUTPUT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


class Talker(RedBackend):
    """Says what a test tells it."""

    def __init__(self, answer: str = "A thing.", reasoning: str = "") -> None:
        super().__init__()
        self._answer, self._reasoning = answer, reasoning

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        seen = super().predict(image, question, call)
        return replace(seen, answer=self._answer, reasoning=self._reasoning)


def compare(clone: Path, backend: RedBackend | None = None) -> list[Comparison]:
    settings = published_settings(clone)
    with LocalSegmenter(backend or RedBackend(), settings) as segmenter:
        return list(compare_published(read_published(clone, settings), segmenter))


def passes(comparisons: list[Comparison]) -> bool:
    passed = document(comparisons, RedBackend.model)["passed"]
    assert isinstance(passed, bool)
    return passed


def test_a_model_that_marks_what_was_published_passes(tmp_path: Path, output_dir: Path) -> None:
    backend = RedBackend()
    comparisons = compare(make_clone(tmp_path / "clone"), backend)
    assert [c.example.name for c in comparisons] == NAMES
    assert min(c.iou for c in comparisons) > 0.95
    assert passes(comparisons)
    assert backend.predicted == [example.question for example in EXAMPLES]
    for comparison in comparisons:
        path = Path(comparison.result.masks[0].path)
        assert path.is_relative_to(output_dir)
        assert iou(read_mask(path), oval(OVAL)) > 0.95


@pytest.mark.parametrize(("n_without", "passed"), [(2, True), (3, False)])
def test_two_answers_may_lack_a_mask_and_count_as_0(n_without: int, passed: bool, tmp_path: Path) -> None:
    comparisons = compare(make_clone(tmp_path, unseen=NAMES[:n_without]))
    found = document(comparisons, RedBackend.model)
    assert [answer["iou"] for answer in found["answers"][:n_without]] == [0.0] * n_without
    assert found["with_mask"] == 10 - n_without
    assert found["mean_iou"] == pytest.approx(1 - n_without / 10, abs=0.05)
    assert found["mean_iou"] > found["needed_mean_iou"]
    assert found["passed"] is passed


@pytest.mark.parametrize(("n_missed", "passed"), [(3, True), (5, False)])
def test_masks_in_the_wrong_place_fail_however_many_there_are(
    n_missed: int, passed: bool, tmp_path: Path
) -> None:
    comparisons = compare(make_clone(tmp_path, missed=NAMES[:n_missed]))
    assert all(c.has_mask for c in comparisons)
    assert passes(comparisons) is passed


def test_of_several_masks_the_first_is_compared_and_all_are_counted(tmp_path: Path) -> None:
    comparisons = compare(make_clone(tmp_path, twice=["jackma"]))
    assert {c.example.name: len(c.result.masks) for c in comparisons} == dict.fromkeys(NAMES, 1) | {
        "jackma": 2
    }
    assert comparisons[NAMES.index("jackma")].iou > 0.95
    assert document(comparisons, RedBackend.model)["one_mask"] == 9


def test_a_mask_without_pixels_is_none(tmp_path: Path) -> None:
    (first, *_) = compare(make_clone(tmp_path))
    empty = first.result.masks[0].model_copy(update={"area_px": 0, "box": None})
    assert not replace(first, result=first.result.model_copy(update={"masks": (empty,)})).has_mask


def test_words_count_in_any_case_and_ending_but_not_inside_of_others(tmp_path: Path) -> None:
    backend = Talker("President OBAMA's portrait.", "Reindeer antlers; a bladder; Jack\u00a0Ma; trumpets")
    found = {c.example.name: c.words_found for c in compare(make_clone(tmp_path), backend)}
    assert found["obama"] == ("Obama",)
    assert found["dog_with_horn"] == ("antler",)
    assert found["jackma"] == ("Jack Ma",)
    assert found["stand_higher"] == ()
    assert found["blackpink"] == ()


def test_words_are_reported_and_decide_nothing(tmp_path: Path) -> None:
    comparisons = compare(make_clone(tmp_path), Talker("Barack Obama."))
    found = document(comparisons, RedBackend.model)
    assert (found["passed"], found["words_found"], found["words_expected"]) == (True, 1, 5)
    lines = [c.line().split("  ") for c in comparisons]
    assert lines[0][-1] == "says Obama"
    assert lines[1][-1] == "no Trump"
    assert lines[3][-1] == "masks 1"


def test_questions_reach_lisa_as_they_are() -> None:
    prompt = pytest.importorskip(
        "lisa_tool.lisa.prompt", reason="needs the extra: pip install 'lisa-tool[lisa]'"
    )
    for example in EXAMPLES:
        assert prompt.segmentation_question(example.question) == example.question
        assert prompt.clean_user_text(example.question) == example.question


def test_masks_keep_their_specks_and_holes() -> None:
    picture = background(3)
    mask = oval(OVAL)
    mask[50:53, 60:63] = False
    mask[5:7, 170:172] = True
    rendered = picture.copy()
    rendered[mask] = picture[mask] // 2 + np.array([127, 0, 0], np.uint8)
    assert np.array_equal(recover_mask(picture, rendered), mask)


@pytest.mark.parametrize("colour", [(0, 0, 0), (250, 250, 250), (20, 200, 90), (200, 80, 70)])
def test_a_pixel_belongs_to_the_mask_when_it_is_nearer_to_the_tint_than_to_the_picture(
    colour: tuple[int, int, int],
) -> None:
    picture = np.full((1, 2, 3), colour, dtype=np.uint8)
    towards = (np.array([255, 0, 0]) - colour) / 2
    rendered = np.rint(colour + np.outer([0.4, 0.6], towards)).astype(np.uint8)[None]
    assert recover_mask(picture, rendered).tolist() == [[False, True]]


@pytest.mark.parametrize("named", ["imgs/trump.jpg", "vis_output/example1_masked_img_0.jpg"])
def test_missing_files_are_all_named_with_the_command_that_gets_them(named: str, tmp_path: Path) -> None:
    make_clone(tmp_path)
    for file in (named, "imgs/obama.jpg"):
        (tmp_path / file).unlink()
    with pytest.raises(CloneInvalid) as caught:
        read_published(tmp_path, published_settings(tmp_path))
    assert caught.value.message == f"{str(tmp_path)!r} has no imgs/obama.jpg, {named}"
    assert "git clone https://github.com/dvlab-research/LISA" in caught.value.hint


def test_another_folder_is_told_by_the_folders_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "imgs").mkdir()
    with pytest.raises(CloneInvalid, match=r"has no vis_output/$"):
        read_published(tmp_path, published_settings(tmp_path))


def test_a_rendering_of_another_picture_is_refused(tmp_path: Path) -> None:
    make_clone(tmp_path)
    (tmp_path / "vis_output" / "jackma.jpg").write_bytes((tmp_path / "vis_output" / "trump.jpg").read_bytes())
    with pytest.raises(CloneInvalid, match=r"vis_output/jackma\.jpg is not imgs/jackma\.jpg with a red mask"):
        read_published(tmp_path, published_settings(tmp_path))


def test_a_rendering_of_another_size_is_refused(tmp_path: Path) -> None:
    make_clone(tmp_path)
    save(background(0)[:-8], tmp_path / BY_NAME["obama"].rendered_file)
    with pytest.raises(CloneInvalid, match=r"imgs/obama\.jpg and vis_output/obama\.jpg differ in size"):
        read_published(tmp_path, published_settings(tmp_path))


def test_a_rendering_without_a_mask_is_refused(tmp_path: Path) -> None:
    make_clone(tmp_path)
    save(background(0), tmp_path / BY_NAME["obama"].picture_file)
    save(background(0), tmp_path / BY_NAME["obama"].rendered_file)
    with pytest.raises(CloneInvalid, match=r"vis_output/obama\.jpg shows no mask"):
        read_published(tmp_path, published_settings(tmp_path))


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    make_clone(tmp_path)
    (tmp_path / "imgs" / "obama.jpg").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(CloneInvalid, match=r"imgs/obama\.jpg cannot be read: the image is Git LFS pointer"):
        read_published(tmp_path, published_settings(tmp_path))


@pytest.mark.parametrize(
    ("configured", "given", "asked"),
    [
        (None, None, "xinlai/LISA-13B-llama2-v1"),
        ("lite", None, "xinlai/LISA-13B-llama2-v1"),
        ("xinlai/LISA-7B-v1", None, "xinlai/LISA-7B-v1"),
        ("xinlai/LISA-7B-v1", "xinlai/LISA-7B-v1-explanatory", "xinlai/LISA-7B-v1-explanatory"),
        ("xinlai/LISA-7B-v1", "lite", "lite"),
    ],
)
def test_the_model_is_the_one_given_or_configured_or_that_of_the_published_readme(
    configured: str | None, given: str | None, asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if configured:
        monkeypatch.setenv("LISA_MODEL", configured)
    assert published_settings(tmp_path, model=given).model == asked


def test_a_misspelt_model_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LISA_MODEL", "LISA-7B")
    with pytest.raises(UnknownModel, match="LISA-7B"):
        open_segmenter(published_settings(tmp_path))


def test_only_the_clone_is_read_with_the_words_and_without_haste(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LISA_ROOTS", "/")
    monkeypatch.setenv("LISA_ANSWER_MODE", "mask_only")
    monkeypatch.setenv("LISA_LIMITS__DEADLINE_S", "1e-9")
    backend = RedBackend()
    clone = make_clone(tmp_path / "clone")
    assert passes(compare(clone, backend))
    assert published_settings(clone).roots == (clone,)
    assert {question.mode for question in backend.asked} == {"explain"}


def test_progress_rises_once_over_all_answers(tmp_path: Path) -> None:
    told: list[Progress] = []
    settings = published_settings(make_clone(tmp_path / "clone"))
    with LocalSegmenter(RedBackend(), settings) as segmenter:
        published = read_published(tmp_path / "clone", settings)
        list(compare_published(published, segmenter, progress=told.append))
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1], fractions.count(1.0)) == (0.0, 1.0, 1)
