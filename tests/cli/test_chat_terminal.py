"""`lisa-tool chat` at a terminal: prompt, history, Ctrl-C, and words beside the progress line."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import pytest

from lisa_tool.cli.chat_screen import Screen
from lisa_tool.cli.progress import QUIET_S, ProgressLine
from lisa_tool.engine.call import Progress
from tests.cli.fakes import answer
from tests.cli.talking import save, save_photo
from tests.cli.test_progress import NEVER_S, Clock, Terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Two red things."""
    return save_photo(tmp_path / "photos")


# The progress line and the words on one terminal


def seen(raw: str) -> list[str]:
    """The lines that a terminal shows after this output."""
    lines = [""]
    column = 0
    for part in raw.replace("\x1b[K", "\x1b").replace("", "\0").split("\0"):
        if part == "\n":
            lines.append("")
            column = 0
        elif part == "\r":
            column = 0
        elif part == "\x1b":
            lines[-1] = lines[-1][:column]
        elif part:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + 1 :]
            column += 1
    return lines


def test_words_and_the_progress_line_do_not_garble_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal, clock = Terminal(), Clock()
    mask = answer().masks[0]
    with ProgressLine(terminal, now=clock, tick_s=NEVER_S) as line:
        screen = Screen(terminal, line, threading.Event())
        clock.now += QUIET_S
        shown = []
        for progress in (
            Progress("loading the model", 0.1),
            Progress("answering, token 1", 0.3, text="Sure, "),
            Progress("answering, token 2", 0.4),
            Progress("answering, token 3", 0.4, text="a cup [SEG]."),
            Progress("encoding the image", 0.6),
            Progress("writing the masks", 0.9, mask=mask),
            Progress("drawing the overlay", 0.9),
        ):
            screen.update(progress)
            clock.now += 1
            line.tick()
            shown.append(seen(terminal.getvalue()))
    place = "  mask 1: cup, 12.4% of the image, upper left, goes to /results/res_0/mask_0.png"
    assert [[text.partition("  [")[0] for text in lines] for lines in shown] == [
        ["loading the model"],
        ["Sure, "],
        ["Sure, "],
        ["Sure, a cup [SEG]."],
        ["Sure, a cup [SEG].", "encoding the image"],
        ["Sure, a cup [SEG].", place, "writing the masks"],
        ["Sure, a cup [SEG].", place, "drawing the overlay"],
    ]
    assert seen(terminal.getvalue()) == ["Sure, a cup [SEG].", place, ""]


# In a process of its own


CHILD = """
import sys, tests.cli.talking, lisa_tool.cli.chat
if sys.stdin.isatty():
    import fcntl, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
lisa_tool.cli.chat.open_segmenter = tests.cli.talking.open_talking
from lisa_tool.cli import main
sys.exit(main(sys.argv[1:]))
"""


Child = subprocess.Popen[bytes]


def child(*words: object, cwd: Path, stdin: int, stdout: int, stderr: int) -> Child:
    """`lisa-tool WORDS` with the talking backend."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "TERM": "xterm", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, words)],
        cwd=cwd,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def test_a_reader_that_leaves_ends_the_chat_and_the_answer(photo: Path, tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    process = child(
        "chat", photo, "--out", tmp_path / "out", cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(b"what is red?\n" * 3)
    process.stdin.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert not list((tmp_path / "out").glob("res_*"))


class Screened:
    """A chat at a pseudo-terminal: type keys, expect text."""

    def __init__(self, *words: object, cwd: Path, stdout: int | None = None) -> None:
        import pty

        self._fd, terminal = pty.openpty()
        out = terminal if stdout is None else stdout
        self.process = child(*words, cwd=cwd, stdin=terminal, stdout=out, stderr=terminal)
        os.close(terminal)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def expect(self, text: str) -> str:
        """Everything up to and with `text`."""
        while text.encode() not in self._unread:
            data = self._read()
            assert data, f"{text!r} did not come: {self._unread!r}"
            self._unread += data
        before, wanted, self._unread = self._unread.partition(text.encode())
        return (before + wanted).decode()

    def end(self) -> str:
        """What is left; the process must have ended well."""
        while data := self._read():
            self._unread += data
        assert self.process.wait(30) == 0
        return self._unread.decode()

    def _read(self) -> bytes:
        if not self._something_came_within(5):
            self.type(
                "\r"
            )  # a signal that comes just before Python waits for a key is seen with the next key
            assert self._something_came_within(25), f"nothing came any more after {self._unread!r}"
        try:
            return os.read(self._fd, 4096)
        except OSError:  # Linux: the other side is closed
            return b""

    def _something_came_within(self, seconds: float) -> bool:
        return bool(select.select([self._fd], [], [], seconds)[0])


needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@needs_pty
def test_at_a_terminal_words_come_while_the_model_thinks_and_ctrl_c_stops_that_answer_only(
    photo: Path, tmp_path: Path
) -> None:
    with Screened("chat", photo, "--out", tmp_path / "out", cwd=tmp_path) as terminal:
        assert "two.png, 120x80, model red; /help lists the commands" in terminal.expect("> ")
        terminal.type("think about it\r")
        terminal.expect("Sure, the red thing [SEG].")  # and the model is still at it
        terminal.type("\x03")
        terminal.expect("stopping; Ctrl-C again ends at once")
        terminal.expect("lisa-tool: the answer was stopped with Ctrl-C.")
        terminal.expect("> ")
        terminal.type("what is red?\r")
        terminal.expect("  found, ")
        terminal.expect("> ")
        terminal.type("half a quest\x03")
        terminal.expect("(Ctrl-C again, /quit or Ctrl-D ends the chat)")
        terminal.expect("> ")
        terminal.type("\x03")
        assert "to go on: --conv conv_" in terminal.end()


@needs_pty
def test_at_a_terminal_lines_have_a_history_that_is_written_nowhere(photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("readline")
    with Screened("chat", photo, "--out", tmp_path / "out", cwd=tmp_path) as terminal:
        terminal.expect("> ")
        terminal.type("what is red?\r")
        terminal.expect("  found, ")
        terminal.expect("> ")
        terminal.type("\x1b[A\r")  # cursor up
        terminal.expect("  found, ")
        terminal.expect("> ")
        terminal.type("\x04")
        terminal.end()
    queries = [
        json.loads(p.read_text("utf-8"))["query"] for p in (tmp_path / "out").glob("res_*/result.json")
    ]
    assert queries == ["what is red?"] * 2
    assert list((tmp_path / "home").iterdir()) == []


@needs_pty
def test_a_person_who_names_an_image_means_it_wherever_it_lies(photo: Path, tmp_path: Path) -> None:
    elsewhere = save(tmp_path / "elsewhere" / "one.png", (5, 5, 9, 9))
    link = tmp_path / "photos" / "link.png"
    link.symlink_to(save(tmp_path / "private" / "a.png", (5, 5, 9, 9)))
    work = tmp_path / "work"
    work.mkdir()
    for options, allowed in (((), True), (("--allow", photo.parent), False)):
        with Screened("chat", photo, "--out", tmp_path / "out", *options, cwd=work) as terminal:
            terminal.expect("> ")
            terminal.type(f"/image {elsewhere}\r")
            terminal.expect(f"{elsewhere}, 120x80" if allowed else "outside the allowed folders")
            terminal.expect("> ")
            terminal.type(f"/image {link}\r")
            terminal.expect("outside the allowed folders")
            terminal.expect("> ")
            terminal.type("what is red?\r")
            assert terminal.expect("  found, ").count("  mask ") == (1 if allowed else 2)
            terminal.type("/quit\r")
            terminal.end()


@needs_pty
def test_the_prompt_stays_out_of_answers_that_go_to_a_file(photo: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out", "--json")
    with (
        (tmp_path / "answers").open("wb") as file,
        Screened("chat", photo, *options, cwd=tmp_path, stdout=file.fileno()) as terminal,
    ):
        terminal.expect("> ")
        terminal.type("what is red?\r")
        terminal.expect("> ")
        terminal.type("\x04")
        terminal.end()
    (line,) = (tmp_path / "answers").read_text("utf-8").splitlines()
    assert json.loads(line)["outcome"] == "found"
