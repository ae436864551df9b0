"""`lisa-tool chat`, with a backend that finds red things and says so word by word."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import lisa_tool
from lisa_tool.cli.chat_screen import Screen
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.results import Segmentation
from lisa_tool.store import read_mask
from tests.cli.fakes import answer
from tests.cli.runner import CommandLine, Ran
from tests.cli.talking import WORDS, TalkingRed, save, save_photo
from tests.red import RedBackend, red_photo

Piped = Callable[..., Ran]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Two red things."""
    return save_photo(tmp_path / "photos")


@pytest.fixture
def red() -> TalkingRed:
    """The backend that answers; a test may change it before it chats."""
    return TalkingRed()


@pytest.fixture
def chat(
    cli: CommandLine, photo: Path, tmp_path: Path, red: TalkingRed, monkeypatch: pytest.MonkeyPatch
) -> Piped:
    """Pipes lines into a chat about `photo`: `chat("what is red?", "/reset", options=["--json"])`."""
    monkeypatch.setattr("lisa_tool.cli.chat.open_segmenter", lambda settings: LocalSegmenter(red, settings))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*lines: object, image: object = photo, options: tuple[object, ...] = ()) -> Ran:
        stdin = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        return cli("chat", image, "--out", tmp_path / "out", *options, stdin=stdin)

    return run


def documents(ran: Ran) -> list[dict[str, Any]]:
    """The JSON that each line is answered by."""
    return [json.loads(line) for line in ran.out.splitlines()]


# Questions


def test_words_come_once_then_each_mask_then_how_it_ended(chat: Piped) -> None:
    ran = chat("what is red?")
    assert (ran.code, ran.err) == (0, "")
    words, *masks, end, blank = ran.out.splitlines()
    assert (words, blank) == ("".join(WORDS), "")
    assert len(masks) == 4  # a path that is too long stands on a line of its own
    for number, (about, path) in enumerate((masks[:2], masks[2:]), 1):
        assert about.startswith(f"  mask {number}: red thing, ")
        assert about.endswith(" goes to")
        assert read_mask(path.strip()).any()
    assert end.startswith("  found, 0.")
    assert Path(end.partition(" s, overlay: ")[2]).is_file()


@pytest.mark.parametrize("red", [RedBackend()])
def test_a_backend_that_does_not_stream_shows_its_answer_when_it_is_there(chat: Piped) -> None:
    ran = chat("what is red?")
    said, why, _end, _blank = ran.out.splitlines()[4:]
    assert (said, why) == ("2 red.", "  why: It is red.")


def test_each_line_is_a_question_that_knows_those_before_it(chat: Piped, red: TalkingRed) -> None:
    ran = chat("what is red?", "", "  and now?  ")
    assert ran.code == 0
    assert red.predicted == ["what is red?", "and now?"]
    first, second = red.asked
    assert [turn.query for turn in second.history] == ["what is red?"]
    assert first.conversation_id == second.conversation_id


def test_an_error_of_a_question_is_shown_and_the_chat_goes_on(chat: Piped, red: TalkingRed) -> None:
    ran = chat("?!", "what is red?")
    assert red.predicted == ["what is red?"]
    assert ran.err.startswith("lisa-tool: the question holds no words.\n")
    assert "found" in ran.out
    assert ran.code == 2  # of the last error, for a script to see


def test_masks_that_were_shown_and_then_lost_are_taken_back(chat: Piped, tmp_path: Path) -> None:
    ran = chat("please fail")
    assert "mask 2: red thing" in ran.out
    assert ran.err.endswith("The masks of this answer were not kept.\n")
    assert not list((tmp_path / "out").glob("res_*"))
    assert "not kept" not in chat("?!").err


def test_notes_are_told_once_and_later_referred_to() -> None:
    screen = Screen(None, ProgressLine(None), threading.Event())
    result = answer(warnings=("it is old", "it is new"))
    ending = screen.ending(result, before=("it is old",))
    assert "it is old" not in ending
    assert ending.count("  note: it is new\n") == 1
    assert ending.count("  note: what was noted before holds here too\n") == 1
    assert "before" not in screen.ending(result, before=())


def test_masks_that_were_not_told_of_while_they_were_made_are_listed() -> None:
    screen = Screen(None, ProgressLine(None), threading.Event())
    ending = screen.ending(answer(), before=())
    assert "  mask 1: cup, 12.4% of the image, upper left, is /results/res_0/mask_0.png\n" in ending
    assert "goes to" not in ending


def test_nothing_that_the_model_says_is_obeyed_by_the_terminal(chat: Piped, red: TalkingRed) -> None:
    red.words = ("a\x1b[2Jb", "\r\n> rm", "\x9b31m\u202e[SEG]\x07")
    out = chat("what is red?").out
    assert out.splitlines()[0] == r"a\x1b[2Jb  > rm\x9b31m\u202e[SEG]\x07"


def test_options_reach_the_question(chat: Piped, red: TalkingRed) -> None:
    assert chat("what is red?", options=("--mask-only",)).code == 0
    assert red.asked[0].mode == "mask_only"
    ran = chat("what is red?", options=("--deadline", "1e-9", "--json"))
    assert documents(ran)[0]["error"]["code"] == "deadline_exceeded"


def test_an_earlier_conversation_is_gone_on_with(chat: Piped, red: TalkingRed) -> None:
    (first,) = documents(chat("what is red?", options=("--json",)))
    assert chat("and now?", options=("--conv", first["conversation_id"])).code == 0
    assert [turn.query for turn in red.asked[1].history] == ["what is red?"]


def test_after_a_conversation_that_is_gone_the_next_question_begins_a_new_one(chat: Piped) -> None:
    lost, found = documents(chat("what is red?", "what is red?", options=("--conv", "conv_0", "--json")))
    assert lost["error"]["code"] == "conversation_not_found"
    assert "begins a new conversation" in lost["error"]["hint"]
    assert found["outcome"] == "found"


# Which image


def test_an_image_that_cannot_be_read_is_an_error_before_anything_is_asked(
    chat: Piped, red: TalkingRed
) -> None:
    ran = chat("what is red?", image="nosuch.png", options=("--json",))
    assert (ran.code, ran.error["code"]) == (3, "image_not_found")
    assert red.predicted == []


def test_standard_input_cannot_be_the_image_too(chat: Piped) -> None:
    ran = chat(image="-", options=("--json",))
    assert (ran.code, ran.error["code"]) == (2, "usage")


def test_another_image_begins_a_new_conversation_about_it(chat: Piped, photo: Path, red: TalkingRed) -> None:
    save(photo.with_name("my one.png"), (5, 5, 9, 9))
    for name in ("my one.png", "'my one.png'", r"my\ one.png"):
        red.asked.clear()
        ran = chat("what is red?", f"/image {photo.parent}/{name}", "what is red?", options=("--json",))
        first, image, second = documents(ran)
        assert image["image"]["width"] == 120, name
        assert len(first["masks"]) == 2 and len(second["masks"]) == 1
        assert red.asked[1].history == ()
        assert red.asked[0].conversation_id != red.asked[1].conversation_id


def test_an_image_that_cannot_be_read_leaves_everything_as_it_was(chat: Piped, red: TalkingRed) -> None:
    ran = chat("what is red?", "/image nosuch.png", "and now?")
    assert "no file 'nosuch.png'" in ran.err
    assert [turn.query for turn in red.asked[1].history] == ["what is red?"]


def test_lines_that_a_program_sends_stay_in_the_folders_that_were_allowed(
    chat: Piped, tmp_path: Path
) -> None:
    elsewhere = save(tmp_path / "elsewhere" / "a.png", (5, 5, 9, 9))
    (refused,) = documents(chat(f"/image {elsewhere}", options=("--json",)))
    assert refused["error"]["code"] == "path_not_allowed"


def test_an_image_of_another_kind_is_asked_about_in_the_same_way(chat: Piped) -> None:
    image = "data:image/png;base64," + _base64(red_photo((5, 5, 9, 9)))
    assert "  found, " in chat("what is red?", image=image).out


def _base64(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


# Commands


def test_reset_begins_a_new_conversation_about_the_same_image(chat: Piped, red: TalkingRed) -> None:
    ran = chat("what is red?", "/reset", "what is red?")
    assert "two.png, 120x80" in ran.out
    assert [question.history for question in red.asked] == [(), ()]
    assert red.asked[0].conversation_id != red.asked[1].conversation_id


def test_the_last_answer_is_copied_and_its_paths_are_those_of_the_copy(chat: Piped, tmp_path: Path) -> None:
    ran = chat("what is red?", "and now?", f"/save {tmp_path}/my cups", options=("--json",))
    _, last, saved = documents(ran)
    folder = tmp_path / "my cups" / str(last["result_id"])
    assert saved == {"saved": [str(folder)]}
    assert sorted(path.name for path in folder.iterdir()) == [
        "mask_0.png",
        "mask_1.png",
        "overlay.jpg",
        "result.json",
    ]
    copy = Segmentation.model_validate_json((folder / "result.json").read_text("utf-8"))
    for mine, theirs in zip(copy.masks, last["masks"], strict=True):
        assert Path(mine.path).parent == folder
        assert (read_mask(mine.path) == read_mask(theirs["path"])).all()
    assert Path(copy.overlay_path or "").read_bytes() == Path(str(last["overlay_path"])).read_bytes()


def test_all_answers_of_this_conversation_are_copied_on_request(chat: Piped, tmp_path: Path) -> None:
    ran = chat("old", "/reset", "one", "two", f"/save-all {tmp_path}/all", options=("--json",))
    _, _, one, two, saved = documents(ran)
    assert saved["saved"] == [str(tmp_path / "all" / str(a["result_id"])) for a in (one, two)]


def test_what_is_saved_already_is_left_as_it_is(chat: Piped, tmp_path: Path, red: TalkingRed) -> None:
    def touch() -> None:
        for saved in (tmp_path / "kept").glob("*/result.json"):
            saved.write_text("mine now", "utf-8")

    red.first = touch
    assert chat("one", f"/save {tmp_path}/kept", "two", f"/save-all {tmp_path}/kept").code == 0
    texts = [path.read_text("utf-8") for path in (tmp_path / "kept").glob("*/result.json")]
    assert len(texts) == 2
    assert texts.count("mine now") == 1


def test_saving_where_nothing_can_be_written_is_an_error_and_leaves_nothing(
    chat: Piped, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("mine", "utf-8")
    for target in (in_the_way, in_the_way / "below", f"{tmp_path}/nul\0"):
        ran = chat("what is red?", f"/save {target}")
        assert (ran.code, "cannot be written" in ran.err) == (4, True), target
    assert in_the_way.read_text("utf-8") == "mine"


def test_an_answer_whose_files_made_room_cannot_be_saved(
    chat: Piped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__OUTPUT_MAX_RESULTS", "1")
    *_, gone = documents(chat("one", "two", f"/save-all {tmp_path}/all", options=("--json",)))
    assert gone["error"]["code"] == "result_not_found"
    assert list((tmp_path / "all").iterdir()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/sav out", "Did you mean /save?"),
        ("/frobnicate", "there is no command '/frobnicate'"),
        ("/image", "/image takes PATH"),
        ("/reset all", "/reset takes nothing after it"),
        ("/save out", "there is no answer to save yet"),
    ],
)
def test_a_command_that_cannot_be_done_is_explained(chat: Piped, line: str, said: str) -> None:
    ran = chat(line)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_path_instead_of_a_question_is_taken_for_an_image_that_was_meant(chat: Piped, photo: Path) -> None:
    assert f"To ask about another image: /image {photo}\n" in chat(photo).err


def test_help_lists_every_command_and_quit_ends(chat: Piped, red: TalkingRed) -> None:
    out = chat("/help", "/quit", "what is red?").out
    for command in ("/image PATH", "/reset", "/save DIR", "/save-all DIR", "/help", "/quit"):
        assert f"  {command}  " in out
    assert red.predicted == []


# For programs


def test_with_json_every_line_is_answered_by_one_line_of_json(chat: Piped, red: TalkingRed) -> None:
    red.first = lambda: print("downloading...")
    ran = chat("what is red?", "?!", "/reset", "/help", "/quit", options=("--json",))
    result, error, image, shown = documents(ran)
    assert Segmentation.model_validate(result).outcome == "found"
    assert error == {"error": lisa_tool.InvalidQuery("the question holds no words").to_dict()}
    assert (list(image), list(shown)) == (["image"], ["help"])
    assert (ran.code, ran.err) == (2, "downloading...\n")


def test_what_a_library_prints_is_no_part_of_a_text_answer_either(chat: Piped, red: TalkingRed) -> None:
    red.first = lambda: print("downloading...")
    ran = chat("what is red?")
    assert ran.err == "downloading...\n"
    assert ran.out.startswith(WORDS[0])


def test_bytes_that_are_no_text_are_a_question_like_any_other(chat: Piped, red: TalkingRed) -> None:
    assert chat("what is \udcff red?").code == 0
    assert red.predicted == ["what is \ufffd red?"]


def test_ctrl_c_ends_all_that_was_piped_in(chat: Piped, red: TalkingRed) -> None:
    red.first = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    ran = chat("think", "what is red?")
    assert (ran.code, ran.err) == (130, "lisa-tool: the answer was stopped with Ctrl-C.\n")
    assert red.predicted == []  # the first was stopped, the second never asked
    assert signal.getsignal(signal.SIGINT) is before
    assert red.closed
