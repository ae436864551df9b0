from __future__ import annotations

import threading

import pytest

from lisa_tool.engine.call import Progress
from lisa_tool.errors import (
    Cancelled,
    DeviceFailed,
    InvalidQuery,
    LisaError,
    MissingExtra,
    ModelTooLarge,
)
from lisa_tool.mcp.backend import LazyBackend, State
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import Segmenter
from lisa_tool.settings import Settings
from tests.mcp.conftest import PATIENCE_S
from tests.red import RedBackend

NEVER = threading.Event()


def open_red(settings: Settings) -> Segmenter:
    return LocalSegmenter(RedBackend(), settings)


def end(backend: LazyBackend, error: LisaError | None = None) -> None:
    """A call that ends so."""
    with backend.use(NEVER):
        if error:
            raise error


def test_it_is_opened_once_however_many_need_it_first(settings: Settings) -> None:
    start, opened = threading.Barrier(4), []

    def open_one(settings: Settings) -> Segmenter:
        opened.append(open_red(settings))
        return opened[-1]

    backend = LazyBackend(settings, open_one)
    found: list[Segmenter] = []

    def need() -> None:
        start.wait(PATIENCE_S)
        with backend.use(NEVER) as segmenter:
            found.append(segmenter)

    threads = [threading.Thread(target=need) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(opened) == 1 and found == opened * 4


def test_its_state_is_told_while_it_is_being_opened_and_who_waits_may_give_up(settings: Settings) -> None:
    begun, go, stop = threading.Event(), threading.Event(), threading.Event()

    def open_slowly(settings: Settings) -> Segmenter:
        begun.set()
        assert go.wait(PATIENCE_S)
        return open_red(settings)

    backend = LazyBackend(settings, open_slowly)
    assert (backend.state, backend.model) == ("not started", None)
    thread = threading.Thread(target=end, args=(backend,))
    thread.start()
    assert begun.wait(PATIENCE_S)
    assert (backend.state, backend.model) == ("starting", None)
    stop.set()
    with pytest.raises(Cancelled), backend.use(stop):
        pass
    go.set()
    thread.join(PATIENCE_S)
    assert (backend.state, backend.model) == ("ready", RedBackend.model)


def test_it_is_ready_only_when_a_call_has_got_past_loading_the_model(settings: Settings) -> None:
    backend = LazyBackend(settings, open_red)
    with pytest.raises(InvalidQuery):
        end(backend, InvalidQuery("no words"))
    for fraction in (0.0, 0.05, 0.1):
        backend.seen(Progress("loading the model", fraction))
    assert (backend.state, backend.model) == ("opened", RedBackend.model)
    backend.seen(Progress("answering", 0.3))
    assert backend.state == "ready"


@pytest.mark.parametrize(
    ("error", "state", "afterwards"),
    [
        (ModelTooLarge("13 GB"), "failed", "ready"),
        (DeviceFailed("the GPU failed"), "needs restart", "needs restart"),
        (InvalidQuery("no words"), "ready", "ready"),
    ],
)
def test_a_call_that_fails_shows_whether_the_model_did(
    settings: Settings, error: LisaError, state: State, afterwards: State
) -> None:
    backend = LazyBackend(settings, open_red)
    end(backend)
    with pytest.raises(type(error)):
        end(backend, error)
    assert backend.state == state
    end(backend)
    assert backend.state == afterwards


def test_one_that_cannot_be_opened_says_why_each_time(settings: Settings) -> None:
    def fail(settings: Settings) -> Segmenter:
        raise MissingExtra("not installed")

    backend = LazyBackend(settings, fail)
    for _ in range(2):
        with pytest.raises(MissingExtra):
            end(backend)
        assert backend.state == "failed"


def test_after_closing_it_is_opened_again(settings: Settings) -> None:
    model = RedBackend()
    backend = LazyBackend(settings, lambda settings: LocalSegmenter(model, settings))
    with backend.use(NEVER) as first:
        pass
    backend.close()
    backend.close()
    assert (model.closed, backend.state) == (1, "not started")
    with backend.use(NEVER) as second:
        assert second is not first
