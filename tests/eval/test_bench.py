"""Counts, equality and structure of the benchmark; never its seconds."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import inf

import pytest

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")
pytest.importorskip("segment_anything", reason="needs the extra: pip install 'lisa-tool[lisa]'")

from lisa_tool.engine.call import Call  # noqa: E402
from lisa_tool.engine.machine import Memory  # noqa: E402
from lisa_tool.errors import BadSettings, Cancelled, MissingExtra, ModelTooLarge  # noqa: E402
from lisa_tool.eval import bench as bench_module  # noqa: E402
from lisa_tool.eval import race as race_module  # noqa: E402
from lisa_tool.eval.bench import Plan, Report, bench, document  # noqa: E402
from lisa_tool.eval.bench_text import report_text  # noqa: E402
from lisa_tool.eval.flops import question_flops  # noqa: E402
from lisa_tool.eval.peaks import PEAKS, Peak, peak_of  # noqa: E402
from lisa_tool.eval.race import Race, race  # noqa: E402
from lisa_tool.eval.random_model import SIZES, random_model, random_questions  # noqa: E402
from lisa_tool.eval.stages import Stages, measure_stages, rates  # noqa: E402
from lisa_tool.eval.stopwatch import Clock, Runs, Watch, cheapest  # noqa: E402
from lisa_tool.lisa.generate import Stopping  # noqa: E402
from lisa_tool.lisa.memory import memory_needed  # noqa: E402
from lisa_tool.lisa.model import LisaModel  # noqa: E402
from lisa_tool.lisa.precision import Kept, policy_for  # noqa: E402
from lisa_tool.lisa.prefix import KeyValues  # noqa: E402

pytestmark = pytest.mark.slow

SMALL = SIZES["small"]
CPU = torch.device("cpu")
PLAN = Plan(SMALL, CPU, precision="fp32", also=("bf16",), tokens=(1, 4), repeat=1, threads=1)


def model_of(kept: Kept) -> LisaModel:
    return random_model(SMALL, policy_for(kept, CPU), CPU)


def waiting() -> Call:
    return Call.start(deadline_s=inf)


def raced(*lengths: int, repeat: int = 1) -> Race:
    model = model_of("fp32")
    return race(model, random_questions(model), Clock(CPU), lengths, repeat, waiting())


def test_the_reference_runs_clip_and_the_whole_sequence_for_every_token_and_ours_does_not() -> None:
    prompt, rest = SMALL.prompt_positions, SMALL.prompt_positions - SMALL.shared_positions
    assert (prompt, rest) == (316, 24)
    for n, answer in zip((1, 4, 6), raced(1, 4, 6).answers, strict=True):
        assert answer.tokens == n
        costs = (answer.reference, answer.ours, answer.image_kept, answer.prefix_kept)
        assert [cost.clip_runs for cost in costs] == [n, 1, 0, 0]
        assert [cost.llm_runs for cost in costs] == [n, n, n, n]
        whole = sum(prompt + i for i in range(n))
        assert [cost.llm_positions for cost in costs] == [whole, prompt + n - 1, prompt + n - 1, rest + n - 1]


def test_the_reference_and_a_kept_prefix_give_the_same_tokens() -> None:
    came = raced(6, repeat=2)
    for agreement in (came.reference_agrees, came.prefix_agrees):
        assert (agreement.tokens, agreement.same, agreement.shortfall) == (6, 6, 0)
        assert agreement.holds(torch.float32)


def test_a_reference_that_sees_another_image_is_told_apart_in_every_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = race_module.answer_uncached
    monkeypatch.setattr(
        race_module,
        "answer_uncached",
        lambda model, ids, pixels, stopping, **more: real(model, ids, -pixels, stopping, **more),
    )
    agreement = raced(6).reference_agrees
    assert not agreement.holds(torch.float32) and not agreement.holds(torch.bfloat16)


def test_a_kept_prefix_that_is_not_the_prompt_is_told_apart_in_every_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = KeyValues.first

    def shuffled(self: KeyValues, n_positions: int) -> KeyValues:
        kept = first(self, n_positions)
        return KeyValues(tuple((keys, values.flip(2)) for keys, values in kept.layers))

    monkeypatch.setattr(KeyValues, "first", shuffled)
    agreement = raced(6).prefix_agrees
    assert not agreement.holds(torch.float32) and not agreement.holds(torch.bfloat16)


def test_sixteen_bit_may_tip_a_near_tie_and_float32_may_not() -> None:
    near, far = (watched([2.0, 1.0 + x, -1.0, 0.0, -2.0, -2.0], [1]).agreement() for x in (0.99, 0.0))
    assert near.same == far.same == 0
    assert near.holds(torch.bfloat16) and not near.holds(torch.float32)
    assert not far.holds(torch.bfloat16)


def test_what_would_end_an_answer_is_never_chosen() -> None:
    assert watched([0.0, 1.0, 9.0, 0.0, 0.0, 9.0]).token_ids == [1]


def watched(logits: list[float], script: list[int] | None = None, clock: Clock | None = None) -> Watch:
    """A watch that was asked once; of the vocabulary 2 is </s> and 5 is [SEG]."""
    watch = Watch(clock or Clock(CPU), Runs(), Stopping(2, 5, 1), script)
    watch(torch.tensor(logits), 0)
    return watch


def test_the_quickest_round_counts() -> None:
    times = [10.0, 13.0, 20.0, 21.0]

    class Scripted(Clock):
        def __call__(self) -> float:
            return times.pop(0)

    assert cheapest([watched([0.0] * 6, clock=Scripted(CPU)) for _ in range(2)], 1).seconds == 1.0


@pytest.mark.parametrize("kept", ["fp32", "bf16", "int8", "nf4"])
def test_measured_bytes_are_those_that_the_pre_flight_computes(kept: Kept) -> None:
    if kept in ("int8", "nf4"):
        pytest.importorskip("bitsandbytes", reason="needs the extra: pip install 'lisa-tool[quant]'")
    model = model_of(kept)
    stages = measure_stages(model, kept, random_questions(model), Clock(CPU), 1, waiting())
    need = memory_needed(SMALL.config, SMALL.clip, kept, device="cpu")
    assert stages.weight_bytes == pytest.approx(need.weights, rel=0.01)
    weights = SMALL.config.llama.n_layers * (4 * 64 * 64 + 3 * 64 * 192)
    norms = SMALL.config.llama.n_layers * 2 * 64
    per_weight = {"fp32": 4, "bf16": 2, "int8": 1, "nf4": 0.5}[kept]
    of_norms = norms * (4 if kept == "fp32" else 2)
    scales = stages.layer_bytes - of_norms - per_weight * weights
    assert scales == 0 if kept in ("fp32", "bf16") else 0 < scales < 0.2 * weights


def test_a_random_model_has_the_parameters_of_its_size_and_the_same_ones_again() -> None:
    one, again = model_of("fp32"), model_of("fp32")
    shared = sum(buffer.numel() for key, buffer in one.named_buffers() if "gaussian" in key)
    assert sum(weight.numel() for weight in one.parameters()) + shared == SMALL.n_parameters
    pairs = zip(one.state_dict().values(), again.state_dict().values(), strict=True)
    assert all((a == b).all() and a.isfinite().all() for a, b in pairs)


def test_rates_are_bytes_and_operations_over_seconds_and_shares_of_a_known_peak() -> None:
    stages = Stages("bf16", 0, 0, 2_000, None, clip_s=1, prefill_s=2, token_s=4, sam_s=8, mask_s=1)
    flops = question_flops(SMALL)
    came = rates(stages, flops, Peak(bytes_s=1_000, flops=1e9))
    assert (came.token_bytes_s, came.mbu) == (500, 0.5)
    assert came.prefill_flops_s == flops.step(316) / 2
    assert came.prefill_mfu == pytest.approx(flops.step(316) / 2 / 1e9)
    assert came.sam_mfu == pytest.approx(flops.sam / 8 / 1e9)
    without = rates(stages, flops, None)
    assert (without.token_bytes_s, without.mbu, without.prefill_mfu, without.sam_mfu) == (
        500,
        None,
        None,
        None,
    )
    assert rates(replace(stages, precision="fp32"), flops, Peak(1_000, 1e9)).mbu is None


def test_only_a_card_that_is_known_by_its_whole_name_has_a_peak() -> None:
    assert peak_of("NVIDIA H200") == PEAKS["NVIDIA H200"]
    assert peak_of("NVIDIA GeForce RTX 3060 Ti") is None


@pytest.fixture(scope="module")
def report() -> Report:
    return bench(PLAN, ["small"], waiting())


def test_the_document_has_what_was_counted_and_what_was_timed(report: Report) -> None:
    told = document(report)
    assert list(told) == ["machine", "flops", "timed"]
    assert told["machine"]["threads"] == 1
    assert told["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    counted = told["flops"]["small"]
    assert [answer["tokens"] for answer in counted["answers"]] == [1, 8, 40, 64]
    assert counted["answers"][2]["reference"] == question_flops(SMALL).reference(40)
    timed = told["timed"]
    assert (timed["size"], timed["precision"], timed["unit"]) == ("small", "fp32", "CPU seconds")
    assert timed["same_answer"] is True
    assert [answer["tokens"] for answer in timed["answers"]] == [1, 4]
    assert timed["answers"][1]["reference"]["clip_runs"] == 4
    assert [stages["precision"] for stages in timed["stages"]] == ["fp32", "bf16"]
    assert {"weight_bytes", "layer_bytes", "token_s", "mbu"} <= set(timed["stages"][0])


def test_the_text_fits_100_columns_and_has_every_row(report: Report) -> None:
    lines = report_text(report).splitlines()
    assert max(map(len, lines)) <= 100
    starts = [line.split()[0] for line in lines if line]
    assert {"1", "4", "8", "40", "64", "fp32", "bf16"} <= set(starts)
    assert "Same tokens: of 4 first choices 4 of the reference's are ours" in " ".join(lines)


def test_the_text_of_a_known_gpu_fits_too_and_has_whole_questions(report: Report) -> None:
    assert report.timed
    stages = Stages("bf16", 2**34, 2**34, 13 * 2**30, 2**35, 0.01, 0.025, 0.025, 0.06, 0.005)
    timed = replace(report.timed, size=SIZES["7b"], peak=PEAKS["NVIDIA H200"], stages=[stages])
    text = report_text(replace(report, timed=timed, counted={}))
    assert max(map(len, text.splitlines())) <= 100
    assert "SAM MFU" in text and "The same with SAM and one mask" in text
    assert "are not known here" not in text
    unknown = report_text(replace(report, timed=replace(timed, peak=None)))
    assert "are not known here: no MBU and no MFU" in unknown


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(BadSettings):
        bench(replace(PLAN, threads=before + 1, tokens=(5_000,)), [], waiting())
    assert torch.get_num_threads() == before


def test_more_tokens_than_the_model_has_positions_are_refused() -> None:
    bench_room = SMALL.config.llama.max_positions - SMALL.prompt_positions
    with pytest.raises(BadSettings) as error:
        bench(replace(PLAN, tokens=(1, bench_room + 1)), [], waiting())
    assert str(bench_room) in error.value.hint


def test_without_bitsandbytes_the_other_precisions_are_still_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    timed = bench(replace(PLAN, also=("nf4", "bf16")), [], waiting()).timed
    assert timed
    assert [stages.precision for stages in timed.stages] == ["fp32", "bf16"]
    assert "lisa-tool[quant]" in timed.left_out["nf4"]
    with pytest.raises(MissingExtra):
        bench(replace(PLAN, precision="nf4"), [], waiting())


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "memory", lambda: Memory(2**34, 2**33))
    monkeypatch.setattr(bench_module, "random_model", lambda *_: pytest.fail("made"))
    with pytest.raises(ModelTooLarge):
        bench(replace(PLAN, size=SIZES["7b"]), [], waiting())


def test_ctrl_c_ends_it() -> None:
    work = waiting()
    work.cancel.set()
    with pytest.raises(Cancelled):
        bench(PLAN, [], work)
