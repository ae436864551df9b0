import io

import pytest

from lisa_tool.cli.progress import ProgressLine
from lisa_tool.engine.call import Progress

A_LONG_TIME_S = 3600


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def test_nothing_is_drawn_before_a_second_has_passed() -> None:
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.update(Progress("finding objects", 0.3))
    assert terminal.getvalue() == ""


def test_the_stage_that_already_runs_is_drawn_when_the_second_is_over() -> None:
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.update(Progress("finding objects", 0.3))
        line.show()
        assert terminal.getvalue().endswith("finding objects ... 30%")


def test_the_line_follows_the_work_and_is_erased_at_the_end() -> None:
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.show()
        line.update(Progress("finding objects", 0.3))
        line.update(Progress("writing the masks", 0.85))
    assert terminal.getvalue() == (
        "\r\x1b[2Kfinding objects ... 30%\r\x1b[2Kwriting the masks ... 85%\r\x1b[2K"
    )


def test_the_line_is_erased_when_the_work_fails() -> None:
    terminal = Terminal()
    with pytest.raises(ZeroDivisionError), ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.show()
        line.update(Progress("finding objects", 0.3))
        raise ZeroDivisionError
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_a_timer_that_fires_late_draws_nothing_over_the_answer() -> None:
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.update(Progress("finding objects", 0.3))
    line.show()
    assert terminal.getvalue() == ""


def test_a_long_stage_fits_one_line() -> None:
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.show()
        line.update(Progress("x" * 200, 0.3))
    assert "x" * 80 not in terminal.getvalue()


def test_a_stream_that_is_no_terminal_stays_silent() -> None:
    for stream in (io.StringIO(), None):
        with ProgressLine(stream, A_LONG_TIME_S) as line:
            line.show()
            line.update(Progress("finding objects", 0.3))
        assert stream is None or stream.getvalue() == ""


def test_a_dumb_terminal_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with ProgressLine(terminal, A_LONG_TIME_S) as line:
        line.show()
        line.update(Progress("finding objects", 0.3))
    assert terminal.getvalue() == ""
