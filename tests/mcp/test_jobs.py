from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import pytest

from lisa_tool.errors import Cancelled, LisaError, ResultNotFound, ServerBusy
from lisa_tool.mcp.jobs import Job, JobBoard
from lisa_tool.results import Segmentation
from tests.mcp.conftest import PATIENCE_S
from tests.test_results import a_result


def fail(job: Job) -> Segmentation:
    raise Cancelled("no answer here")


def finished(job: Job) -> Job:
    assert job.finished.wait(PATIENCE_S)
    return job


def test_a_job_ends_with_its_error() -> None:
    job = finished(JobBoard(1, 1).start(None, "", fail))
    assert isinstance(job.error, Cancelled) and job.result is None


def test_a_place_is_free_again_only_when_the_thread_has_ended() -> None:
    board, go = JobBoard(2, 2), threading.Event()

    def wait(job: Job) -> Segmentation:
        assert go.wait(PATIENCE_S)
        return fail(job)

    jobs = [board.start(None, "", wait) for _ in range(2)]
    jobs[0].stop.set()  # asked to stop, and not yet stopped
    with pytest.raises(ServerBusy) as busy:
        board.start(None, "", wait)
    assert busy.value.retryable
    go.set()
    for job in jobs:
        finished(job)
    finished(board.start(None, "", fail))


def test_finished_jobs_are_forgotten_oldest_first_and_running_ones_never() -> None:
    board, go = JobBoard(2, 2), threading.Event()

    def wait(job: Job) -> Segmentation:
        assert go.wait(PATIENCE_S)
        return fail(job)

    running = board.start(None, "", wait)
    old, middle, new, _ = (finished(board.start(None, "", fail)) for _ in range(4))
    assert board.find(None, running.id) is running
    assert board.find(None, middle.id) is middle and board.find(None, new.id) is new
    with pytest.raises(ResultNotFound):
        board.find(None, old.id)
    go.set()
    finished(running)


def test_each_who_asks_for_a_failed_answer_gets_an_error_of_their_own() -> None:
    job = finished(JobBoard(1, 1).start(None, "", fail))
    caught = []
    for _ in range(2):
        with pytest.raises(Cancelled) as told:
            job.answer()
        caught.append(told.value)
    assert caught[0] is not caught[1] and caught[0].to_text() == caught[1].to_text()
    assert job.error is not None and job.error.__traceback__ is None


def test_nothing_that_a_failed_call_worked_on_stays_in_memory() -> None:
    pixels: list[weakref.ref[np.ndarray[Any, Any]]] = []

    def fail_with_pixels(job: Job) -> Segmentation:
        held = np.zeros(10)
        pixels.append(weakref.ref(held))
        try:
            raise ValueError(held)
        except ValueError as e:
            raise Cancelled("no answer here", "Ask again.") from e

    job = finished(JobBoard(1, 1).start(None, "", fail_with_pixels))
    for thread in threading.enumerate():
        if thread.name == job.id:
            thread.join(PATIENCE_S)
    assert pixels[0]() is None
    assert isinstance(job.error, Cancelled)
    assert job.error.to_text() == "no answer here. Ask again. [cancelled]"


def test_the_calls_of_others_and_failed_ones_make_no_result_forgotten() -> None:
    board = JobBoard(1, 2)
    mine = finished(board.start("ada", "", lambda job: a_result()))
    for _ in range(6):
        finished(board.start("eve", "", lambda job: a_result()))
        finished(board.start("ada", "", fail))
    assert [job for job, _ in board.results("ada")] == [mine]
    assert 2 <= len(list(board.results("eve"))) <= 3


def test_a_job_of_another_user_is_told_of_like_one_that_never_was() -> None:
    board = JobBoard(1, 1)
    job = finished(board.start("ada", "", fail))
    assert board.find("ada", job.id) is job
    messages = set()
    for user, job_id in (("eve", job.id), (None, job.id), ("ada", "job_" + "0" * 32)):
        with pytest.raises(ResultNotFound) as caught:
            board.find(user, job_id)
        messages.add(caught.value.to_text().replace(job.id, "ID").replace(job_id, "ID"))
    assert len(messages) == 1


def test_stopping_asks_every_job_and_says_whether_all_have_ended() -> None:
    board = JobBoard(2, 2)

    def until_stopped(job: Job) -> Segmentation:
        assert job.stop.wait(PATIENCE_S)
        return fail(job)

    jobs = [board.start(None, "", until_stopped) for _ in range(2)]
    assert board.stop(PATIENCE_S)
    assert all(job.finished.is_set() for job in jobs)
    assert board.running == 0


def test_without_a_thread_to_be_had_the_caller_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    board = JobBoard(1, 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        with pytest.raises(ServerBusy):
            board.start(None, "", fail)
    error: LisaError | None = finished(board.start(None, "", fail)).error
    assert isinstance(error, Cancelled)
