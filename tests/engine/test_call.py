from __future__ import annotations

import logging
import threading

import pytest

from lisa_tool.engine import call as call_module
from lisa_tool.engine.call import Call, Progress
from lisa_tool.errors import Cancelled, DeadlineExceeded


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces the clock of calls; nothing here waits or looks at the real one."""
    clock = Clock()
    monkeypatch.setattr(call_module, "_now", clock)
    return clock


def test_a_call_in_time_is_not_stopped(clock: Clock) -> None:
    call = Call.start(deadline_s=10)
    clock.now += 9.9
    call.check()


@pytest.mark.parametrize("late_s", [0, 1])
def test_a_call_at_its_deadline_is_stopped(late_s: float, clock: Clock) -> None:
    call = Call.start(deadline_s=10)
    clock.now += 10 + late_s
    with pytest.raises(DeadlineExceeded, match=f"after {10 + late_s}.0 s"):
        call.check()


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan")])
def test_a_call_without_any_time_is_stopped_at_once(deadline_s: float) -> None:
    with pytest.raises(DeadlineExceeded):
        Call.start(deadline_s=deadline_s).check()


def test_the_remaining_time_never_falls_below_zero(clock: Clock) -> None:
    call = Call.start(deadline_s=10)
    clock.now += 4
    assert call.remaining_s == 6
    clock.now += 40
    assert call.remaining_s == 0


def test_a_cancelled_call_is_stopped_whatever_its_time(clock: Clock) -> None:
    event = threading.Event()
    call = Call.start(deadline_s=10, cancel=event)
    call.check()
    event.set()
    clock.now += 100
    with pytest.raises(Cancelled):
        call.check()


def test_a_stage_that_begins_too_late_does_not_run() -> None:
    seen: list[Progress] = []
    event = threading.Event()
    event.set()
    call = Call.start(deadline_s=10, cancel=event, progress=seen.append)
    with pytest.raises(Cancelled), call.stage("work", 0.5):
        raise AssertionError("the body must not run")
    assert seen == [] and call.stages == {}


def test_the_caller_is_told_each_stage_and_the_fraction_never_falls() -> None:
    seen: list[Progress] = []
    call = Call.start(deadline_s=10, progress=seen.append)
    for name, fraction in (("one", 0.1), ("two", 0.5), ("back", 0.3), ("beyond", 7.0)):
        with call.stage(name, fraction):
            pass
    assert seen == [
        Progress("one", 0.1),
        Progress("two", 0.5),
        Progress("back", 0.5),
        Progress("beyond", 1.0),
    ]


def test_a_progress_callback_that_fails_is_logged_and_does_not_stop_the_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def broken(progress: Progress) -> None:
        told.append(progress.stage)
        raise BrokenPipeError

    call = Call.start(deadline_s=10, progress=broken)
    with caplog.at_level(logging.ERROR):
        for name in ("one", "two"):
            with call.stage(name, 0.1):
                pass
    assert told == ["one"]
    assert set(call.stages) == {"one", "two"}
    assert "progress callback failed" in caplog.text


def test_timings_add_up_the_stages_and_name_the_caches(clock: Clock) -> None:
    call = Call.start(deadline_s=100)
    for seconds in (2, 3):
        with call.stage("decode", 0.1):
            clock.now += seconds
    with pytest.raises(ValueError), call.stage("failed", 0.2):
        clock.now += 1
        raise ValueError
    call.looked_up("image", hit=True)
    call.looked_up("scene", hit=False)
    call.image_encodes += 1
    clock.now += 4
    timings = call.timings()
    assert timings.stages == {"decode": 5, "failed": 1}
    assert timings.total_s == 10
    assert (timings.cache_hits, timings.cache_misses, timings.image_encodes) == (("image",), ("scene",), 1)
