"""`lisa-tool segment`: what it hands to the segmenter and what it prints. Real answers come from lite."""

import base64
import hashlib
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lisa_tool
from lisa_tool.cli.answer import answer_text
from lisa_tool.results import Segmentation
from lisa_tool.store import read_mask
from tests.cli.fakes import answer, answering, install, raising, waits_for_cancel
from tests.cli.runner import CommandLine

QUERY = "what would you drink from?"


def save_picture(path: Path) -> Path:
    """A small real picture; what is in it does not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.arange(64, dtype=np.uint8), (48, 1))
    Image.fromarray(np.stack([ramp, ramp * 2, ramp * 3], axis=2)).save(path)
    return path


def test_json_is_the_whole_segmentation(
    cli: CommandLine, lite_cli: None, coffee: Path, tmp_path: Path
) -> None:
    ran = cli("segment", coffee, QUERY, "--json", "--out", tmp_path / "out")
    assert ran.code == 0
    result = Segmentation.model_validate(ran.document)
    assert result.query == QUERY
    saved = tmp_path / "out" / result.result_id / "result.json"
    assert json.loads(saved.read_text("utf-8")) == ran.document


def test_the_cup_is_what_one_drinks_from(
    cli: CommandLine, lite_cli: None, coffee: Path, tmp_path: Path
) -> None:
    ran = cli("segment", coffee, QUERY, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("found: ")
    path = next(word for word in ran.out.split() if word.endswith("mask_0.png"))
    assert read_mask(path).any()
    assert f"overlay: {Path(path).parent / 'overlay.jpg'}" in ran.out


def test_a_question_needs_no_quotes_and_options_may_stand_anywhere(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def behave(**options: object) -> Segmentation:
        asked.append((options["image"], options["query"], options["deadline_s"]))
        return answer()

    install(monkeypatch, behave)
    assert cli("segment", "a.jpg", "the", "largest", "dog").code == 0
    assert cli("segment", "--deadline", "5", "a.jpg", "the", "--json", "largest", "dog").code == 0
    assert asked == [("a.jpg", "the largest dog", None), ("a.jpg", "the largest dog", 5.0)]


def test_an_image_comes_in_on_standard_input(
    cli: CommandLine, lite_cli: None, coffee: Path, tmp_path: Path
) -> None:
    ran = cli("segment", "-", QUERY, "--json", "--out", tmp_path / "out", stdin=coffee.read_bytes())
    assert ran.code == 0
    assert ran.document["image"]["sha256"] == hashlib.sha256(coffee.read_bytes()).hexdigest()


def test_standard_input_is_read_up_to_the_limit_of_a_file(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []

    def behave(**options: object) -> Segmentation:
        images.append(options["image"])
        return answer()

    install(monkeypatch, behave)
    monkeypatch.setenv("LISA_LIMITS__MAX_FILE_BYTES", "10")
    assert cli("segment", "-", "the dog", stdin=b"0123456789").code == 0
    ran = cli("segment", "-", "the dog", "--json", stdin=b"0123456789X")
    assert (ran.code, ran.error["code"]) == (3, "image_too_large")
    assert images == [b"0123456789"]


def test_a_data_reference_is_an_image(cli: CommandLine, lite_cli: None, tmp_path: Path) -> None:
    encoded = base64.b64encode(save_picture(tmp_path / "a.png").read_bytes()).decode()
    ran = cli("segment", f"data:image/png;base64,{encoded}", "the dog", "--json", "--out", tmp_path / "out")
    assert (ran.code, ran.document["image"]["width"]) == (0, 64)


# Which files may be read


def test_a_file_that_is_named_may_be_read_wherever_it_lies(
    cli: CommandLine, lite_cli: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = save_picture(tmp_path / "far" / "away" / "a.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for name in (str(picture), picture.as_uri(), "../far/away/a.png"):
        assert cli("segment", name, "the dog", "--json", "--out", tmp_path / "out").code == 0, name


def test_a_link_that_leads_out_of_its_folder_is_refused(
    cli: CommandLine, lite_cli: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = save_picture(tmp_path / "private" / "secret.png")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "a.png").symlink_to(secret)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    ran = cli("segment", shared / "a.png", "the dog", "--json")
    assert (ran.code, ran.error["code"]) == (3, "path_not_allowed")


@pytest.mark.parametrize("how", ["option", "environment"])
def test_only_the_folders_that_were_allowed_count_when_there_are_any(
    cli: CommandLine, lite_cli: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    inside = save_picture(tmp_path / "allowed" / "a.png")
    outside = save_picture(tmp_path / "other" / "a.png")
    options: list[object] = ["--json", "--out", tmp_path / "out"]
    if how == "option":
        options += ["--allow", tmp_path / "allowed"]
    else:
        monkeypatch.setenv("LISA_ROOTS", str(tmp_path / "allowed"))
    assert cli("segment", inside, "the dog", *options).code == 0
    ran = cli("segment", outside, "the dog", *options)
    assert (ran.code, ran.error["code"]) == (3, "path_not_allowed")


# What goes wrong on the way


def test_an_unknown_model_is_a_backend_error(cli: CommandLine, tmp_path: Path) -> None:
    ran = cli("segment", save_picture(tmp_path / "a.png"), "the dog", "--model", "gpt", "--json")
    assert (ran.code, ran.error["code"]) == (5, "unknown_model")


def test_a_missing_extra_names_the_command_that_installs_it(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(settings: lisa_tool.Settings) -> None:
        raise lisa_tool.MissingExtra("the `lite` backend needs onnxruntime: pip install 'lisa-tool[lite]'")

    monkeypatch.setattr("lisa_tool.cli.segment.open_segmenter", missing)
    ran = cli("segment", "a.png", "the dog", "--json")
    assert (ran.code, ran.error["code"]) == (5, "missing_extra")
    assert "pip install 'lisa-tool[lite]'" in ran.error["message"]


def test_a_deadline_that_passed_is_worth_another_try(
    cli: CommandLine, lite_cli: None, tmp_path: Path
) -> None:
    ran = cli("segment", save_picture(tmp_path / "a.png"), "the dog", "--deadline", "1e-9", "--json")
    assert (ran.code, ran.error["code"], ran.error["retryable"]) == (6, "deadline_exceeded", True)


def test_ctrl_c_cancels_the_call_and_the_model_is_closed(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*, cancel: threading.Event, **options: object) -> Segmentation:
        os.kill(os.getpid(), signal.SIGINT)
        waits_for_cancel(cancel)
        raise lisa_tool.Cancelled("the call was cancelled")

    fake = install(monkeypatch, interrupted)
    before = signal.getsignal(signal.SIGINT)
    ran = cli("segment", "a.jpg", "the dog", "--json")
    assert (ran.code, ran.error["code"]) == (130, "cancelled")
    assert fake.closed
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_is_left_to_the_system_which_ends_the_process(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = []

    def interrupted(*, cancel: threading.Event, **options: object) -> Segmentation:
        os.kill(os.getpid(), signal.SIGINT)
        waits_for_cancel(cancel)
        handlers.append(signal.getsignal(signal.SIGINT))
        return answer()

    install(monkeypatch, interrupted)
    assert cli("segment", "a.jpg", "the dog").code == 0
    assert handlers == [signal.SIG_DFL]


def test_the_model_is_closed_after_an_error(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, raising(lisa_tool.ServerBusy("busy")))
    assert cli("segment", "a.jpg", "the dog").code == 6
    assert fake.closed


def test_a_wrong_setting_is_named(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISA_LIMITS__MAX_PIXELS", "many")
    ran = cli("segment", "a.jpg", "the dog", "--json")
    assert (ran.code, ran.error["code"]) == (2, "bad_settings")
    assert "LISA_LIMITS__MAX_PIXELS" in ran.error["message"]


@pytest.mark.parametrize("outcome", ["found", "uncertain", "not_found"])
def test_every_outcome_is_an_answer(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    install(monkeypatch, answering(outcome=outcome, masks=(), overlay_path=None))
    assert cli("segment", "a.jpg", "the dog").code == 0


# How an answer reads


def test_an_answer_is_a_few_lines_for_a_person() -> None:
    assert answer_text(answer(), width=100) == (
        "found: a cup\n"
        "  why: people drink coffee from a cup\n"
        "  1.  cup  12.4% of the image, upper left  box x=10 y=20 30x40  /results/res_0/mask_0.png\n"
        "  overlay: /results/res_0/overlay.jpg\n"
        "  1.9 s, model fake, image 600x400"
    )


def test_an_answer_without_a_mask_has_no_files() -> None:
    text = answer_text(
        answer(outcome="not_found", answer="no drum here", reasoning="", masks=(), overlay_path=None),
        width=80,
    )
    assert text == "not_found: no drum here\n  1.9 s, model fake, image 600x400"


def test_notes_and_warnings_are_told() -> None:
    info = answer().image.model_copy(update={"notes": ("turned upright (EXIF 6)",)})
    text = answer_text(answer(image=info, warnings=("lite knows few kinds",)), width=80)
    assert "  note: turned upright (EXIF 6)\n" in text
    assert "  note: lite knows few kinds\n" in text


def test_a_narrow_terminal_wraps_words_and_never_a_path() -> None:
    text = answer_text(answer(answer="a cup " * 30), width=64)
    assert max(map(len, text.splitlines())) <= 64
    assert "     /results/res_0/mask_0.png\n" in text


def test_nothing_in_an_answer_reaches_the_terminal_as_a_command() -> None:
    folder = "/results/\x1b[2J\nrm -rf"
    mask = answer().masks[0].model_copy(update={"path": f"{folder}/mask_0.png", "label": "\x1b]0;hi\x07"})
    text = answer_text(answer(masks=(mask,), warnings=("\x1b[31mred",)), width=100)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\nrm -rf" not in text
