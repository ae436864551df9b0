"""The machine: cores, memory, GPUs, and the folder where results go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_COMMAND_TIMEOUT_S = 10
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Memory:
    """Main memory in bytes; None where this system does not say."""

    total: int | None
    available: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi reports it; memory in bytes."""

    name: str
    memory_total: int
    memory_free: int
    driver: str


@dataclass(frozen=True)
class OutputFolder:
    """Where results go.

    problem: None when it can be written. exists: False when the first result creates it. free: bytes.
    """

    path: str
    exists: bool
    free: int | None
    problem: str | None


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> Memory:
    """Total and available memory; in a container its limit counts when it is smaller."""
    if sys.platform == "darwin":
        return Memory(_number(_output_of("sysctl", "-n", "hw.memsize")), None)
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


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs; none when there is no nvidia-smi or it does not answer."""
    fields = "name,memory.total,memory.free,driver_version"
    return parse_gpus(_output_of("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"))


def parse_gpus(text: str) -> list[Gpu]:
    """Read nvidia-smi's CSV of name, total MiB, free MiB, driver; other lines are skipped."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[1].isdecimal() and parts[2].isdecimal():
            found.append(Gpu(parts[0], int(parts[1]) * 2**20, int(parts[2]) * 2**20, parts[3]))
    return found


def output_folder(path: Path, min_free_bytes: int) -> OutputFolder:
    """Try to write where results go, without creating the folder."""
    exists = path.is_dir()
    existing = next((p for p in (path, *path.parents) if os.path.lexists(p)), path)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"lisa-tool doctor")
            file.flush()
        free = shutil.disk_usage(existing).free
    except OSError as e:
        return OutputFolder(str(path), exists, None, f"{str(existing)!r} cannot be written: {e.strerror}")
    problem = None
    if free < min_free_bytes:
        problem = f"only {free / 2**20:.0f} MiB are free, at least {min_free_bytes / 2**20:.0f} are kept free"
    return OutputFolder(str(path), exists, free, problem)


def _output_of(*command: str) -> str:
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
