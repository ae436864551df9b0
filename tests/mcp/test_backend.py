from __future__ import annotations

import threading

import pytest

from lisa_tool.errors import MissingExtra
from lisa_tool.mcp.backend import LazyBackend
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings
from tests.mcp.conftest import PATIENCE_S
from tests.red import RedBackend


def test_it_is_opened_once_however_many_need_it_first(settings: Settings) -> None:
    start, opened = threading.Barrier(4), []

    def open_one(settings: Settings) -> Segmenter:
        opened.append(LocalSegmenter(RedBackend(), settings))
        return opened[-1]

    backend = LazyBackend(settings, open_one)
    found: list[Segmenter] = []

    def need() -> None:
        start.wait(PATIENCE_S)
        found.append(backend.get())

    threads = [threading.Thread(target=need) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(opened) == 1 and found == opened * 4


def test_its_state_is_told_while_it_is_being_opened(settings: Settings) -> None:
    begun, go = threading.Event(), threading.Event()

    def open_slowly(settings: Settings) -> Segmenter:
        begun.set()
        assert go.wait(PATIENCE_S)
        return LocalSegmenter(RedBackend(), settings)

    backend = LazyBackend(settings, open_slowly)
    assert (backend.state, backend.model) == ("not started", None)
    thread = threading.Thread(target=backend.get)
    thread.start()
    assert begun.wait(PATIENCE_S)
    assert (backend.state, backend.model) == ("starting", None)
    go.set()
    thread.join(PATIENCE_S)
    assert (backend.state, backend.model) == ("ready", RedBackend.model)


def test_one_that_cannot_be_opened_says_why_each_time(settings: Settings) -> None:
    def fail(settings: Settings) -> Segmenter:
        raise MissingExtra("not installed")

    backend = LazyBackend(settings, fail)
    for _ in range(2):
        with pytest.raises(MissingExtra):
            backend.get()
        assert backend.state == "failed"


def test_after_closing_it_is_opened_again(settings: Settings) -> None:
    model = RedBackend()
    backend = LazyBackend(settings, lambda settings: LocalSegmenter(model, settings))
    first = backend.get()
    backend.close()
    backend.close()
    assert (model.closed, backend.state) == (1, "not started")
    assert backend.get() is not first
