"""Calls that may outlive the request that began them: one thread and one stop event each, bounded in number.

A job holds its place until its thread has really ended, not only until somebody stopped waiting for it.
Finished jobs are kept for whoever asks later, the oldest forgotten first. Each user has a share of their own,
and failed calls another than results: neither pushes results out.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field

from lisa_tool.engine.call import Progress
from lisa_tool.errors import InternalError, LisaError, ResultNotFound, ServerBusy
from lisa_tool.results import Segmentation

logger = logging.getLogger(__name__)

JOB_ID = re.compile(r"job_[0-9a-f]{32}")
User = str | None
"""Whose a call is: the name that goes with a bearer token; None where there is only one user."""


_WAITING = Progress("waiting to start", 0.0)


@dataclass(eq=False)
class Job:
    """One call. `finished` is set last; then there is a `result` or an `error`.

    error: was never raised, for a traceback would keep what the call worked on.
    """

    user: User
    id: str = field(default_factory=lambda: f"job_{secrets.token_hex(16)}")
    stop: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    progress: Progress = _WAITING
    image_handle: str = ""
    result: Segmentation | None = None
    error: LisaError | None = None

    def tell(self, progress: Progress) -> None:
        """Keep the latest progress for whoever looks."""
        self.progress = progress

    def answer(self) -> Segmentation:
        """The result. Raises the error, a new object for each who asks; ResultNotFound while it runs."""
        if self.error:
            raise copy(self.error)
        if self.result is None:
            raise ResultNotFound(f"{self.id} is still running", "Call get_result first; it waits.")
        return self.result


Work = Callable[[Job], Segmentation]


class JobBoard:
    """At most `max_running` jobs at a time, of all users; of each user's finished ones `max_kept` that have a
    result, and as many that failed, are remembered."""

    def __init__(self, max_running: int, max_kept: int) -> None:
        self._max_running = max_running
        self._max_kept = max_kept
        self._changing = threading.Lock()
        self._jobs: dict[str, Job] = {}  # oldest first

    @property
    def running(self) -> int:
        """Jobs whose thread has not ended."""
        with self._changing:
            return len(self._unfinished())

    def start(self, user: User, image_handle: str, work: Work) -> Job:
        """Begin a job. Raises ServerBusy at once when too many are running."""
        job = Job(user, image_handle=image_handle)
        with self._changing:
            if (n := len(self._unfinished())) >= self._max_running:
                raise ServerBusy(f"{n} calls are being answered or waiting")
            self._jobs[job.id] = job
            self._forget_oldest(user)
        try:
            threading.Thread(target=_run, args=(job, work), name=job.id, daemon=True).start()
        except RuntimeError as e:  # the system gives no more threads
            with self._changing:
                del self._jobs[job.id]
            raise ServerBusy("no thread could be started for this call") from e
        return job

    def find(self, user: User, job_id: str) -> Job:
        """A job of this user. Raises ResultNotFound, the same for another's job and for none."""
        with self._changing:
            job = self._jobs.get(job_id)
        if job is None or job.user != user:
            raise ResultNotFound(f"there is no result {job_id[:80]!r} here")
        return job

    def results(self, user: User) -> Iterator[tuple[Job, Segmentation]]:
        """Finished jobs of this user with their results, newest first."""
        with self._changing:
            jobs = [job for job in reversed(self._jobs.values()) if job.user == user]
        return ((job, job.result) for job in jobs if job.result is not None)

    def stop(self, patience_s: float) -> bool:
        """Ask all jobs to stop and wait for their threads; whether all have ended in time."""
        with self._changing:
            jobs = self._unfinished()
        for job in jobs:
            job.stop.set()
        deadline = time.monotonic() + patience_s
        return all(job.finished.wait(max(0.0, deadline - time.monotonic())) for job in jobs)

    def _unfinished(self) -> list[Job]:
        return [job for job in self._jobs.values() if not job.finished.is_set()]

    def _forget_oldest(self, user: User) -> None:
        finished = [job for job in self._jobs.values() if job.user == user and job.finished.is_set()]
        for failed in (False, True):
            alike = [job for job in finished if (job.result is None) is failed]
            for job in alike[: max(0, len(alike) - self._max_kept)]:
                del self._jobs[job.id]


def _run(job: Job, work: Work) -> None:
    try:
        job.result = work(job)
    except LisaError as e:
        job.error = copy(e)
    except Exception:  # its text may hold paths: that stays in the log
        error_id = secrets.token_hex(4)
        logger.exception("internal error %s", error_id)
        job.error = InternalError(f"internal error {error_id}")
    finally:
        job.finished.set()
