"""Ctrl-C: the first one asks the call to stop and clean up, the second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def cancel_on_ctrl_c() -> Iterator[threading.Event]:
    """The event that Ctrl-C sets while the body runs; only in the main thread, which gets the signals."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if sys.stderr is not None and sys.stderr.isatty():
            # Not print: this signal may have interrupted one. The line may hold an answer, so it stays.
            with contextlib.suppress(OSError):
                os.write(2, b"\nstopping; Ctrl-C again ends at once\n")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)
