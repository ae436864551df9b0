"""The machine: cores, GPUs, and the folder where results go; memory is in `engine.machine`."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lisa_tool.engine.machine import output_of


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


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs; none when there is no nvidia-smi or it does not answer."""
    fields = "name,memory.total,memory.free,driver_version"
    return parse_gpus(output_of("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"))


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
