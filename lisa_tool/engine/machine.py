"""Main memory of this machine, as far as this process may use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_COMMAND_TIMEOUT_S = 10
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes; None where this system does not say."""

    total: int | None
    available: int | None


def memory() -> Memory:
    """Total and available memory; in a container its limit counts when it is smaller."""
    if sys.platform == "darwin":
        return Memory(_number(output_of("sysctl", "-n", "hw.memsize")), None)
    try:
        found = parse_meminfo(Path("/proc/meminfo").read_text("ascii"))
    except OSError:
        return Memory(None, None)
    limits = [limit for path in _CGROUP_LIMITS if (limit := _number(_content(path))) is not None]
    return Memory(
        *(None if size is None else min([size, *limits]) for size in (found.total, found.available))
    )


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


def _content(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isdecimal() else None
