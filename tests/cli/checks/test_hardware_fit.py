from lisa_tool.cli.checks.hardware_fit import what_fits
from lisa_tool.cli.checks.machine import Gpu, Memory

GIB = 2**30


def gpu(gib: float) -> Gpu:
    return Gpu(f"{gib} GiB card", int(gib * GIB), int(gib * GIB), "1")


def fits(memory: Memory, gpus: list[Gpu]) -> list[bool | None]:
    return [fit.fits for fit in what_fits(memory, gpus)]


def test_a_laptop_without_a_gpu_runs_only_lite() -> None:
    assert fits(Memory(8 * GIB, 4 * GIB), []) == [True, False, False, False]


def test_a_twelve_gigabyte_card_takes_thirteen_billion_parameters_in_four_bits() -> None:
    assert fits(Memory(8 * GIB, 4 * GIB), [gpu(12)]) == [True, False, False, True]


def test_the_largest_gpu_counts() -> None:
    assert fits(Memory(8 * GIB, 4 * GIB), [gpu(8), gpu(80), gpu(12)]) == [True, True, True, True]


def test_lite_does_not_fit_below_one_and_a_half_gibibytes() -> None:
    assert fits(Memory(8 * GIB, 3 * GIB // 2), [])[0] is True
    assert fits(Memory(8 * GIB, 3 * GIB // 2 - 1), [])[0] is False


def test_memory_that_is_not_told_is_no_verdict() -> None:
    assert fits(Memory(None, None), [])[0] is None


def test_figures_of_lisa_are_marked_as_planned_and_not_measured() -> None:
    notes = {fit.note for fit in what_fits(Memory(None, None), []) if fit.model.startswith("LISA")}
    assert len(notes) == 1
    assert "planned" in notes.pop()
