"""One call on its way: its progress, its cancel event, its deadline and its stop-watch.

Every loop that can take longer than a moment calls `check()`; every stage of work is wrapped in `stage()`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lisa_tool.errors import Cancelled, DeadlineExceeded
from lisa_tool.results import Mask, Timings

logger = logging.getLogger(__name__)
_now = time.monotonic


@dataclass(frozen=True)
class Progress:
    """What a caller is told while it waits.

    fraction: runs from 0 to 1 over the whole call, never down.
    text: what the model has just written; all of them joined are its answer before it is cleaned.
    mask: the mask whose file has just been written; the file gets its final place with the result.
    """

    stage: str
    fraction: float
    text: str = ""
    mask: Mask | None = None


ProgressCallback = Callable[[Progress], None]


@dataclass(eq=False)
class Call:
    """The running state of one `segment` call.

    deadline: a `time.monotonic()` value. is_uncounted: the work of this moment does not count against it, nor
    against those of the calls that wait.
    """

    deadline: float
    cancel: threading.Event = field(default_factory=threading.Event)
    progress: ProgressCallback | None = None
    stages: dict[str, float] = field(default_factory=dict)
    image_encodes: int = 0
    cache_hits: list[str] = field(default_factory=list)
    cache_misses: list[str] = field(default_factory=list)
    is_uncounted: bool = False
    _started: float = field(default_factory=lambda: _now())
    _fraction: float = 0.0

    @classmethod
    def start(
        cls,
        *,
        deadline_s: float,
        cancel: threading.Event | None = None,
        progress: ProgressCallback | None = None,
    ) -> Call:
        """Begin a call that may take `deadline_s` seconds from now."""
        return cls(_now() + deadline_s, cancel or threading.Event(), progress)

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - _now())

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Work that the deadline does not count: loading a model, which the next caller has for nothing."""
        before, self.deadline, self.is_uncounted = self.deadline, math.inf, True
        started = _now()
        try:
            yield
        finally:
            self.deadline, self.is_uncounted = before + _now() - started, False

    def check(self) -> None:
        """Raise Cancelled or DeadlineExceeded when this call should stop."""
        if self.cancel.is_set():
            raise Cancelled("the call was cancelled")
        if self.remaining_s == 0:
            raise DeadlineExceeded(f"the deadline passed after {_now() - self._started:.1f} s")

    @contextmanager
    def stage(self, name: str, fraction: float) -> Iterator[None]:
        """Time one stage of work, after telling the caller that it begins at `fraction` of the whole."""
        self.check()
        self.tell(name, fraction)
        started = _now()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + _now() - started

    def tell(self, stage: str, fraction: float, *, text: str = "", mask: Mask | None = None) -> None:
        """Tell the caller how far the call is, and what has just been made.

        A callback that fails is logged and not called again: it must not cost the caller the answer.
        """
        self._fraction = max(self._fraction, min(fraction, 1.0))
        if self.progress:
            try:
                self.progress(Progress(stage, self._fraction, text, mask))
            except Exception:
                logger.exception("the progress callback failed and is not called again")
                self.progress = None

    def looked_up(self, name: str, *, hit: bool) -> None:
        """Note that a cache was asked for `name`."""
        (self.cache_hits if hit else self.cache_misses).append(name)

    def timings(self) -> Timings:
        """What was measured so far, in seconds."""
        return Timings(
            total_s=round(_now() - self._started, 4),
            stages={name: round(seconds, 4) for name, seconds in self.stages.items()},
            image_encodes=self.image_encodes,
            cache_hits=tuple(self.cache_hits),
            cache_misses=tuple(self.cache_misses),
        )
