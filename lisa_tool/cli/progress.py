"""A progress line on a terminal: it appears after a second, says the stage and how far, and erases itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from types import TracebackType
from typing import Self, TextIO

from lisa_tool.engine.call import Progress

_CLEAR_LINE = "\r\x1b[2K"


class ProgressLine:
    """`with ProgressLine(sys.stderr) as line: work(progress=line.update)`.

    Silent when the stream is not a terminal.
    """

    def __init__(self, stream: TextIO | None, delay_s: float = 1.0) -> None:
        self._stream = stream if stream is not None and _is_terminal(stream) else None
        self._timer = threading.Timer(delay_s, self.show)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._visible = False
        self._ended = False
        self._latest: Progress | None = None

    def update(self, progress: Progress) -> None:
        """Note how far the work is."""
        with self._lock:
            self._latest = progress
            self._draw()

    def show(self) -> None:
        """Be visible from now on; called by the timer."""
        with self._lock:
            self._visible = True
            self._draw()

    def _draw(self) -> None:
        if self._stream and self._latest and self._visible and not self._ended:
            text = f"{self._latest.stage} ... {self._latest.fraction:.0%}"
            self._write(_CLEAR_LINE + text[: shutil.get_terminal_size().columns - 1])

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a terminal that went away must not cost the answer
            if self._stream:
                self._stream.write(text)
                self._stream.flush()

    def __enter__(self) -> Self:
        if self._stream:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._visible and self._latest:
                self._write(_CLEAR_LINE)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"
