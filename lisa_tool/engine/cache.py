"""A cache bounded in bytes: what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteBoundedCache(Generic[T]):
    """Keeps values up to `max_bytes` in all. A value larger than that is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """The value, now the most recently used one, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: T, n_bytes: int) -> None:
        """Keep `value`, which takes `n_bytes`, and let go of the oldest until all fit."""
        with self._lock:
            if key in self._entries:
                self.used_bytes -= self._entries.pop(key)[1]
            if n_bytes > self.max_bytes:
                return
            self._entries[key] = (value, n_bytes)
            self.used_bytes += n_bytes
            while self.used_bytes > self.max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self.used_bytes -= freed

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._entries.clear()
            self.used_bytes = 0
