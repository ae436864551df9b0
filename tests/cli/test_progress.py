"""The progress line: what a person sees of work that takes long, and what a log keeps of it."""

import io
import threading

import pytest

from lisa_tool.cli.progress import LOGGED_S, QUIET_S, REDRAW_S, ProgressLine
from lisa_tool.engine.call import Progress

NEVER_S = 3600.0
ERASED = "\r\x1b[K"


class Terminal(io.StringIO):
    """Keeps what was written; `screen` is what a person sees of its one line."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> str:
        return self.getvalue().rpartition("\r")[2].removesuffix("\x1b[K")


class Clock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def progress_line(stream: io.StringIO | None, clock: Clock) -> ProgressLine:
    """A line that only draws when a test updates or ticks."""
    return ProgressLine(stream, now=clock, tick_s=NEVER_S)


# On a terminal


def test_work_of_less_than_a_second_draws_nothing(clock: Clock) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        line.update(Progress("finding objects", 0.3))
        clock.now += QUIET_S - 0.01
        line.tick()
    assert terminal.getvalue() == ""


def test_after_a_second_it_shows_the_stage_a_bar_the_percentage_and_the_time(clock: Clock) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        line.update(Progress("finding objects", 0.25))
        clock.now += QUIET_S
        line.tick()
        assert terminal.screen == "finding objects  [######..................]   25%  0:01"


@pytest.mark.parametrize(("seconds", "shown"), [(7, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_minutes_and_hours_go_on_while_nothing_else_changes(clock: Clock, seconds: int, shown: str) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        line.update(Progress("converting the weights", 1.0))
        clock.now += seconds
        line.tick()
        assert terminal.screen == f"converting the weights  [{'#' * 24}]  100%  {shown}"


def test_the_line_ticks_by_itself() -> None:
    class Watched(Terminal):
        drawn = threading.Event()

        def write(self, text: str) -> int:
            self.drawn.set()
            return super().write(text)

    terminal = Watched()
    clock = Clock()
    with ProgressLine(terminal, now=clock, tick_s=0.001) as line:
        line.update(Progress("loading the model", 0.1))
        clock.now += QUIET_S
        assert terminal.drawn.wait(5)


def test_many_updates_are_drawn_ten_times_a_second_at_most(clock: Clock) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        clock.now += QUIET_S
        for token in range(100):
            line.update(Progress(f"answering, token {token}", 0.5))
            clock.now += REDRAW_S / 50
        assert 2 <= terminal.getvalue().count("answering") <= 3


def test_the_line_is_erased_at_the_end_and_when_the_work_fails(clock: Clock) -> None:
    terminal = Terminal()
    with pytest.raises(ZeroDivisionError), progress_line(terminal, clock) as line:
        clock.now += QUIET_S
        line.update(Progress("finding objects", 0.3))
        raise ZeroDivisionError
    assert terminal.getvalue().endswith(ERASED)
    line.tick()  # one that comes late draws nothing over the answer
    assert terminal.getvalue().endswith(ERASED)


def test_text_has_the_terminal_to_itself_while_the_line_is_held(clock: Clock) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        clock.now += QUIET_S
        line.update(Progress("answering", 0.3))
        line.hold()
        assert terminal.getvalue().endswith(ERASED)
        before = len(terminal.getvalue())
        clock.now += 60
        line.update(Progress("answering", 0.4))
        line.tick()
        line.hold()
        assert len(terminal.getvalue()) == before
        line.release()
        line.update(Progress("cutting the masks", 0.8))
        assert terminal.screen.startswith("cutting the masks")


@pytest.mark.parametrize("columns", [20, 59, 60, 80])
def test_a_long_stage_is_cut_and_the_time_is_not(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        clock.now += QUIET_S
        line.update(Progress("x" * 200, 0.3))
        assert len(terminal.screen) == columns - 1
        assert terminal.screen.endswith("30%  0:01")


def test_nothing_in_a_stage_is_obeyed_by_the_terminal(clock: Clock) -> None:
    terminal = Terminal()
    with progress_line(terminal, clock) as line:
        clock.now += QUIET_S
        line.update(Progress("downloading \x1b[2Ja\nb", 0.3))
        assert "\x1b" not in terminal.screen
        assert "\n" not in terminal.screen


# In a log


@pytest.mark.parametrize("dumb", [False, True])
def test_a_log_gets_one_plain_line_for_each_stage_that_takes_long(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, dumb: bool
) -> None:
    log = Terminal() if dumb else io.StringIO()
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    with progress_line(log, clock) as line:
        line.update(Progress("reading the image", 0.0))
        clock.now += LOGGED_S - 1
        line.tick()
        for percent in range(100):
            line.update(Progress(f"converting the weights, {percent} of 100", percent / 100))
            clock.now += 1
        line.update(Progress("checking", 1.0))
        clock.now += LOGGED_S
        line.tick()
        line.tick()
    assert log.getvalue() == "lisa-tool: converting the weights ...\nlisa-tool: checking ...\n"


def test_without_a_standard_error_nothing_happens(clock: Clock) -> None:
    with progress_line(None, clock) as line:
        clock.now += LOGGED_S
        line.update(Progress("finding objects", 0.3))
        line.tick()
