from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lisa_tool.engine.call import Call, Progress
from lisa_tool.engine.queue import WorkQueue
from lisa_tool.errors import Cancelled, DeadlineExceeded, LisaError, ServerBusy

PATIENCE_S = 30  # a test that would hang fails after this; none of them takes it


class Caller(threading.Thread):
    """Takes one turn in a thread; knows when it stands in line."""

    def __init__(self, queue: WorkQueue, work: Callable[[], None], deadline_s: float = PATIENCE_S) -> None:
        super().__init__(daemon=True)
        self.cancel = threading.Event()
        self.in_line = threading.Event()
        self.error: LisaError | None = None
        self._queue, self._work = queue, work
        self._call = Call.start(deadline_s=deadline_s, cancel=self.cancel, progress=self._told)

    def _told(self, progress: Progress) -> None:
        self.in_line.set()  # told after the place in the line is taken

    def run(self) -> None:
        try:
            with self._queue.place(), self._queue.turn(self._call):
                self._work()
        except LisaError as e:
            self.error = e

    def queued(self) -> Caller:
        self.start()
        assert self.in_line.wait(PATIENCE_S)
        return self

    def ended(self) -> Caller:
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self


@contextmanager
def busy(queue: WorkQueue) -> Iterator[None]:
    """Somebody else is at the model."""
    with queue.place(), queue.turn(Call.start(deadline_s=PATIENCE_S)):
        yield


def test_callers_are_served_in_the_order_of_their_coming() -> None:
    queue, served = WorkQueue(max_waiting=8), list[int]()
    with busy(queue):
        callers = [Caller(queue, lambda i=i: served.append(i)).queued() for i in range(8)]  # type: ignore[misc]
        assert served == []
    for caller in callers:
        caller.ended()
    assert served == list(range(8))


def test_a_full_line_refuses_at_once_and_takes_callers_again_afterwards() -> None:
    queue, served = WorkQueue(max_waiting=2), list[str]()
    with busy(queue):
        waiting = [Caller(queue, lambda: served.append("waited")).queued() for _ in range(2)]
        with pytest.raises(ServerBusy) as error, queue.place():
            served.append("refused")
    for caller in waiting:
        caller.ended()
    assert error.value.retryable and "3 calls" in error.value.message
    assert served == ["waited", "waited"]
    with busy(queue):
        served.append("later")
    assert served[-1] == "later"


def test_a_place_is_held_until_the_whole_call_ends() -> None:
    queue = WorkQueue(max_waiting=0)
    with queue.place():
        with queue.turn(Call.start(deadline_s=PATIENCE_S)):
            pass
        with pytest.raises(ServerBusy), queue.place():
            raise AssertionError("the body must not run")
    with queue.place():
        pass


def test_a_line_for_nobody_serves_one_and_refuses_the_second() -> None:
    queue = WorkQueue(max_waiting=0)
    with busy(queue), pytest.raises(ServerBusy), queue.place():
        raise AssertionError("the body must not run")
    with busy(queue):
        pass


def test_a_caller_cancelled_while_waiting_never_reaches_the_model() -> None:
    queue, served = WorkQueue(max_waiting=8), list[str]()
    with busy(queue):
        gone = Caller(queue, lambda: served.append("gone")).queued()
        stays = Caller(queue, lambda: served.append("stays")).queued()
        gone.cancel.set()
        gone.ended()
        assert isinstance(gone.error, Cancelled)
    stays.ended()
    assert served == ["stays"]


def test_a_caller_whose_time_ran_out_while_waiting_never_reaches_the_model() -> None:
    queue, served = WorkQueue(max_waiting=8), list[str]()
    with busy(queue):
        late = Caller(queue, lambda: served.append("late"), deadline_s=0.1)
        late.start()
        late.ended()
        stays = Caller(queue, lambda: served.append("stays")).queued()
        assert isinstance(late.error, DeadlineExceeded)
    stays.ended()
    assert served == ["stays"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_turn_that_fails_lets_the_next_one_in(error: type[BaseException]) -> None:
    queue = WorkQueue(max_waiting=0)
    with pytest.raises(error), busy(queue):
        raise error
    with busy(queue):
        pass


def test_fifty_callers_at_once_are_each_served_once_and_alone() -> None:
    n = 50
    queue, together = WorkQueue(max_waiting=n), threading.Barrier(n)
    served, at_work, most_at_work = list[str](), list[str](), list[int]()

    def work() -> None:
        me = threading.current_thread().name
        at_work.append(me)
        most_at_work.append(len(at_work))
        served.append(me)
        at_work.remove(me)

    def come() -> None:
        together.wait(PATIENCE_S)
        with busy(queue):
            work()

    threads = [threading.Thread(target=come, name=f"caller {i}") for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(served) == sorted(thread.name for thread in threads)
    assert set(most_at_work) == {1}


def test_fifty_callers_that_give_up_leave_the_line_empty() -> None:
    n = 50
    queue, served = WorkQueue(max_waiting=n), list[str]()
    with busy(queue):
        callers = [Caller(queue, lambda: served.append("x")).queued() for _ in range(n)]
        for caller in callers:
            caller.cancel.set()
        for caller in callers:
            assert isinstance(caller.ended().error, Cancelled)
        again = [Caller(queue, lambda: served.append("y")).queued() for _ in range(n)]
    for caller in again:
        caller.ended()
    assert served == ["y"] * n


def test_a_call_that_waits_while_the_first_one_loads_a_model_loses_none_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("lisa_tool.engine.call._now", lambda: now)
    queue, loading = WorkQueue(1), Call.start(deadline_s=5)
    waiting, waits, left = Call.start(deadline_s=5), threading.Event(), list[float]()
    waiting.progress = lambda progress: waits.set()

    def wait() -> None:
        with queue.place(), queue.turn(waiting):
            left.append(waiting.remaining_s)

    with queue.place(), queue.turn(loading), loading.uncounted():
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(PATIENCE_S)
        while not waiting.is_uncounted:
            pass
        now = 1000.0
    thread.join(PATIENCE_S)
    assert left and left[0] > 4
