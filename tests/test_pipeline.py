from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.engine import call as call_module
from lisa_tool.engine.call import Call, Progress
from lisa_tool.errors import (
    Cancelled,
    DeadlineExceeded,
    ImageError,
    InternalError,
    InvalidQuery,
    OutOfMemory,
    OutputFull,
    ServerBusy,
)
from lisa_tool.images import LoadedImage
from lisa_tool.pipeline import LocalSegmenter, PredictedMask, Prediction, Question
from lisa_tool.results import Box, Evidence, Segmentation
from lisa_tool.settings import Limits, Settings, load_settings
from lisa_tool.store import ResultFolder, read_mask
from tests.red import RedBackend, red_photo

QUESTION = "what is red?"
CUP, BALL = (10, 10, 20, 30), (70, 50, 25, 25)
SECRET = "/home/ada/secret"
PATIENCE_S = 30


@pytest.fixture
def backend() -> RedBackend:
    return RedBackend()


@pytest.fixture
def segmenter(backend: RedBackend, settings: Settings) -> LocalSegmenter:
    return LocalSegmenter(backend, settings)


def written(segmenter: LocalSegmenter) -> list[str]:
    """Names of all that lies in the output folder, but the conversations."""
    folder = segmenter.store.output_dir
    names = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
    return sorted(names - {"conversations"})


class Reworked(RedBackend):
    """Answers with what `rework` makes of the red answer."""

    def __init__(self, rework: Callable[[Prediction], Prediction]) -> None:
        super().__init__()
        self.rework = rework

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        return self.rework(super().predict(image, question, call))


def with_logits(make: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Reworked:
    """The red answer with other logits in its last mask."""

    def rework(prediction: Prediction) -> Prediction:
        *first, last = prediction.masks
        return replace(prediction, masks=(*first, replace(last, logits=lambda: make(last.logits()))))

    return Reworked(rework)


class Failing(RedBackend):
    """Raises when asked."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        raise self.error


# Answers


def test_what_is_there_is_found_and_measured(segmenter: LocalSegmenter) -> None:
    result = segmenter.segment(red_photo(CUP, BALL), QUESTION)
    assert (result.outcome, result.answer, result.reasoning) == ("found", "2 red.", "It is red.")
    assert [mask.box for mask in result.masks] == [
        Box(x=10, y=10, width=20, height=30),
        Box(x=70, y=50, width=25, height=25),
    ]
    assert [mask.position for mask in result.masks] == ["upper left", "lower right"]
    assert [mask.mask_id for mask in result.masks] == [f"{result.result_id}/{i}" for i in range(2)]
    assert read_mask(result.masks[0].path)[10:40, 10:30].all()
    assert result.evidence.predicted_iou == 0.9
    assert result.evidence.stability == 1.0
    assert result.versions["no-such-package"] == "not installed"


def test_what_is_not_there_is_a_result_without_masks(segmenter: LocalSegmenter) -> None:
    result = segmenter.segment(red_photo(), QUESTION)
    assert (result.outcome, result.masks, result.overlay_path) == ("not_found", (), None)
    assert result.evidence.missing["stability"] == "no mask was made"
    assert result.evidence.missing["seg_probability"] == "red does not measure it"
    assert [path.name for path in segmenter.store.folder(result.result_id).iterdir()] == ["result.json"]


def test_what_is_doubtful_is_uncertain_and_has_its_mask(segmenter: LocalSegmenter) -> None:
    result = segmenter.segment(red_photo((3, 3, 2, 2)), QUESTION)
    assert result.outcome == "uncertain"
    assert result.masks[0].area_px == 4


def test_result_json_equals_the_returned_result(segmenter: LocalSegmenter) -> None:
    result = segmenter.segment(red_photo(CUP), QUESTION)
    assert segmenter.store.load(result.result_id) == result


def test_an_empty_mask_among_masks_is_kept_and_called_empty(settings: Settings) -> None:
    segmenter = LocalSegmenter(with_logits(lambda logits: np.full_like(logits, -3)), settings)
    result = segmenter.segment(red_photo(CUP, BALL), QUESTION)
    assert result.outcome == "found"
    assert [mask.area_px for mask in result.masks] == [600, 0]
    assert (result.masks[1].box, result.masks[1].position, result.masks[1].stability) == (
        None,
        "nowhere",
        0.0,
    )
    assert not read_mask(result.masks[1].path).any()
    assert 'Mask 2 "red thing": empty.' in result.to_text()


def test_only_empty_masks_are_never_passed_off_as_found(settings: Settings) -> None:
    segmenter = LocalSegmenter(with_logits(lambda logits: np.full_like(logits, -3)), settings)
    result = segmenter.segment(red_photo(CUP), QUESTION)
    assert result.outcome == "uncertain"
    assert "marked no pixel" in result.to_text()


def test_a_mask_with_a_rough_outline_is_pointed_out(settings: Settings) -> None:
    """Logits close to 0 move far when the threshold moves a little."""
    segmenter = LocalSegmenter(with_logits(lambda logits: logits.clip(-0.5, 0.5)), settings)
    result = segmenter.segment(red_photo(CUP), QUESTION)
    assert result.evidence.stability == 0
    assert "the outline of mask 1 is rough: look at the overlay" in result.warnings


def test_masks_over_the_limit_are_left_out_and_said_so(backend: RedBackend, tmp_path: Path) -> None:
    settings = load_settings(output_dir=tmp_path / "results", limits=Limits(max_masks=2))
    photo = red_photo(*((10 * i, 5, 6, 6) for i in range(5)))
    result = LocalSegmenter(backend, settings).segment(photo, QUESTION)
    assert len(result.masks) == 2
    assert "5 objects were found; only the first 2 have masks" in result.warnings


def test_masks_at_the_limit_are_all_there(backend: RedBackend, tmp_path: Path) -> None:
    settings = load_settings(output_dir=tmp_path / "results", limits=Limits(max_masks=2))
    result = LocalSegmenter(backend, settings).segment(red_photo(CUP, BALL), QUESTION)
    assert len(result.masks) == 2 and result.warnings == ()


def test_a_predicted_iou_outside_its_range_is_clipped(settings: Settings) -> None:
    def rework(prediction: Prediction) -> Prediction:
        masks = [replace(m, score=s) for m, s in zip(prediction.masks, (1.02, -0.1), strict=True)]
        return replace(prediction, masks=tuple(masks))

    result = LocalSegmenter(Reworked(rework), settings).segment(red_photo(CUP, BALL), QUESTION)
    assert [mask.score for mask in result.masks] == [1.0, 0.0]


def test_a_reason_that_the_backend_gives_for_a_null_is_kept(settings: Settings) -> None:
    def rework(prediction: Prediction) -> Prediction:
        masks = tuple(PredictedMask("red", None, mask.logits) for mask in prediction.masks)
        return replace(prediction, masks=masks, evidence=Evidence(missing={"margin": "there is one kind"}))

    result = LocalSegmenter(Reworked(rework), settings).segment(red_photo(CUP), QUESTION)
    assert result.evidence.missing["margin"] == "there is one kind"
    assert result.evidence.missing["predicted_iou"] == "red does not measure it"
    assert "stability" not in result.evidence.missing


def test_the_model_cannot_write_control_characters_into_the_answer(settings: Settings) -> None:
    backend = Reworked(lambda p: replace(p, answer="a\x1b[31m\ncup", reasoning="be\u202ecause"))
    result = LocalSegmenter(backend, settings).segment(red_photo(CUP), QUESTION)
    assert (result.answer, result.reasoning) == ("a[31m cup", "because")


# Questions


@pytest.mark.parametrize(
    ("asked", "understood"),
    [
        ("  what is\n\tred? ", "what is red?"),
        ("what\x00 is\x1b red\u202e?", "what is red ?"),
        ("красное", "красное"),
        ("赤いもの", "赤いもの"),
        ("caf\udce9", "caf"),
    ],
)
def test_a_question_reaches_the_model_as_one_clean_line(
    asked: str, understood: str, segmenter: LocalSegmenter, backend: RedBackend
) -> None:
    assert segmenter.segment(red_photo(CUP), asked).query == understood
    assert backend.predicted == [understood]


@pytest.mark.parametrize("asked", ["", " ", "\n", "\x00\x01", "?!…", "\u202e", None, 3, b"cup"])
def test_what_is_no_question_is_refused_before_anything_is_done(
    asked: Any, segmenter: LocalSegmenter, backend: RedBackend
) -> None:
    with pytest.raises(InvalidQuery):
        segmenter.segment("no-such-file.png", asked)
    assert backend.predicted == [] and written(segmenter) == []


def test_a_question_may_be_as_long_as_the_limit_and_no_longer(segmenter: LocalSegmenter) -> None:
    limit = segmenter.settings.limits.max_query_chars
    assert segmenter.segment(red_photo(CUP), "r" * limit).outcome == "found"
    with pytest.raises(InvalidQuery, match=f"{limit + 1} characters"):
        segmenter.segment(red_photo(CUP), "r" * (limit + 1))


def test_nothing_of_the_question_or_the_file_name_reaches_a_path(
    segmenter: LocalSegmenter, tmp_path: Path
) -> None:
    photo = tmp_path / "holiday-of-ada.png"
    red_photo(CUP).save(photo)
    result = segmenter.segment(photo, "../../zebra")
    paths = [*(mask.path for mask in result.masks), result.overlay_path or ""]
    assert not any("holiday" in path or "zebra" in path or ".." in path for path in paths)


# Cancel, deadline, progress


def test_progress_names_each_stage_rises_and_ends_at_one(segmenter: LocalSegmenter) -> None:
    told: list[Progress] = []
    segmenter.segment(red_photo(CUP, BALL), QUESTION, progress=told.append)
    assert [progress.stage for progress in told if progress.mask is None] == [
        "reading the image",
        "waiting for the model",
        "looking for red",
        "cutting",
        "writing the masks",
        "writing the masks",
        "drawing the overlay",
        "done",
    ]
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1


def test_each_mask_is_told_as_soon_as_it_is_made(segmenter: LocalSegmenter) -> None:
    told: list[Progress] = []
    result = segmenter.segment(red_photo(CUP, BALL), QUESTION, progress=told.append)
    assert tuple(progress.mask for progress in told if progress.mask) == result.masks


@pytest.mark.parametrize("stage", range(7))
def test_a_call_cancelled_in_any_stage_stops_and_leaves_nothing(
    stage: int, segmenter: LocalSegmenter
) -> None:
    cancel, told = threading.Event(), list[Progress]()

    def stop_there(progress: Progress) -> None:
        told.append(progress)
        if len(told) == stage + 1:
            cancel.set()

    with pytest.raises(Cancelled):
        segmenter.segment(red_photo(CUP, BALL), QUESTION, cancel=cancel, progress=stop_there)
    assert len(told) <= stage + 2
    assert written(segmenter) == []


def test_a_cancel_after_the_result_is_written_is_too_late(segmenter: LocalSegmenter) -> None:
    cancel = threading.Event()

    def at_the_end(progress: Progress) -> None:
        if progress.fraction == 1:
            cancel.set()

    result = segmenter.segment(red_photo(CUP), QUESTION, cancel=cancel, progress=at_the_end)
    assert written(segmenter) == [result.result_id]


def test_a_deadline_that_passes_inside_the_model_stops_the_call(settings: Settings) -> None:
    class Slow(RedBackend):
        def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
            call.deadline = 0  # long ago
            return super().predict(image, question, call)

    segmenter = LocalSegmenter(Slow(), settings)
    with pytest.raises(DeadlineExceeded):
        segmenter.segment(red_photo(CUP), QUESTION)
    assert written(segmenter) == []


def test_a_deadline_that_passes_while_the_image_is_read_never_reaches_the_model(
    segmenter: LocalSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = [1000.0], list[str]()
    monkeypatch.setattr(call_module, "_now", lambda: now[0])

    def read_slowly(progress: Progress) -> None:
        told.append(progress.stage)
        now[0] += 11

    with pytest.raises(DeadlineExceeded):
        segmenter.segment(red_photo(CUP), QUESTION, deadline_s=10, progress=read_slowly)
    assert told == ["reading the image"]


@pytest.mark.parametrize(("asked_s", "given_s"), [(None, 50), (20, 20), (50, 50), (1_000, 50)])
def test_a_caller_may_shorten_the_deadline_but_not_lengthen_it(
    asked_s: float | None, given_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []
    start = Call.start

    def spy(*, deadline_s: float, **options: Any) -> Call:
        started.append(deadline_s)
        return start(deadline_s=deadline_s, **options)

    monkeypatch.setattr(Call, "start", spy)
    settings = load_settings(output_dir=tmp_path / "results", limits=Limits(deadline_s=50))
    LocalSegmenter(RedBackend(), settings).segment(red_photo(CUP), QUESTION, deadline_s=asked_s)
    assert started == [given_s]


def test_a_progress_callback_that_fails_does_not_cost_the_answer(segmenter: LocalSegmenter) -> None:
    def broken(progress: Progress) -> None:
        raise BrokenPipeError

    assert segmenter.segment(red_photo(CUP), QUESTION, progress=broken).outcome == "found"


# Many callers


def test_a_caller_too_many_is_refused_before_its_image_is_read(tmp_path: Path) -> None:
    at_work, go_on = threading.Event(), threading.Event()

    class Held(RedBackend):
        def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
            at_work.set()
            assert go_on.wait(PATIENCE_S)
            return super().predict(image, question, call)

    settings = load_settings(output_dir=tmp_path / "results", limits=Limits(max_waiting=0))
    segmenter, results = LocalSegmenter(Held(), settings), list[Segmentation]()
    first = threading.Thread(target=lambda: results.append(segmenter.segment(red_photo(CUP), QUESTION)))
    first.start()
    assert at_work.wait(PATIENCE_S)
    with pytest.raises(ServerBusy):
        segmenter.segment("no-such-file.png", QUESTION)
    go_on.set()
    first.join(PATIENCE_S)
    assert [result.outcome for result in results] == ["found"]
    with pytest.raises(ImageError):
        segmenter.segment("no-such-file.png", QUESTION)


def test_fifty_callers_each_get_their_own_answer(backend: RedBackend, tmp_path: Path) -> None:
    settings = load_settings(output_dir=tmp_path / "results", limits=Limits(max_waiting=50))
    segmenter, results = LocalSegmenter(backend, settings), dict[int, Segmentation]()
    start = threading.Barrier(50)

    def ask(n: int) -> None:
        start.wait(PATIENCE_S)
        results[n] = segmenter.segment(red_photo((n, 5, 10, 10)), f"question {n}")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert {n: (r.query, r.masks[0].box.x if r.masks[0].box else None) for n, r in results.items()} == {
        n: (f"question {n}", n) for n in range(50)
    }
    assert len(written(segmenter)) == 50


# What goes wrong


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_numbers_are_an_error_and_not_a_black_mask(
    bad: float, settings: Settings
) -> None:
    def spoil(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        logits[0, 0] = bad
        return logits

    segmenter = LocalSegmenter(with_logits(spoil), settings)
    with pytest.raises(InternalError):
        segmenter.segment(red_photo(CUP, BALL), QUESTION)
    assert written(segmenter) == []


def test_logits_of_another_size_are_an_error(settings: Settings) -> None:
    segmenter = LocalSegmenter(with_logits(lambda logits: logits[:-1]), settings)
    with pytest.raises(InternalError):
        segmenter.segment(red_photo(CUP), QUESTION)
    assert written(segmenter) == []


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), OSError(28, "No space", SECRET)])
def test_an_unexpected_error_is_logged_under_an_id_and_nothing_of_it_is_told(
    error: Exception, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = LocalSegmenter(Failing(error), settings)
    with caplog.at_level(logging.ERROR), pytest.raises(InternalError) as raised:
        segmenter.segment(red_photo(CUP), QUESTION)
    told = str(raised.value.to_dict())
    assert SECRET not in told and type(error).__name__ not in told
    error_id = raised.value.message.removeprefix("internal error ")
    assert len(error_id) == 8 and error_id in caplog.text and SECRET in caplog.text
    assert written(segmenter) == []


def test_an_error_of_a_late_mask_leaves_no_folder(settings: Settings) -> None:
    def fail(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        raise OSError(SECRET)

    segmenter = LocalSegmenter(with_logits(fail), settings)
    with pytest.raises(InternalError):
        segmenter.segment(red_photo(CUP, BALL), QUESTION)
    assert written(segmenter) == []


@pytest.mark.parametrize("error", [Cancelled("stopped"), OutOfMemory("full"), ServerBusy("later")])
def test_an_error_of_ours_passes_as_it_is(error: Exception, settings: Settings) -> None:
    with pytest.raises(type(error)) as raised:
        LocalSegmenter(Failing(error), settings).segment(red_photo(CUP), QUESTION)
    assert raised.value is error


def test_too_little_memory_is_its_own_error(settings: Settings) -> None:
    with pytest.raises(OutOfMemory):
        LocalSegmenter(Failing(MemoryError()), settings).segment(red_photo(CUP), QUESTION)


def test_an_interrupt_is_not_swallowed(settings: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        LocalSegmenter(Failing(KeyboardInterrupt()), settings).segment(red_photo(CUP), QUESTION)


@pytest.mark.parametrize("name", ["add_mask", "add_overlay", "add_result"])
def test_a_failure_while_writing_leaves_no_folder(
    name: str, segmenter: LocalSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OutputFull("the disk is full")

    monkeypatch.setattr(ResultFolder, name, full)
    with pytest.raises(OutputFull):
        segmenter.segment(red_photo(CUP, BALL), QUESTION)
    assert written(segmenter) == []


def test_after_an_error_the_next_question_is_answered(backend: RedBackend, settings: Settings) -> None:
    segmenter = LocalSegmenter(backend, settings)
    with pytest.raises(ImageError):
        segmenter.segment(b"", QUESTION)
    assert segmenter.segment(red_photo(CUP), QUESTION).outcome == "found"


def test_closing_lets_go_of_the_backend(backend: RedBackend, settings: Settings) -> None:
    with LocalSegmenter(backend, settings):
        assert backend.closed == 0
    assert backend.closed == 1


@pytest.mark.parametrize("size", [(2, 2), (2, 150), (150, 2), (3000, 40)])
def test_the_smallest_and_thinnest_images_go_all_the_way(
    size: tuple[int, int], segmenter: LocalSegmenter
) -> None:
    result = segmenter.segment(Image.new("RGB", size, (250, 0, 0)), QUESTION)
    assert result.masks[0].area_px == size[0] * size[1]
    assert result.masks[0].position == "most of the image"
