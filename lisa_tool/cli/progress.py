"""Progress on standard error: on a terminal one line that redraws and erases itself, in a log a line a stage.

    converting the weights  [###########.............]   46%  3:07

Work that is over within a second shows nothing on a terminal, and a stage of less than 15 seconds nothing in
a log. What follows the first comma in a stage's name is a detail ("answering, token 7") and no new stage.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from lisa_tool.cli.output import printable
from lisa_tool.engine.call import Progress

QUIET_S = 1.0  # work shorter than this draws nothing
REDRAW_S = 0.1  # between two drawings
LOGGED_S = 15.0  # how long a stage runs before a log tells of it
TICK_S = 1.0  # how often the time that goes by is shown while nothing else changes
_BAR = 24
_NARROW = 60  # columns below which there is no bar
_ERASE_REST = "\x1b[K"


class ProgressLine:
    """`with ProgressLine(sys.stderr) as line: work(progress=line.update)`.

    now: the clock, in seconds. tick_s: how often the line is drawn anew without an update.
    """

    def __init__(
        self, stream: TextIO | None, *, now: Callable[[], float] = time.monotonic, tick_s: float = TICK_S
    ) -> None:
        self._stream = stream
        self._on_terminal = stream is not None and _is_terminal(stream)
        self._now = now
        self._tick_s = tick_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began = self._stage_began = now()
        self._drawn_at = 0.0
        self._latest: Progress | None = None
        self._visible = False
        self._held = False
        self._logged = False  # this stage is in the log already

    def update(self, progress: Progress) -> None:
        """Note how far the work is."""
        with self._lock:
            if self._latest is None or stage_of(progress) != stage_of(self._latest):
                self._stage_began = self._now()
                self._logged = False
            self._latest = progress
            self._show()

    def tick(self) -> None:
        """Show that time went by; called by a thread of its own."""
        with self._lock:
            self._show()

    def hold(self) -> None:
        """Leave the terminal to other text: erase the line, and draw none until `release`."""
        with self._lock:
            self._held = True
            self._erase()

    def release(self) -> None:
        """Draw again, from the next update or tick on; the cursor is at the start of an empty line."""
        with self._lock:
            self._held = False

    def _show(self) -> None:
        now = self._now()
        if self._latest is None or self._held or self._ended.is_set():
            return
        if self._on_terminal:
            if now - self._began >= QUIET_S and (not self._visible or now - self._drawn_at >= REDRAW_S):
                self._drawn_at = now
                self._visible = True
                text = _line(self._latest, now - self._began, self._columns() - 1)
                self._write(f"\r{text}{_ERASE_REST}")
        elif not self._logged and now - self._stage_began >= LOGGED_S:
            self._logged = True
            self._write(f"lisa-tool: {printable(stage_of(self._latest))} ...\n")

    def _erase(self) -> None:
        if self._visible:
            self._visible = False
            self._write(f"\r{_ERASE_REST}")

    def _columns(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            # shutil asks about standard output, which may be a file; a terminal may not know its own width.
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._stream else 0
            if columns and "COLUMNS" not in os.environ:
                return columns
        return shutil.get_terminal_size().columns

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that went away must not cost the answer
            if self._stream:
                self._stream.write(text)
                self._stream.flush()

    def _keep_ticking(self) -> None:
        while not self._ended.wait(self._tick_s):
            self.tick()

    def __enter__(self) -> Self:
        if self._stream:
            threading.Thread(target=self._keep_ticking, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended.set()
            self._erase()


def stage_of(progress: Progress) -> str:
    """What is being done, without the detail: "answering, token 7" is "answering"."""
    return progress.stage.partition(",")[0]


def _line(progress: Progress, seconds: float, columns: int) -> str:
    """Stage, bar, percentage and elapsed time; what is too long is cut from the stage."""
    bar = "#" * int(_BAR * progress.fraction)
    bar = f"[{bar:.<{_BAR}}]  " if columns >= _NARROW else ""
    right = f"  {bar}{progress.fraction:4.0%}  {_elapsed(seconds)}"
    return printable(progress.stage)[: max(0, columns - len(right))] + right[:columns]


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
