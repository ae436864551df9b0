"""What is made by whoever needs it first, once however many need it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from lisa_tool.errors import Cancelled

T = TypeVar("T")

_POLL_S = 0.05  # how often one who waits looks at its stop event


class FirstUse(Generic[T]):
    """One thing that `make` makes; tried again by the next one who needs it when it could not be made."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: T | None = None

    @property
    def made(self) -> T | None:
        """What has been made so far; never waits."""
        return self._made

    def get(self, stop: threading.Event | None = None) -> T:
        """What was made, or is made now.

        stop: set it to give up waiting for another who makes it; raises Cancelled. Raises what `make` raises.
        """
        while not self._making.acquire(timeout=_POLL_S):
            if stop is not None and stop.is_set():
                raise Cancelled("the call was cancelled")
        try:
            if self._made is None:
                self._made = self._make()
            return self._made
        finally:
            self._making.release()

    def take(self) -> T | None:
        """What was made, if anything; the next `get` makes it anew."""
        with self._making:
            made, self._made = self._made, None
            return made
