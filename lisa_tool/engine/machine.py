"""Main memory of this machine, as far as this process may use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMMAND_TIMEOUT_S = 10
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes; None where this system does not say."""

    total: int | None
    available: int | None


def memory() -> Memory:
    """Total and available memory; in a container its limit, and what is left of that, when it is smaller."""
    if sys.platform == "darwin":
        return Memory(_number(output_of("sysctl", "-n", "hw.memsize")), None)
    try:
        found = parse_meminfo(Path("/proc/meminfo").read_text("ascii"))
    except OSError:
        return Memory(None, None)
    for group in _control_groups():
        found = Memory(_smaller(found.total, group.total), _smaller(found.available, group.available))
    return found


def parse_meminfo(text: str) -> Memory:
    """Read the text of /proc/meminfo, whose numbers are KiB."""
    lines = (line.partition(":") for line in text.splitlines())
    sizes = {name: _number(rest.split()[0]) for name, _, rest in lines if rest.split()}

    def in_bytes(name: str) -> int | None:
        kib = sizes.get(name)
        return None if kib is None else kib * 1024

    return Memory(in_bytes("MemTotal"), in_bytes("MemAvailable"))


def output_of(*command: str) -> str:
    """What a program prints, or nothing when it is not there or fails."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _control_groups() -> Iterator[Memory]:
    """The limits around this process, and what is left of each: of its own group and of those that hold it.

    A container sees its own group as the outermost one, under a path that may lead to nothing here.
    """
    for line in _content(_OWN_CGROUPS).splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            outermost, limit, usage = _CGROUPS, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):  # version 1
            outermost, limit, usage = _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        names = [name for name in path.split("/") if name]
        for depth in range(len(names) + 1 if ".." not in names else 1):
            folder = outermost.joinpath(*names[:depth])
            total, used = _number(_content(folder / limit)), _number(_content(folder / usage))
            cached = _file_cache(_content(folder / "memory.stat"))
            left = None if total is None else max(total - max((used or 0) - cached, 0), 0)
            yield Memory(total, left)


def _file_cache(stat: str) -> int:
    """Bytes of files among those used: the system gives them back when it needs them, as in MemAvailable."""
    lines = (line.partition(" ") for line in stat.splitlines())
    return sum(_number(size) or 0 for name, _, size in lines if name in ("active_file", "inactive_file"))


def _smaller(size: int | None, limit: int | None) -> int | None:
    return size if size is None or limit is None else min(size, limit)


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8", "surrogateescape")  # a control group may have any name
    except OSError:
        return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None
