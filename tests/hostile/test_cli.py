"""Every bad input of the list goes through `lisa-tool segment --json`.

Each is a typed error with a hint and the documented exit code, in one JSON document, with nothing half
written and no traceback. Or, where the list says so, a plain answer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runner import CommandLine, Ran
from tests.hostile import pictures

pytestmark = [pytest.mark.usefixtures("lite_cli"), pytest.mark.slow]

QUERY = "what is red?"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one good picture in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(pictures.encoded(pictures.scene(), "JPEG"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def assert_refused(ran: Ran, code: int, name: str, out: Path) -> None:
    assert (ran.code, ran.error["code"]) == (code, name), ran.out
    assert ran.error["message"]
    assert ran.error["hint"]
    assert "Traceback" not in ran.err
    assert not out.exists() or list(out.iterdir()) == []  # hidden unfinished folders count too


def write(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def link_out(path: Path) -> None:
    secret = path.parent.parent / "secret.jpg"
    secret.write_bytes(pictures.encoded(pictures.scene(), "JPEG"))
    path.symlink_to(secret)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a missing file": (lambda path: None, "a.png", "image_not_found"),
    "a folder": (lambda path: path.mkdir(), "a.png", "image_unreadable"),
    "a pipe that nobody writes to": (lambda path: os.mkfifo(path), "a.png", "image_unreadable"),
    "a link out of the folder": (link_out, "a.jpg", "path_not_allowed"),
    "an empty file": (write(b""), "a.png", "image_unreadable"),
    "text that is called a picture": (write(b"not a picture\n" * 9), "a.png", "image_unreadable"),
    "half a JPEG": (write(pictures.truncated_jpeg()), "a.jpg", "image_unreadable"),
    "SVG": (write(pictures.SVG), "a.svg", "image_unreadable"),
    "HEIC": (write(pictures.HEIC), "a.heic", "image_unreadable"),
    "one pixel": (write(pictures.blank_png(1, 1)), "a.png", "image_shape_unsupported"),
    "a line of pixels": (write(pictures.blank_png(1, 20_000)), "a.png", "image_shape_unsupported"),
    "a long strip": (write(pictures.blank_png(10, 2_000)), "a.png", "image_shape_unsupported"),
    "a 30000x30000 bomb of one bit": (
        lambda path: path.write_bytes(pictures.blank_png(30_000, 30_000, 1)),
        "a.png",
        "image_too_large",
    ),
    "88 million pixels": (
        lambda path: path.write_bytes(pictures.blank_png(9_400, 9_400)),
        "a.png",
        "image_too_large",
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_refused_with_its_reason(cli: CommandLine, place: Path, out: Path, what: str) -> None:
    make, name, code = BAD_FILES[what]
    make(place / name)
    ran = cli("segment", place / name, QUERY, "--json", "--out", out)
    assert_refused(ran, 3, code, out)


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_person_reads_the_same_reason_in_two_lines(
    cli: CommandLine, place: Path, out: Path, what: str
) -> None:
    make, name, _ = BAD_FILES[what]
    make(place / name)
    ran = cli("segment", place / name, QUERY, "--out", out)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("lisa-tool: ")
    assert len(ran.err.splitlines()) >= 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("what", "data", "size"),
    [
        ("16-bit gray", pictures.sixteen_bit_gray(), (96, 64)),
        ("hidden colour", pictures.hidden_colour(), (96, 64)),
        ("CMYK", pictures.cmyk_jpeg(), (96, 64)),
        ("EXIF 6", pictures.exif_turned(), (64, 96)),
        ("a thousand frames", pictures.long_animation(), (8, 8)),
    ],
)
def test_an_unusual_file_is_answered_and_says_what_was_done_to_it(
    cli: CommandLine, place: Path, out: Path, what: str, data: bytes, size: tuple[int, int]
) -> None:
    (place / "a.img").write_bytes(data)
    ran = cli("segment", "a.img", QUERY, "--json", "--out", out)
    assert ran.code == 0, ran.out
    image = ran.document["image"]
    assert (image["width"], image["height"]) == size
    assert image["notes"]
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "???", "\x00\x01"])
def test_a_blank_question_is_refused(cli: CommandLine, place: Path, out: Path, query: str) -> None:
    assert_refused(cli("segment", "good.jpg", query, "--json", "--out", out), 2, "invalid_query", out)


def test_a_question_of_ten_thousand_characters_is_refused(cli: CommandLine, place: Path, out: Path) -> None:
    ran = cli("segment", "good.jpg", "dog " * 2_500, "--json", "--out", out)
    assert_refused(ran, 2, "invalid_query", out)


def test_control_characters_in_a_question_reach_neither_the_result_nor_the_terminal(
    cli: CommandLine, place: Path, out: Path
) -> None:
    query = "what\x1b[2J is\x00 red\r\n?\x07\u202e"
    ran = cli("segment", "good.jpg", query, "--json", "--out", out)
    assert ran.code == 0
    assert ran.document["query"] == "what [2J is red ?"
    shown = cli("segment", "good.jpg", query, "--out", out).out
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_an_output_folder_below_a_file_is_refused(cli: CommandLine, place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    out = tmp_path / "file" / "results"
    ran = cli("segment", "good.jpg", QUERY, "--json", "--out", out)
    assert (ran.code, ran.error["code"]) == (4, "output_not_writable")
    assert ran.error["hint"]
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_result_over_the_quota_is_refused_and_nothing_stays(
    cli: CommandLine, place: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__OUTPUT_MAX_BYTES", "1000")
    assert_refused(cli("segment", "good.jpg", QUERY, "--json", "--out", out), 4, "output_full", out)


def test_a_disk_that_fills_up_half_way_leaves_nothing(
    cli: CommandLine, place: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert_refused(cli("segment", "good.jpg", QUERY, "--json", "--out", out), 4, "output_full", out)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    cli: CommandLine, place: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISA_LIMITS__OUTPUT_MIN_FREE_BYTES", str(2**62))
    assert_refused(cli("segment", "good.jpg", QUERY, "--json", "--out", out), 4, "output_full", out)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        ".",
        "..",
        "/",
        "a\0b.png",
        "x" * 5_000,
        "file://",
        "file://elsewhere/a.png",
        "file:///a%00b.png",
        "data:",
        "data:image/png;base64,@@@",
        "data:text/plain,hello",
        "http://127.0.0.1/a.png",
        "https://127.0.0.1/a.png",
        "https://",
        "ftp://example.org/a.png",
        "~nobody-of-that-name/a.png",
        "\udcff\udcfe.png",
        "/dev/zero",
        "/proc/self/mem",
        "/mnt/user-data/uploads/photo.png",
    ],
)
def test_a_strange_reference_is_an_image_error(
    cli: CommandLine, place: Path, out: Path, reference: str
) -> None:
    ran = cli("segment", reference, QUERY, "--json", "--out", out)
    assert ran.code == 3, ran.out
    assert_refused(ran, 3, ran.error["code"], out)


def test_a_file_name_that_is_not_utf_8_is_read_and_its_json_is_valid(
    cli: CommandLine, place: Path, out: Path
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (place / name).write_bytes((place / "good.jpg").read_bytes())
    ran = cli("segment", name, QUERY, "--json", "--out", out)
    assert ran.code == 0, ran.out
    assert ran.document["outcome"]
    assert cli("segment", name, QUERY, "--out", out).code == 0


def test_empty_standard_input_is_refused(cli: CommandLine, place: Path, out: Path) -> None:
    assert_refused(cli("segment", "-", QUERY, "--json", "--out", out), 3, "image_unreadable", out)
