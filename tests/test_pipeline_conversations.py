"""Several questions about one image, through the pipeline."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lisa_tool.errors import Cancelled, ImageNotFound
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.settings import Settings
from tests.red import RedBackend, red_photo

CUP, BALL = (10, 10, 20, 30), (70, 50, 25, 25)
QUESTION = "what is red?"


@pytest.fixture
def segmenter(settings: Settings) -> LocalSegmenter:
    return LocalSegmenter(RedBackend(), settings)


def test_a_follow_up_reaches_the_model_with_the_turns_before_it(segmenter: LocalSegmenter) -> None:
    photo = red_photo(CUP)
    handle = segmenter.segment(photo, QUESTION).conversation_id
    segmenter.segment(photo, "and the ball?", conversation_id=handle)
    assert [turn.query for turn in backend_of(segmenter).asked[1].history] == [QUESTION]
    assert [turn.answer for turn in backend_of(segmenter).asked[1].history] == ["1 red."]


def test_another_image_in_a_conversation_begins_anew(segmenter: LocalSegmenter) -> None:
    handle = segmenter.segment(red_photo(CUP), QUESTION).conversation_id
    again = segmenter.segment(red_photo(BALL), QUESTION, conversation_id=handle)
    assert again.conversation_id == handle
    assert backend_of(segmenter).asked[1].history == ()


def test_another_working_directory_finds_the_same_image(
    segmenter: LocalSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    red_photo(CUP).save(tmp_path / "photo.png")
    red_photo(BALL).save(tmp_path / "there" / "photo.png")
    monkeypatch.chdir(tmp_path)
    first = segmenter.segment("photo.png", QUESTION)
    monkeypatch.chdir(tmp_path / "there")
    again = segmenter.segment(None, QUESTION, conversation_id=first.conversation_id)
    assert again.image.sha256 == first.image.sha256


def test_an_image_that_changed_under_its_conversation_is_not_taken_for_the_old_one(
    segmenter: LocalSegmenter, tmp_path: Path
) -> None:
    red_photo(CUP).save(tmp_path / "photo.png")
    first = segmenter.segment(tmp_path / "photo.png", QUESTION)
    red_photo(BALL).save(tmp_path / "photo.png")
    with pytest.raises(ImageNotFound):
        segmenter.segment(None, QUESTION, conversation_id=first.conversation_id)


def test_a_call_that_fails_adds_no_turn(segmenter: LocalSegmenter) -> None:
    photo = red_photo(CUP)
    handle = segmenter.segment(photo, QUESTION).conversation_id
    with pytest.raises(Cancelled):
        cancel = threading.Event()
        segmenter.segment(
            photo, "no", conversation_id=handle, cancel=cancel, progress=lambda progress: cancel.set()
        )
    segmenter.segment(photo, "yes", conversation_id=handle)
    assert [turn.query for turn in backend_of(segmenter).asked[-1].history] == [QUESTION]


def backend_of(segmenter: LocalSegmenter) -> RedBackend:
    assert isinstance(segmenter._backend, RedBackend)
    return segmenter._backend
