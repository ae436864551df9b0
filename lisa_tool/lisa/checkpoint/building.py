"""A folder that appears whole or not at all, made by one process at a time.

It is built as `.NAME.part` beside its final place and renamed when all is on the disk. Whoever makes it holds
a lock, which the operating system takes back from a process that dies; what that one left, the next clears.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lisa_tool.errors import LisaError, OutputFull, OutputNotWritable
from lisa_tool.lisa.checkpoint.work import Work

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_LOOK_S = 0.2  # how often to see whether the work that is waited for should stop
_RESERVE_BYTES = 64 * 2**20  # left free on the disk


@contextmanager
def alone(target: Path, work: Work) -> Iterator[None]:
    """Wait until nobody else makes `target`; who comes second finds it made. Raises OutputNotWritable."""
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(target)
        while True:
            work.check()
            try:
                lock.acquire(timeout=_LOOK_S)
                break
            except Timeout:
                work.tell("waiting for another conversion of the same checkpoint", 0.0)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def building(target: Path, n_bytes: int) -> Iterator[Path]:
    """The folder to fill; it becomes `target` when the body ends well, else nothing of it is left.

    n_bytes: what will be written. Raises OutputFull before anything is, when the disk has no room for it, and
    OutputFull or OutputNotWritable for errors of the disk in the body. Only inside of `alone`.
    """
    part = _part(target)
    with disk_errors(target):
        shutil.rmtree(part, ignore_errors=True)
        free = shutil.disk_usage(target.parent).free
        if free < n_bytes + _RESERVE_BYTES:
            raise _full(target, f"{free / 1e9:.1f} GB are free, {n_bytes / 1e9:.1f} GB are needed")
        if target.exists() and any(target.iterdir()):
            raise OutputNotWritable(
                f"{str(target)!r} is not empty", "Choose another folder, or remove this one first."
            )
        try:
            part.mkdir()
            yield part
            for path in part.iterdir():
                _flush(path)
            _flush(part)
            if target.exists():
                target.rmdir()  # not every system renames onto an empty folder
            part.rename(target)
            _flush(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def remove(target: Path) -> None:
    """Take away a folder that was made here, whole at once. One that is in use stays."""
    with suppress(Timeout, OSError), _lock(target).acquire(timeout=0):
        gone = _part(target)
        target.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except LisaError:
        raise
    except OSError as e:
        reason = os.strerror(e.errno) if e.errno else type(e).__name__
        if e.errno in (errno.EEXIST, errno.ENOTDIR):
            reason = "a file is in its way"
        if e.errno in DISK_FULL:
            raise _full(target, reason) from e
        raise OutputNotWritable(
            f"the folder {str(target)!r} cannot be written: {reason}", "Choose another folder."
        ) from e


def _full(target: Path, why: str) -> OutputFull:
    """The error for a disk without room for a checkpoint."""
    return OutputFull(
        f"the disk of {str(target)!r} is too full: {why}", "Free some space or choose another folder."
    )


def _lock(target: Path) -> FileLock:
    return FileLock(target.with_name(f".{target.name}.lock"))


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _flush(path: Path) -> None:
    """Wait until the disk has it. A folder cannot be opened for that on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
