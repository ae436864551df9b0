import pytest

from lisa_tool.cli.checks.checkpoint_sizes import checkpoint_sizes
from lisa_tool.cli.checks.hardware_fit import Fit, check_model_fits, lisa_fits, place, what_fits
from lisa_tool.cli.checks.machine import Gpu
from lisa_tool.engine.machine import Memory
from lisa_tool.errors import ModelTooLarge
from lisa_tool.settings import load_settings

GIB = 2**30
LAPTOP = Memory(8 * GIB, 4 * GIB)


def gpu(gib: float, free: float | None = None) -> Gpu:
    return Gpu(f"{gib} GiB card", int(gib * GIB), int((free or gib) * GIB), "1")


def that_fit(fits: list[Fit]) -> set[str]:
    """Such as "7B nf4"."""
    return {f"{fit.model.split('-')[1]} {fit.precision}" for fit in fits if fit.precision and fit.fits}


def test_a_small_laptop_without_a_gpu_runs_only_lite() -> None:
    fits = what_fits(LAPTOP, [])
    assert (fits[0].model, fits[0].fits) == ("lite", True)
    assert that_fit(fits) == set()


def test_a_twelve_gigabyte_card_takes_thirteen_billion_parameters_in_four_bits() -> None:
    assert that_fit(what_fits(LAPTOP, [gpu(12)])) == {"13B nf4", "7B nf4", "7B int8"}


def test_a_card_of_eighty_gigabytes_takes_all() -> None:
    assert len(that_fit(what_fits(LAPTOP, [gpu(80)]))) == 10


def test_the_gpu_with_the_most_free_memory_counts() -> None:
    fits = what_fits(LAPTOP, [gpu(80, free=1), gpu(12), gpu(8)])
    assert that_fit(fits) == {"13B nf4", "7B nf4", "7B int8"}
    assert {fit.where for fit in fits if fit.precision} == {"12 GiB card"}


def test_main_memory_counts_where_there_is_no_gpu_or_the_settings_want_the_cpu() -> None:
    roomy = Memory(64 * GIB, 64 * GIB)
    on_cpu = what_fits(roomy, [gpu(8)], load_settings(device="cpu"))
    assert that_fit(on_cpu) == that_fit(what_fits(roomy, [])) == that_fit(what_fits(LAPTOP, [gpu(64)]))
    assert {fit.where for fit in on_cpu} == {"main memory"}


def test_common_cards_are_judged_whatever_this_machine_has() -> None:
    cards = {fit.precision: fit.cards_gb for fit in lisa_fits(checkpoint_sizes("13b"), place(LAPTOP, []))}
    assert cards["nf4"] == (12, 16, 24, 32, 40, 48, 80)
    assert cards["bf16"] == (32, 40, 48, 80)
    assert cards["fp32"] == (80,)


def test_lite_does_not_fit_below_one_and_a_half_gibibytes() -> None:
    assert what_fits(Memory(8 * GIB, 3 * GIB // 2), [])[0].fits is True
    assert what_fits(Memory(8 * GIB, 3 * GIB // 2 - 1), [])[0].fits is False


def test_memory_that_is_not_told_is_no_verdict() -> None:
    assert {fit.fits for fit in what_fits(Memory(None, None), [])} == {None}
    check_model_fits(checkpoint_sizes("13b"), place(Memory(None, None), []), load_settings())


def test_the_precision_of_the_settings_is_refused_when_it_does_not_fit() -> None:
    here, sizes = place(LAPTOP, [gpu(12)]), checkpoint_sizes("13b")
    with pytest.raises(ModelTooLarge, match=r"in int8 .* 12 GiB card has room for 12.0 GiB"):
        check_model_fits(sizes, here, load_settings(precision="int8"))
    check_model_fits(sizes, here, load_settings(precision="nf4"))


def test_a_precision_that_is_left_open_is_refused_only_when_none_fits() -> None:
    check_model_fits(checkpoint_sizes("13b"), place(LAPTOP, [gpu(12)]), load_settings())
    with pytest.raises(ModelTooLarge):
        check_model_fits(checkpoint_sizes("13b"), place(LAPTOP, [gpu(8)]), load_settings())


def test_quantising_more_takes_less() -> None:
    here, sizes = place(LAPTOP, []), checkpoint_sizes("7b")
    usual, smaller = (
        {fit.precision: fit.total_bytes for fit in lisa_fits(sizes, here, load_settings(quantize_all=q))}
        for q in (False, True)
    )
    assert smaller["nf4"] < usual["nf4"]
    assert smaller["bf16"] == usual["bf16"]
