"""Long work that someone waits for: it tells how far it is, and stops when it is asked to.

An `engine.call.Call` is such a someone. `Part` is a stretch of another's work, so that steps that each run
from 0 to 1 make one whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Work(Protocol):
    """Who waits."""

    def tell(self, stage: str, fraction: float) -> None:
        """Take note of how far the work is, 0 to 1."""
        ...

    def check(self) -> None:
        """Raise the LisaError that ends the work, such as Cancelled, when it should stop."""
        ...


@dataclass(frozen=True)
class Part:
    """The stretch from `start` to `end` of a whole."""

    whole: Work
    start: float
    end: float

    def tell(self, stage: str, fraction: float) -> None:
        """See `Work.tell`."""
        self.whole.tell(stage, self.start + (self.end - self.start) * min(fraction, 1.0))

    def check(self) -> None:
        """See `Work.check`."""
        self.whole.check()


@dataclass
class ByteCount:
    """Work that is measured in bytes."""

    work: Work
    stage: str
    total: int
    done: int = 0

    def add(self, n_bytes: int) -> None:
        """Check, then note that `n_bytes` more are done."""
        self.work.check()
        self.done += n_bytes
        self.work.tell(self.stage, self.done / max(self.total, 1))
