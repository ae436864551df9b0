"""The embedded default on real photos, and what it does once, never, or when asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from lisa_tool.engine import call as call_module
from lisa_tool.errors import Cancelled, DeadlineExceeded, ImageError
from lisa_tool.eval.lite import Benchmark
from lisa_tool.lite.backend import VOCABULARY_WARNING, LiteBackend
from lisa_tool.lite.sam import SamEncoder
from lisa_tool.masks.geometry import iou
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Limits, load_settings
from lisa_tool.store import read_mask
from tests.conftest import PHOTOS

pytestmark = pytest.mark.slow

ASTRONAUT, DOGS = PHOTOS / "astronaut.jpg", PHOTOS / "dogs.jpg"
SCENE_BYTES = 8_000_000  # more than one photo of this benchmark takes, less than two


@pytest.fixture
def new_lite(lite, tmp_path) -> Callable[..., LocalSegmenter]:
    """Makes segmenters that remember nothing yet, with limits of their own, on models that are loaded."""

    def make(**limits: int) -> LocalSegmenter:
        settings = load_settings(
            roots=(PHOTOS, tmp_path), output_dir=tmp_path / "results", limits=Limits(**limits)
        )
        backend = LiteBackend(settings.limits)
        backend.__dict__ |= {name: getattr(lite._backend, name) for name in ("_eyes", "_matcher")}
        return LocalSegmenter(backend, settings)

    return make


@pytest.fixture
def encoded(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the images that SAM's encoder was given."""
    shapes = []
    embed = SamEncoder.embed

    def counted(self, rgb):
        shapes.append(rgb.shape)
        return embed(self, rgb)

    monkeypatch.setattr(SamEncoder, "embed", counted)
    return shapes


def true_region(photo: str, *names: str) -> np.ndarray:
    return Benchmark().region(photo, names)[0]


def marked(result) -> np.ndarray:
    """All masks of a result together."""
    return np.any([read_mask(mask.path) for mask in result.masks], axis=0)


# Right, or not sure


def test_what_you_would_drink_from_is_the_cup(lite, coffee):
    result = lite.segment(coffee, "what would you drink from?")

    assert result.outcome == "found"
    assert [mask.label for mask in result.masks] == ["cup"]
    assert iou(marked(result), true_region("coffee", "cup")) >= 0.75
    assert "cup" in result.answer


@pytest.mark.parametrize(
    ("photo", "query", "region"),
    [("coffee", "the tool used to stir", "spoon"), ("astronaut", "what protects her head", "helmet")],
)
def test_a_hard_question_is_not_confidently_wrong(lite, photo, query, region):
    result = lite.segment(PHOTOS / f"{photo}.jpg", query)

    assert result.outcome != "found" or iou(marked(result), true_region(photo, region)) >= 0.5


def test_what_is_not_there_is_not_found_and_what_is_there_is_said(lite, coffee):
    result = lite.segment(coffee, "the laptop")

    assert (result.outcome, result.masks, result.overlay_path) == ("not_found", (), None)
    assert "No laptop was seen" in result.answer and "a cup" in result.answer


def test_a_plural_has_a_mask_for_each_and_an_order_for_one(lite):
    every, left, right = (
        lite.segment(DOGS, q) for q in ("all the dogs", "the leftmost dog", "the rightmost dog")
    )

    assert [mask.label for mask in every.masks] == ["dog", "dog"]
    (on_left,), (on_right,) = left.masks, right.masks
    assert on_left.centroid.x < on_right.centroid.x
    assert {on_left.box, on_right.box} == {mask.box for mask in every.masks}


# What it says of itself


def test_every_answer_says_that_it_is_lite_and_what_lite_knows(lite, coffee):
    found, missing = lite.segment(coffee, "the cup"), lite.segment(coffee, "the laptop")

    assert found.model.name == missing.model.name == "lite"
    assert VOCABULARY_WARNING in found.warnings and VOCABULARY_WARNING in missing.warnings
    assert "80 kinds" in VOCABULARY_WARNING and "does not read text" in VOCABULARY_WARNING


def test_evidence_has_the_match_the_margin_and_the_runner_up(lite, coffee):
    evidence = lite.segment(coffee, "what would you drink from?").evidence

    assert 0.45 <= evidence.match <= 1
    assert evidence.margin > 0
    assert evidence.detection > 0.35
    assert "cup" not in {other.label for other in evidence.alternatives}
    assert "no language model" in evidence.missing["seg_probability"]


def test_a_named_thing_has_no_match_and_says_why(lite, coffee):
    evidence = lite.segment(coffee, "the cup").evidence

    assert (evidence.match, evidence.margin) == (None, None)
    assert evidence.missing["match"] == "the question names what it wants"


# Once per image


def test_the_second_question_on_an_image_encodes_it_zero_further_times(new_lite, coffee, encoded):
    segmenter = new_lite()

    first = segmenter.segment(coffee, "what would you drink from?")
    second = segmenter.segment(coffee, "the spoon")

    assert (first.timings.image_encodes, first.timings.cache_misses) == (1, ("scene",))
    assert (second.timings.image_encodes, second.timings.cache_hits) == (0, ("scene",))
    assert len(encoded) == 1


def test_the_same_pixels_under_another_name_are_not_encoded_again(new_lite, tmp_path, encoded):
    segmenter = new_lite()
    Image.new("RGB", (64, 48), (90, 120, 60)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())

    segmenter.segment(tmp_path / "a.png", "the cup")
    segmenter.segment(tmp_path / "b.png", "the cup")

    assert len(encoded) == 1


def test_a_small_cache_forgets_the_image_used_longest_ago(new_lite, tmp_path, encoded):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 48), colour).save(tmp_path / f"{name}.png")
    segmenter = new_lite(cache_bytes=SCENE_BYTES)

    for name in ("a", "a", "b", "a"):
        segmenter.segment(tmp_path / f"{name}.png", "the cup")

    assert len(encoded) == 3
    assert segmenter._backend._scenes.used_bytes <= SCENE_BYTES


def test_closing_forgets_the_images_and_a_later_question_still_works(new_lite, coffee, encoded):
    segmenter = new_lite()
    segmenter.segment(coffee, "the cup")

    segmenter.close()

    assert segmenter.segment(coffee, "the cup").outcome == "found"
    assert len(encoded) == 2


def test_the_answer_does_not_depend_on_what_was_asked_before(new_lite, coffee):
    queries = ["all the spoons", "the tool used to stir", "what would you drink from?", "the saucer"]
    forwards, backwards = new_lite(), new_lite()

    there = {query: forwards.segment(coffee, query) for query in queries}
    back = {query: backwards.segment(coffee, query) for query in reversed(queries)}

    for query in queries:
        a, b = there[query], back[query]
        assert (a.outcome, a.answer, a.reasoning) == (b.outcome, b.answer, b.reasoning)
        assert [mask.box for mask in a.masks] == [mask.box for mask in b.masks]


# Limits, cancel, deadline


def test_no_more_masks_are_cut_than_allowed_and_the_answer_says_so(lite, new_lite):
    segmenter = new_lite(max_masks=1)
    segmenter._backend._scenes = lite._backend._scenes

    result = segmenter.segment(DOGS, "all the dogs")

    assert len(result.masks) == 1
    (vocabulary, more) = result.warnings  # and none that masks were cut and thrown away
    assert vocabulary == VOCABULARY_WARNING
    assert more.startswith("1 more objects were found but not cut")


STAGES = [
    "loading the models",
    "detecting objects",
    "looking for other kinds",
    "encoding the image",
    "matching the question",
]


@pytest.mark.parametrize("stage", STAGES)
def test_a_cancel_during_a_stage_stops_before_the_next(new_lite, coffee, stage):
    cancel, told = threading.Event(), []

    def on_progress(progress):
        told.append(progress.stage)
        if progress.stage == stage:
            cancel.set()

    segmenter = new_lite()
    with pytest.raises(Cancelled):
        segmenter.segment(coffee, "what would you drink from?", cancel=cancel, progress=on_progress)

    assert told[-1] == stage
    assert not any(segmenter.store.output_dir.glob("res_*"))


@pytest.mark.parametrize("stage", ["detecting objects", "encoding the image"])
def test_a_deadline_that_passes_during_a_stage_stops_before_the_next(new_lite, coffee, stage, monkeypatch):
    now, told = [1000.0], []
    monkeypatch.setattr(call_module, "_now", lambda: now[0])

    def on_progress(progress):
        told.append(progress.stage)
        if progress.stage == stage:
            now[0] += 11

    with pytest.raises(DeadlineExceeded):
        new_lite().segment(coffee, "what would you drink from?", deadline_s=10, progress=on_progress)

    assert told[-1] == stage


# Odd images


def test_an_image_of_one_pixel_is_refused(new_lite):
    with pytest.raises(ImageError):
        new_lite().segment(Image.new("RGB", (1, 1)), "the cup")


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(2, 2), (3, 200), (5000, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_an_image_of_an_odd_shape_has_an_answer(new_lite, size):
    segmenter, image = new_lite(), noise(*size)

    for query in ("what would you drink from?", "all the people on the left", "the largest thing"):
        result = segmenter.segment(image, query)
        assert (result.image.width, result.image.height) == size
        assert all(read_mask(mask.path).shape == size[::-1] for mask in result.masks)


def test_nothing_is_found_in_the_dark(new_lite):
    segmenter, black = new_lite(), Image.new("RGB", (320, 240))

    for query in ("what would you drink from?", "the cat", "all the things", "who is here?"):
        assert segmenter.segment(black, query).outcome == "not_found"
