"""The queue in front of a model: one caller works, a bounded number waits, the rest are refused at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from lisa_tool.engine.call import Call
from lisa_tool.errors import ServerBusy

_POLL_S = 0.05  # how often a waiting caller looks at its cancel event


class WorkQueue:
    """First come, first served; at most `max_waiting` callers beside the one at work.

    A caller takes a `place` for its whole call, so that what it holds in memory is bounded too, and in it a
    `turn` at the model:

        with queue.place():
            image = read()
            with queue.turn(call):
                work(image)
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_places = max_waiting + 1
        self._places = 0
        self._changed = threading.Condition()
        self._line: deque[Call] = deque()  # the call at the front works

    @contextmanager
    def place(self) -> Iterator[None]:
        """Be one of the callers for the body of the `with`.

        Raises ServerBusy at once when there are too many.
        """
        with self._changed:
            if self._places >= self._max_places:
                raise ServerBusy(f"{self._places} calls are being answered or waiting")
            self._places += 1
        try:
            yield
        finally:
            with self._changed:
                self._places -= 1

    @contextmanager
    def turn(self, call: Call) -> Iterator[None]:
        """Hold the model for the body of the `with`, after all who came before.

        Raises Cancelled or DeadlineExceeded while waiting; a caller that gave up never reaches the model.
        """
        with self._changed:
            self._line.append(call)
        try:
            with call.stage("waiting for the model", 0.05), self._changed:
                while self._line[0] is not call:
                    call.check()
                    with call.uncounted() if self._line[0].is_uncounted else nullcontext():
                        self._changed.wait(min(_POLL_S, call.remaining_s))
            call.check()
            yield
        finally:
            with self._changed:
                self._line.remove(call)
                self._changed.notify_all()
