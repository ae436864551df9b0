"""What to do when memory runs out, or the GPU itself fails.

Out of memory: drop the caches, try once more with less, and stay up. A GPU whose context is broken answers
nothing any more, in this process: that is said at once, again and again, and never taken for a bug.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from lisa_tool.errors import DeviceFailed, OutOfMemory

T = TypeVar("T")

_NO_MEMORY = ("can't allocate memory", "CUDA out of memory", "_ALLOC_FAILED", "not enough memory")
_BROKEN = ("device-side assert", "illegal memory access", "unspecified launch failure", "uncorrectable ECC")


class Shortage:
    """The policy of one backend. `forget` lets go of all that can be computed again."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._broken = False

    def once(self, step: Callable[[], T]) -> T:
        """Do what cannot be done with less. Raises OutOfMemory or DeviceFailed in place of torch's errors."""
        for outcome in self._attempt(step):
            return outcome
        raise OutOfMemory("there was not enough memory for the model")

    def twice(self, step: Callable[[bool], T], again: Callable[[], None]) -> T:
        """Do a step; when memory runs out, once more with less. Raises OutOfMemory or DeviceFailed.

        step: told whether to do with less. again: called before the second time.
        """
        for outcome in self._attempt(lambda: step(False)):
            return outcome
        again()
        for outcome in self._attempt(lambda: step(True)):
            return outcome
        raise OutOfMemory("the model ran out of memory for this image and question")

    def _attempt(self, step: Callable[[], T]) -> tuple[T, ...]:
        """The step's outcome; nothing when memory ran out, and then all is forgotten."""
        if self._broken:
            raise DeviceFailed("the GPU failed in an earlier call")
        try:
            return (step(),)
        except RuntimeError as e:  # torch.OutOfMemoryError is one, and the CPU's allocator has no other
            text = str(e)
            if any(sign in text for sign in _BROKEN):
                self._broken = True
                raise DeviceFailed("the GPU failed") from e
            if not isinstance(e, torch.OutOfMemoryError) and not any(sign in text for sign in _NO_MEMORY):
                raise
        # Outside of `except`: the traceback holds the tensors of the failed attempt.
        self._forget()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return ()
