"""Open files inside the allowed folders, and nothing else.

The order is what makes it safe: open once, ask the open descriptor what it is and where it is, and read
from that descriptor. A symlink that is swapped between a check and an open has nothing to win. Containment
is by path component: `/pics-old` is not in `/pics`.

Outside the roots every path gives the same PathNotAllowed, whether or not something is there. A hard link
inside a root is inside it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lisa_tool.errors import ImageNotFound, ImageTooLarge, ImageUnreadable, PathNotAllowed
from lisa_tool.images.naming import megabytes, shown
from lisa_tool.images.suggest import MAX_NAMES, in_folder_text, looks_like_image, similar_text
from lisa_tool.settings import Limits

_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # not every system has all of them
    _FLAGS |= getattr(os, _name, 0)
_NO_DEVICES = ("/dev", "/proc", "/sys")
_SHOWN_ROOTS = 5
_F_GETPATH = 50  # macOS <sys/fcntl.h>


@dataclass(frozen=True)
class Roots:
    """The folders whose images may be read, with every symlink in their own paths followed."""

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: tuple[Path, ...]) -> Roots:
        """Resolve the folders of the settings. One that does not exist allows nothing."""
        return cls(tuple(dict.fromkeys(Path(os.path.realpath(f)) for f in folders)))

    def contain(self, real: str) -> bool:
        """Whether a path without symlinks lies in one of the folders and is no device or process file."""
        path = Path(real)
        if os.name == "posix" and any(path.is_relative_to(d) for d in _NO_DEVICES):
            return False
        return any(path.is_relative_to(folder) for folder in self.folders)

    def refusal(self, given: str) -> PathNotAllowed:
        """The error for a path outside; it names the folders that are allowed."""
        names = [str(folder) for folder in self.folders]
        more = f" and {len(names) - _SHOWN_ROOTS} more" if len(names) > _SHOWN_ROOTS else ""
        allowed = ", ".join(names[:_SHOWN_ROOTS]) + more or "none"
        return PathNotAllowed(f"{shown(given)!r} is outside the allowed folders: {allowed}")


def absolute(given: str) -> str:
    """`given` as an absolute path: `~` expanded, from the working directory. Symlinks are not followed.

    Raises PathNotAllowed for what can never be a local file.
    """
    if "\0" in given:
        raise PathNotAllowed(
            f"the path {shown(given)!r} contains a NUL character", "Pass the path without it."
        )
    if given.startswith(("\\\\", "//", "\\??\\")):
        raise PathNotAllowed(
            f"{shown(given)!r} is a network path, only files on this computer can be read",
            "Copy the image to an allowed folder of this computer.",
        )
    if os.name != "nt" and len(given) > 2 and given[1] == ":" and given[0].isalpha() and given[2] in "\\/":
        raise ImageNotFound(
            f"{shown(given)!r} is a Windows path, and this tool runs on {_system()}",
            "Give a path on the computer that this tool runs on, or a data URI.",
        )
    try:
        os.fsencode(given)
        with contextlib.suppress(RuntimeError):  # no such home is known: take '~' as it stands
            return os.path.abspath(Path(given).expanduser())
        return os.path.abspath(given)
    except (UnicodeEncodeError, OSError) as e:  # half a character; or the working directory is gone
        raise ImageNotFound(f"{shown(given)!r} cannot be a path here") from e


@contextmanager
def open_inside(given: str, roots: Roots, limits: Limits) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Open the regular file `given`, at most `limits.max_file_bytes` long, if it lies inside the roots.

    Raises PathNotAllowed, ImageNotFound, ImageUnreadable or ImageTooLarge.
    """
    path = absolute(given)
    fd = _open(path, given, roots)
    try:
        info = os.fstat(fd)
        _check_kind(info, path, given, roots)
        if info.st_size > limits.max_file_bytes:
            size, limit = megabytes(info.st_size), megabytes(limits.max_file_bytes)
            raise ImageTooLarge(f"{shown(given)!r} is {size}, the limit is {limit}")
        if info.st_size == 0:
            raise ImageUnreadable(f"{shown(given)!r} is empty (0 bytes)")
        file = os.fdopen(fd, "rb")
        fd = -1
        with file:
            yield file, info
    finally:
        if fd >= 0:
            os.close(fd)


def read_inside(given: str, roots: Roots, limits: Limits) -> bytes:
    """All bytes of the file `given`; at most one more than the limit, when it grew since it was opened."""
    with open_inside(given, roots, limits) as (file, _):
        try:
            return file.read(limits.max_file_bytes + 1)
        except OSError as e:
            raise ImageUnreadable(f"{shown(given)!r} cannot be read: {e.strerror or 'read error'}") from e


@contextmanager
def open_folder_inside(path: str, roots: Roots) -> Iterator[int | str]:
    """A folder inside the roots as `os.scandir` takes it: a descriptor where it can be listed, else a path.

    Raises OSError or PathNotAllowed.
    """
    if not roots.contain(os.path.realpath(path)):
        raise roots.refusal(path)
    if os.scandir not in os.supports_fd:
        yield path
        return
    fd = os.open(path, _FLAGS | os.O_DIRECTORY)
    try:
        if not roots.contain(_real_path(fd, path)):
            raise roots.refusal(path)
        yield fd
    finally:
        os.close(fd)


def _open(path: str, given: str, roots: Roots) -> int:
    # Before opening too, so that nothing outside (a tape drive, a watchdog) is ever opened. Only the
    # second look counts.
    if not roots.contain(os.path.realpath(path)):
        raise roots.refusal(given)
    try:
        fd = os.open(path, _FLAGS)
    except OSError as e:
        raise _open_error(e, path, given, roots) from e
    try:
        if not roots.contain(_real_path(fd, path)):
            raise roots.refusal(given)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _real_path(fd: int, path: str) -> str:
    """Where the open file is, as the system knows it."""
    if sys.platform == "darwin":
        import fcntl

        return os.fsdecode(fcntl.fcntl(fd, _F_GETPATH, bytes(1024)).partition(b"\0")[0])
    with contextlib.suppress(OSError):
        link = os.readlink(f"/proc/self/fd/{fd}")
        if link.startswith("/"):
            return link
    # No such system call: the path must lead to this very file, with no symlink left in it.
    with contextlib.suppress(OSError):
        real = os.path.realpath(path)
        if os.path.samestat(os.stat(real, follow_symlinks=False), os.fstat(fd)):
            return real
    return ""  # in no root


def _check_kind(info: os.stat_result, path: str, given: str, roots: Roots) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise _is_folder(path, given, roots)
    if not stat.S_ISREG(info.st_mode):
        raise ImageUnreadable(f"{shown(given)!r} is not a regular file", "Pass the path of an image file.")


def _is_folder(path: str, given: str, roots: Roots) -> ImageUnreadable:
    return ImageUnreadable(
        f"{shown(given)!r} is a folder{in_folder_text(image_names(path, roots))}",
        "Pass the path of one image in it.",
    )


def _open_error(error: OSError, path: str, given: str, roots: Roots) -> Exception:
    name = repr(shown(given))
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        parent, missing = os.path.split(path)
        return ImageNotFound(f"there is no file {name}{similar_text(missing, image_names(parent, roots))}")
    if error.errno in (errno.EACCES, errno.EPERM):
        if os.path.isdir(path):  # Windows refuses to open folders
            return _is_folder(path, given, roots)
        return ImageUnreadable(
            f"{name} may not be read: permission denied", "Change its permissions, or copy it."
        )
    if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):  # a socket
        return ImageUnreadable(f"{name} is not a regular file", "Pass the path of an image file.")
    return ImageUnreadable(f"{name} cannot be opened: {error.strerror}")


def image_names(folder: str, roots: Roots) -> list[str]:
    """Names of images in a folder inside the roots, for messages; empty when it cannot be listed."""
    names: list[str] = []
    with (
        contextlib.suppress(OSError, PathNotAllowed),
        open_folder_inside(folder, roots) as opened,
        os.scandir(opened) as entries,
    ):
        names.extend(
            entry.name
            for entry in itertools.islice(entries, MAX_NAMES)
            if looks_like_image(entry.name) and entry.is_file(follow_symlinks=False)
        )
    return sorted(names)


def _system() -> str:
    return {"linux": "Linux", "darwin": "macOS"}.get(sys.platform, sys.platform)
