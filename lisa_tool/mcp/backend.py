"""The backend, opened by the first question: `tools/list` is answered before any model is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from lisa_tool.results import ModelInfo
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

OpenBackend = Callable[[Settings], Segmenter]
State = Literal["not started", "starting", "ready", "failed"]


class LazyBackend:
    """A `Segmenter` opened once, by whoever needs it first; tried again when it could not be opened."""

    def __init__(self, settings: Settings, open_backend: OpenBackend) -> None:
        self._settings = settings
        self._open_backend = open_backend
        self._opening = threading.Lock()
        self._segmenter: Segmenter | None = None
        self._state: State = "not started"

    @property
    def state(self) -> State:
        """Whether the backend has been opened; never waits."""
        return self._state

    @property
    def model(self) -> ModelInfo | None:
        """The model that answers, once it is known."""
        segmenter = self._segmenter
        return segmenter.model if segmenter else None

    def get(self) -> Segmenter:
        """The open backend; opening it may take seconds. Raises LisaError."""
        with self._opening:
            if self._segmenter is None:
                self._state = "starting"
                try:
                    self._segmenter = self._open_backend(self._settings)
                except BaseException:
                    self._state = "failed"
                    raise
                self._state = "ready"
            return self._segmenter

    def close(self) -> None:
        """Let go of the backend; the next `get` opens it again."""
        with self._opening:
            if self._segmenter is not None:
                self._segmenter.close()
            self._segmenter = None
            self._state = "not started"
