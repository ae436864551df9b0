"""What this machine could run: the embedded default, and the LISA checkpoints that are planned."""

from __future__ import annotations

from dataclasses import dataclass

from lisa_tool.cli.checks.machine import Gpu, Memory

GIB = 2**30
LITE_BYTES = 3 * GIB // 2  # peak of one question on a 2 Mpx photo, docs/benchmarks.md
_LISA_13B_GB = {"16-bit": 30, "8-bit": 16, "4-bit": 9}
LISA_SOURCE = "planned; GPU memory as the LISA README states it, not measured here"


@dataclass(frozen=True)
class Fit:
    """Whether a model fits; `fits` is None when the machine does not say how much memory it has."""

    model: str
    needs: str
    fits: bool | None
    where: str
    note: str


def what_fits(memory: Memory, gpus: list[Gpu]) -> list[Fit]:
    """The embedded default against main memory, each LISA precision against the largest GPU."""
    available = memory.available if memory.available is not None else memory.total
    lite = Fit(
        "lite", "1.5 GiB of main memory", None if available is None else available >= LITE_BYTES, "CPU", ""
    )
    best = max(gpus, key=lambda gpu: gpu.memory_total, default=None)
    where = best.name if best else "no NVIDIA GPU found"
    return [
        lite,
        *(
            Fit(
                f"LISA-13B {precision}",
                f"{gb} GB of GPU memory",
                best is not None and best.memory_total >= gb * 1e9,
                where,
                LISA_SOURCE,
            )
            for precision, gb in _LISA_13B_GB.items()
        ),
    ]
