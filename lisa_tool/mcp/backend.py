"""The backend, opened by the first question: `tools/list` is answered before any model is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from lisa_tool.engine.call import Progress
from lisa_tool.engine.first_use import FirstUse
from lisa_tool.errors import BackendError, DeviceFailed
from lisa_tool.results import ModelInfo
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings

OpenBackend = Callable[[Settings], Segmenter]
State = Literal["not started", "starting", "opened", "ready", "failed", "needs restart"]
"""opened: its model is not loaded yet, as far as is known. ready: a call has got past loading it. failed: it
could not be opened or loaded; the next question tries again. needs restart: the GPU failed for good."""

_LOADED = 0.1  # loading ends at this fraction of a call


class LazyBackend:
    """A `Segmenter` opened once, by whoever needs it first; tried again when it could not be opened."""

    def __init__(self, settings: Settings, open_backend: OpenBackend) -> None:
        self._settings = settings
        self._open_backend = open_backend
        self._opened = FirstUse(self._open)
        self._state: State = "not started"

    @property
    def state(self) -> State:
        """What its calls have shown; never waits."""
        return self._state

    @property
    def model(self) -> ModelInfo | None:
        """The model that answers, once it is known."""
        segmenter = self._opened.made
        return segmenter.model if segmenter else None

    @contextmanager
    def use(self, stop: threading.Event) -> Iterator[Segmenter]:
        """The backend for one call, opened when it is the first; how the call ends shows its state.

        stop: gives up waiting for another call that opens it. Raises LisaError.
        """
        try:
            yield self._opened.get(stop)
        except DeviceFailed:
            self._is("needs restart")
            raise
        except BackendError:
            self._is("failed")
            raise
        self._is("ready")

    def seen(self, progress: Progress) -> None:
        """Learn from how far a call is."""
        if progress.fraction > _LOADED:
            self._is("ready")

    def close(self) -> None:
        """Let go of the backend; the next `use` opens it again."""
        segmenter = self._opened.take()
        if segmenter is not None:
            segmenter.close()
        self._is("not started")

    def _open(self) -> Segmenter:
        self._is("starting")
        try:
            segmenter = self._open_backend(self._settings)
        except BaseException:
            self._is("failed")
            raise
        self._is("opened")
        return segmenter

    def _is(self, state: State) -> None:
        if self._state != "needs restart":  # only a new process leaves that
            self._state = state
