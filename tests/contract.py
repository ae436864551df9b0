"""What every backend promises: subclass `SegmenterContract` and give its three fixtures.

    class TestMine(SegmenterContract):
        @pytest.fixture
        def segmenter(self, settings): ...
        @pytest.fixture
        def photo(self): ...                    # a path, bytes or a PIL image inside the segmenter's roots
        @pytest.fixture
        def question(self): return "the cup"    # answered 'found' on that photo

Nothing here knows which backend it is.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa_tool.engine.call import Progress
from lisa_tool.errors import (
    Cancelled,
    ConversationNotFound,
    DeadlineExceeded,
    ImageError,
    InvalidQuery,
    LisaError,
)
from lisa_tool.images import ImageReference
from lisa_tool.masks.geometry import measure
from lisa_tool.results import Segmentation
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Mode
from lisa_tool.store import read_mask

PATIENCE_S = 300


def same_but_for_the_id(a: Segmentation, b: Segmentation) -> bool:
    """Whether two answers say the same and their mask files hold the same pixels."""
    if (a.outcome, a.answer, len(a.masks)) != (b.outcome, b.answer, len(b.masks)):
        return False
    return all((read_mask(m.path) == read_mask(n.path)).all() for m, n in zip(a.masks, b.masks, strict=True))


class SegmenterContract:
    """Tests of the `Segmenter` protocol."""

    @pytest.fixture
    def segmenter(self) -> Segmenter:
        raise NotImplementedError

    @pytest.fixture
    def photo(self) -> ImageReference:
        raise NotImplementedError

    @pytest.fixture
    def question(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def result(self, segmenter: Segmenter, photo: ImageReference, question: str) -> Segmentation:
        return segmenter.segment(photo, question)

    def test_it_is_a_segmenter(self, segmenter: Segmenter) -> None:
        assert isinstance(segmenter, Segmenter)
        assert segmenter.model.name and segmenter.model.backend and segmenter.model.revision

    def test_the_answer_is_found_and_says_so(self, result: Segmentation, question: str) -> None:
        assert result.outcome == "found"
        assert result.answer
        assert result.query == question
        assert result.masks
        assert re.fullmatch(r"res_[0-9a-f]{32}", result.result_id)

    def test_each_mask_is_a_file_that_agrees_with_its_numbers(self, result: Segmentation) -> None:
        for mask in result.masks:
            assert Path(mask.path).is_absolute()
            with Image.open(mask.path) as image:
                assert (image.format, image.mode) == ("PNG", "L")
                assert image.size == (result.image.width, result.image.height)
                values = np.asarray(image)
            assert set(np.unique(values).tolist()) <= {0, 255}
            measured = measure(values == 255)
            assert mask.box == measured.box
            assert mask.area_px == measured.area_px > 0
            assert mask.area_fraction == pytest.approx(mask.area_px / values.size, abs=1e-6)
            assert mask.centroid == measured.centroid
            assert mask.components == measured.components
            assert mask.position == measured.position
            assert mask.score is None or 0 <= mask.score <= 1
            assert mask.stability is None or 0 <= mask.stability <= 1

    def test_mask_ids_and_paths_are_unique(self, result: Segmentation) -> None:
        assert len({mask.mask_id for mask in result.masks}) == len(result.masks)
        assert len({mask.path for mask in result.masks}) == len(result.masks)

    def test_the_overlay_opens_and_has_the_shape_of_the_image(self, result: Segmentation) -> None:
        assert result.overlay_path and Path(result.overlay_path).is_absolute()
        with Image.open(result.overlay_path) as image:
            image.load()
            assert image.format == "JPEG" and image.mode == "RGB"
            assert image.width / image.height == pytest.approx(
                result.image.width / result.image.height, rel=0.02
            )

    def test_every_null_of_the_evidence_has_its_reason(self, result: Segmentation) -> None:
        evidence = result.evidence.model_dump()
        missing = evidence.pop("missing")
        assert set(missing) == {name for name, value in evidence.items() if value is None}
        assert all(missing.values())

    def test_the_result_survives_the_way_through_json(self, result: Segmentation) -> None:
        assert Segmentation.model_validate_json(result.model_dump_json()) == result

    def test_result_json_lies_beside_the_masks_and_equals_the_result(self, result: Segmentation) -> None:
        written = Path(result.masks[0].path).with_name("result.json").read_text(encoding="utf-8")
        assert Segmentation.model_validate_json(written) == result

    def test_the_text_names_every_mask(self, result: Segmentation) -> None:
        text = result.to_text()
        assert len(text) <= 1_500
        assert all(Path(mask.path).name in text for mask in result.masks)

    def test_the_result_names_its_model_and_its_time(
        self, result: Segmentation, segmenter: Segmenter
    ) -> None:
        assert result.model == segmenter.model
        assert result.timings.total_s >= max(result.timings.stages.values())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", result.created_at)
        assert "lisa-tool" in result.versions

    def test_the_same_question_twice_has_the_same_answer_under_another_id(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        one, other = segmenter.segment(photo, question), segmenter.segment(photo, question)
        assert one.result_id != other.result_id
        assert same_but_for_the_id(one, other)

    def test_progress_rises_from_the_start_to_the_end(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        told: list[tuple[Progress, threading.Thread]] = []
        segmenter.segment(
            photo, question, progress=lambda progress: told.append((progress, threading.current_thread()))
        )
        fractions = [progress.fraction for progress, _ in told]
        assert len(told) >= 3
        assert fractions == sorted(fractions)
        assert fractions[0] >= 0 and fractions[-1] == 1
        assert all(progress.stage for progress, _ in told)
        assert {thread for _, thread in told} == {threading.current_thread()}

    def test_a_call_cancelled_before_it_starts_raises_cancelled(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(Cancelled):
            segmenter.segment(photo, question, cancel=cancel)

    def test_a_call_cancelled_at_its_first_progress_raises_cancelled(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        cancel = threading.Event()
        with pytest.raises(Cancelled):
            segmenter.segment(photo, question, cancel=cancel, progress=lambda progress: cancel.set())

    @pytest.mark.parametrize("deadline_s", [0, -1])
    def test_a_deadline_that_has_passed_raises_deadline_exceeded(
        self, deadline_s: float, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        with pytest.raises(DeadlineExceeded):
            segmenter.segment(photo, question, deadline_s=deadline_s)

    @pytest.mark.parametrize("bad", ["no-such-file.png", b"", b"not an image", Image.new("RGB", (1, 1))])
    def test_a_bad_image_raises_an_image_error(
        self, bad: ImageReference, segmenter: Segmenter, question: str
    ) -> None:
        with pytest.raises(ImageError) as error:
            segmenter.segment(bad, question)
        assert error.value.message and error.value.hint

    @pytest.mark.parametrize("blank", ["", "   ", "\n\t", "\x00", "?!"])
    def test_a_question_without_words_raises_invalid_query(
        self, blank: str, segmenter: Segmenter, photo: ImageReference
    ) -> None:
        with pytest.raises(InvalidQuery):
            segmenter.segment(photo, blank)

    def test_a_second_question_needs_no_image_and_looks_at_none_again(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        first = segmenter.segment(photo, question)
        assert first.conversation_id
        second = segmenter.segment(None, question, conversation_id=first.conversation_id)
        assert second.conversation_id == first.conversation_id
        assert second.image.sha256 == first.image.sha256
        assert second.timings.image_encodes == 0

    def test_an_unknown_conversation_is_refused(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        with pytest.raises(ConversationNotFound):
            segmenter.segment(photo, question, conversation_id="conv_" + "0" * 32)

    def test_without_an_image_and_without_a_conversation_there_is_nothing_to_look_at(
        self, segmenter: Segmenter, question: str
    ) -> None:
        with pytest.raises(ImageError):
            segmenter.segment(None, question)

    @pytest.mark.parametrize("mode", ["explain", "fast", "mask_only"])
    def test_every_mode_gives_a_mask(
        self, mode: Mode, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        assert segmenter.segment(photo, question, mode=mode).masks

    def test_calls_from_four_threads_give_equal_masks(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        start = threading.Barrier(4)
        results: list[Segmentation] = []
        errors: list[LisaError] = []

        def ask() -> None:
            start.wait(PATIENCE_S)
            try:
                results.append(segmenter.segment(photo, question))
            except LisaError as e:
                errors.append(e)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not errors and len(results) == 4
        assert len({result.result_id for result in results}) == 4
        assert all(same_but_for_the_id(results[0], result) for result in results[1:])

    def test_an_error_leaves_it_ready_for_the_next_question(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        with pytest.raises(InvalidQuery):
            segmenter.segment(photo, "")
        assert segmenter.segment(photo, question).outcome == "found"

    def test_closing_twice_is_closing_once(
        self, segmenter: Segmenter, photo: ImageReference, question: str
    ) -> None:
        with segmenter as same:
            assert same is segmenter
            segmenter.segment(photo, question)
        segmenter.close()
        segmenter.close()
