from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lisa_tool.errors import (
    ConversationNotFound,
    InternalError,
    MissingExtra,
    PathNotAllowed,
    ResultNotFound,
)
from lisa_tool.integrations import _common as common
from lisa_tool.integrations._common import Toolbox, extra
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.settings import Limits, Settings, load_settings
from tests.cli.fakes import answer, raising
from tests.red import RedBackend, red_photo

PATIENCE_S = 30
LOST = "conv_" + "0" * 32


@pytest.fixture
def toolbox(segmenter: LocalSegmenter) -> Toolbox:
    return Toolbox(segmenter=segmenter)


def test_an_answer_is_the_text_and_the_json_of_the_result(toolbox: Toolbox, photo: str) -> None:
    reply = toolbox.segment(photo, "what is red?")
    assert reply.text.startswith("Outcome: found.")
    assert reply.data["masks"][0]["box"] == {"x": 10, "y": 10, "width": 20, "height": 30}
    assert reply.picture is None


def test_an_overlay_is_a_jpeg_that_fits_into_768_pixels(segmenter: LocalSegmenter, tmp_path: Path) -> None:
    red_photo((100, 100, 900, 300), size=(2000, 1000)).save(tmp_path / "large.png")
    reply = Toolbox(segmenter=segmenter, return_image="overlay").segment(str(tmp_path / "large.png"), "red?")
    assert reply.picture
    with Image.open(io.BytesIO(reply.picture)) as image:
        assert (image.format, image.size) == ("JPEG", (768, 384))
        red, green, blue = image.convert("RGB").getpixel((200, 90))  # type: ignore[misc]
        assert red > 150 > max(green, blue)


def test_an_answer_without_masks_has_no_picture(segmenter: LocalSegmenter, tmp_path: Path) -> None:
    red_photo().save(tmp_path / "none.png")
    reply = Toolbox(segmenter=segmenter, return_image="overlay").segment(str(tmp_path / "none.png"), "red?")
    assert (reply.data["outcome"], reply.picture) == ("not_found", None)


@pytest.mark.parametrize(("explain", "mode"), [(True, "explain"), (False, "fast")])
def test_explain_chooses_the_mode(
    explain: bool, mode: str, toolbox: Toolbox, backend: RedBackend, photo: str
) -> None:
    toolbox.segment(photo, "red?", explain=explain)
    assert [question.mode for question in backend.asked] == [mode]


def test_a_follow_up_needs_no_image(toolbox: Toolbox, backend: RedBackend, photo: str) -> None:
    handle = toolbox.segment(photo, "what is red?").data["conversation_id"]
    again = toolbox.segment("", "and what else?", conversation=handle)
    assert again.data["image"]["source"] == photo
    assert [turn.query for turn in backend.asked[1].history] == ["what is red?"]


def test_in_place_of_a_lost_conversation_an_image_begins_a_new_one_and_says_so(
    toolbox: Toolbox, photo: str
) -> None:
    reply = toolbox.segment(photo, "red?", conversation=LOST)
    assert reply.data["conversation_id"] not in (None, LOST)
    assert "Warning: the earlier conversation has ended" in reply.text
    assert "the earlier conversation has ended" in reply.data["warnings"][0]


def test_it_begins_anew_with_how_the_image_was_named_before(toolbox: Toolbox, photo: str) -> None:
    reply = toolbox.segment("", "red?", conversation=LOST, again=photo)
    assert reply.data["image"]["source"] == photo
    assert "Warning: the earlier conversation has ended" in reply.text


def test_a_lost_conversation_without_an_image_asks_for_one(toolbox: Toolbox) -> None:
    with pytest.raises(ConversationNotFound) as error:
        toolbox.segment("", "red?", conversation=LOST)
    assert "name the image" in error.value.hint


@pytest.mark.parametrize("named", ["{id}", "/somewhere/{id}/mask_0.png", "result {id}."])
def test_a_result_is_viewed_by_its_id_or_by_what_holds_it(named: str, toolbox: Toolbox, photo: str) -> None:
    first = toolbox.segment(photo, "red?")
    again = toolbox.view_result(named.format(id=first.data["result_id"]))
    assert (again.text, again.data) == (first.text, first.data)
    assert again.picture and again.picture.startswith(b"\xff\xd8")


@pytest.mark.parametrize("unknown", ["res_" + "0" * 32, "nonsense", "", "../../etc/passwd"])
def test_an_unknown_result_is_not_found(unknown: str, toolbox: Toolbox) -> None:
    with pytest.raises(ResultNotFound):
        toolbox.view_result(unknown)


def test_a_result_whose_overlay_was_removed_is_not_found(toolbox: Toolbox, photo: str) -> None:
    data = toolbox.segment(photo, "red?").data
    Path(data["overlay_path"]).unlink()
    with pytest.raises(ResultNotFound):
        toolbox.view_result(data["result_id"])


def test_images_are_listed_a_line_each(toolbox: Toolbox, photo: str, other_photo: str) -> None:
    reply = toolbox.list_images()
    assert {line.split(" (")[0] for line in reply.text.splitlines()} == {photo, other_photo}
    assert "(120x80 px, changed " in reply.text
    assert len(reply.data["images"]) == 2
    assert [i["path"] for i in toolbox.list_images(pattern="two*").data["images"]] == [other_photo]


def test_a_listing_says_that_it_holds_nothing_and_that_there_are_more(
    toolbox: Toolbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolbox.list_images().text == "No image here can be read."
    monkeypatch.setattr(common, "LISTED", 3)
    for n in range(4):
        red_photo().save(tmp_path / f"{n}.png")
    text = toolbox.list_images().text
    assert len(text.splitlines()) == 4
    assert "the newest 3" in text


def test_a_listed_name_that_is_not_utf_8_can_be_sent_to_a_model(toolbox: Toolbox, tmp_path: Path) -> None:
    red_photo().save(tmp_path / "cafe.png")
    (tmp_path / "cafe.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    reply = toolbox.list_images()
    assert b"caf?.png" in reply.text.encode()
    assert json.dumps(reply.data, ensure_ascii=False).encode()


def test_a_folder_outside_is_refused(toolbox: Toolbox) -> None:
    with pytest.raises(PathNotAllowed):
        toolbox.list_images("/etc")


def test_the_segmenter_is_opened_by_the_first_question_and_only_once(
    settings: Settings, segmenter: LocalSegmenter, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Settings] = []

    def open_red(wanted: Settings) -> LocalSegmenter:
        opened.append(wanted)
        return segmenter

    monkeypatch.setattr(common, "open_segmenter", open_red)
    toolbox = Toolbox(settings)
    toolbox.list_images()
    assert opened == []
    toolbox.segment(photo, "red?")
    toolbox.segment(photo, "red?")
    assert opened == [settings]


def test_without_settings_those_of_the_environment_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_OUTPUT_DIR", str(tmp_path / "elsewhere"))
    assert Toolbox().settings == load_settings(output_dir=tmp_path / "elsewhere")


def test_a_pickled_copy_opens_its_own_segmenter_from_the_same_settings(
    toolbox: Toolbox, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = pickle.loads(pickle.dumps(toolbox))
    assert copy.settings == toolbox.settings
    opened: list[Any] = []

    def open_red(settings: Settings) -> LocalSegmenter:
        opened.append(settings)
        return LocalSegmenter(RedBackend(), settings)

    monkeypatch.setattr(common, "open_segmenter", open_red)
    assert copy.segment(photo, "red?").data["outcome"] == "found"
    assert opened == [toolbox.settings]


def test_a_missing_framework_says_which_command_installs_it() -> None:
    with (
        pytest.raises(MissingExtra, match=r"pip install 'lisa-tool\[llamaindex\]'"),
        extra("llamaindex", "x"),
    ):
        raise ImportError("No module named 'llama_index'")


def test_progress_and_cancel_reach_the_segmenter(behaving: Callable[..., Any], photo: str) -> None:
    seen: dict[str, Any] = {}

    def behave(**options: Any) -> Any:
        seen.update(options)
        raise ResultNotFound("enough")

    toolbox = Toolbox(segmenter=behaving(behave))
    progress, cancel = object(), object()
    with pytest.raises(ResultNotFound):
        toolbox.segment(photo, "red?", progress=progress, cancel=cancel)  # type: ignore[arg-type]
    assert (seen["progress"], seen["cancel"]) == (progress, cancel)


def test_a_bug_of_a_segmenter_is_an_internal_error_whose_details_are_in_the_log(
    behaving: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    toolbox = Toolbox(segmenter=behaving(raising(RuntimeError("/secret/path"))))
    with pytest.raises(InternalError) as error:
        toolbox.segment("cup.png", "red?")
    assert "/secret" not in error.value.to_text()
    assert error.value.message in caplog.text and "/secret/path" in caplog.text


# Threads


def test_questions_beyond_what_a_segmenter_lets_wait_are_answered_in_their_turn(
    settings: Settings, behaving: Callable[..., Any]
) -> None:
    handed_over, lock, running, most = threading.Event(), threading.Lock(), 0, 0

    def behave(**_: Any) -> Segmentation:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert handed_over.wait(PATIENCE_S)
        with lock:
            running -= 1
        return answer()

    few = settings.model_copy(update={"limits": Limits(max_waiting=1)})
    toolbox = Toolbox(few, behaving(behave))

    async def ask() -> list[Any]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
        asking = asyncio.gather(*(toolbox.asegment("cup.png", "red?") for _ in range(6)))
        for _turn in range(500):
            await asyncio.sleep(0)
        handed_over.set()
        return await asking

    assert len(asyncio.run(ask())) == 6
    assert most <= 2


def test_a_question_takes_no_thread_of_the_loop(behaving: Callable[..., Any]) -> None:
    free = threading.Event()

    def behave(**_: Any) -> Segmentation:
        assert free.wait(PATIENCE_S), "another tool had no thread"
        return answer()

    toolbox = Toolbox(segmenter=behaving(behave))

    async def both() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        asking = asyncio.create_task(toolbox.asegment("cup.png", "red?"))
        await asyncio.sleep(0)
        await asyncio.to_thread(free.set)
        await asking

    asyncio.run(both())
