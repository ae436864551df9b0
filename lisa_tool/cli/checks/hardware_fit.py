"""What this machine could run: the embedded default, and LISA checkpoints in every precision.

The figures are computed (`lisa_tool.lisa.memory`), so they are there before anything is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from lisa_tool.cli.checks.checkpoint_sizes import FAMILIES, CheckpointSizes, checkpoint_sizes
from lisa_tool.cli.checks.machine import Gpu
from lisa_tool.engine.machine import Memory
from lisa_tool.lisa.memory import (
    CARDS_GB,
    Device,
    MemoryNeed,
    Precision,
    card_bytes,
    check_fits,
    memory_by_precision,
)
from lisa_tool.settings import Settings

LITE_BYTES = 3 * 2**30 // 2  # peak of one question on a 2 Mpx photo, docs/benchmarks.md


@dataclass(frozen=True)
class Place:
    """Where a model would be loaded. `free_bytes` is None when the system does not tell."""

    device: Device
    name: str
    free_bytes: int | None


@dataclass(frozen=True)
class Fit:
    """Whether a model fits this machine and which common GPUs it fits.

    precision, need: of a LISA checkpoint on a GPU; None for lite, which needs none.
    total_bytes: needed at `where`, which on a machine without a GPU differs from `need`.
    fits: None when the machine does not tell how much memory is free.
    """

    model: str
    precision: Precision | None
    need: MemoryNeed | None
    cards_gb: tuple[int, ...]
    where: str
    total_bytes: int
    fits: bool | None


def place(memory: Memory, gpus: list[Gpu], wanted: str = "auto") -> Place:
    """The GPU with the most free memory, or main memory where there is none or `wanted` is "cpu"."""
    available = memory.available if memory.available is not None else memory.total
    best = max(gpus, key=lambda gpu: gpu.memory_free, default=None)
    if best is None or wanted == "cpu":
        return Place("cpu", "main memory", available)
    return Place("cuda", best.name, best.memory_free)


def what_fits(memory: Memory, gpus: list[Gpu], settings: Settings | None = None) -> list[Fit]:
    """lite, then the published families of LISA."""
    main = place(memory, [])
    lite = Fit("lite", None, None, (), main.name, LITE_BYTES, _fits(LITE_BYTES, main))
    here = place(memory, gpus, settings.device if settings else "auto")
    return [lite, *(fit for name in FAMILIES for fit in lisa_fits(checkpoint_sizes(name), here, settings))]


def lisa_fits(sizes: CheckpointSizes, here: Place, settings: Settings | None = None) -> list[Fit]:
    """One checkpoint in every precision, the most exact first."""
    on_gpu, needs = _needs(sizes, "cuda", settings), _needs(sizes, here.device, settings)
    return [
        Fit(
            model=sizes.name,
            precision=precision,
            need=need,
            cards_gb=tuple(gb for gb in CARDS_GB if need.total <= card_bytes(gb)),
            where=here.name,
            total_bytes=needs[precision].total,
            fits=_fits(needs[precision].total, here),
        )
        for precision, need in on_gpu.items()
    ]


def check_model_fits(sizes: CheckpointSizes, here: Place, settings: Settings) -> None:
    """Raise ModelTooLarge, with advice, when the precision of the settings does not fit.

    With `auto` only when none does.
    """
    if here.free_bytes is None:
        return
    needs = _needs(sizes, here.device, settings)
    precision = "nf4" if settings.precision == "auto" else settings.precision
    check_fits(needs, precision, here.free_bytes, here.name)


def _needs(sizes: CheckpointSizes, device: Device, settings: Settings | None) -> dict[Precision, MemoryNeed]:
    return memory_by_precision(
        sizes.config,
        sizes.clip,
        device=device,
        quantize_all=settings.quantize_all if settings else False,
        limits=settings.limits if settings else None,
    )


def _fits(n_bytes: int, where: Place) -> bool | None:
    return None if where.free_bytes is None else n_bytes <= where.free_bytes
