"""The report of the benchmark as a person reads it: tables of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from lisa_tool.eval.bench import COUNTED_TOKENS, Machine, Report, Timed
from lisa_tool.eval.flops import QuestionFlops
from lisa_tool.eval.stages import rates

_WIDTH = 100
_LENGTHS = ("tokens", "reference", "ours", "", "second question", "", "with its prefix kept", "")


def report_text(report: Report) -> str:
    """All tables, those that were counted first."""
    parts = [_counted(report.counted)] if report.counted else []
    if report.timed:
        parts += [_answers(report.timed, report.machine), _stages(report.timed)]
    return "\n\n".join(parts)


def _counted(counted: dict[str, QuestionFlops]) -> str:
    first = next(iter(counted.values()))
    stages = {
        "CLIP and its projection": [flops.clip for flops in counted.values()],
        "SAM's image encoder": [flops.sam for flops in counted.values()],
        f"language model, prompt of {first.prompt}": [f.step(f.prompt) for f in counted.values()],
        "language model, one token after it": [f.step(1, f.prompt) for f in counted.values()],
        "one mask": [flops.mask for flops in counted.values()],
        "a mask without words": [flops.mask_only() for flops in counted.values()],
        "the same, second question": [flops.mask_only_kept() for flops in counted.values()],
    }
    rows = [(name, *map(_tera, figures)) for name, figures in stages.items()]
    tables = [
        "Operations of one question with one mask, in TFLOP, counted on the real modules. The reference's",
        "are a lower bound: its lm_head, which sees every position, is counted for the last one only.",
        _table(("", *counted), rows),
    ]
    for name, flops in counted.items():
        tables += ["", f"{name}, by length of the answer", _lengths(flops)]
    return "\n".join(tables)


def _lengths(flops: QuestionFlops) -> str:
    ours = (flops.ours, flops.image_kept, flops.prefix_kept)
    rows = [
        (str(n), *_against(_tera, flops.reference(n), *(count(n) for count in ours))) for n in COUNTED_TOKENS
    ]
    return _table(_LENGTHS, rows)


def _answers(timed: Timed, machine: Machine) -> str:
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    versions = ", ".join(f"{package} {version}" for package, version in machine.versions.items())
    lines = [
        f"Answers of a random {timed.size.name} in {timed.precision}, prompt of "
        f"{timed.size.prompt_positions}: {timed.unit}, best of {timed.repeat}",
        f"{timed.size.n_parameters / 1e6:,.0f} M parameters; {machine.name}, {threads}",
        versions,
        _by_length(timed, 0.0, 0.0),
        textwrap.fill(" ".join(_remarks(timed)), _WIDTH),
    ]
    if timed.size.real_sam:
        stages = timed.stages[0]
        lines += ["", "The same with SAM and one mask", _by_length(timed, stages.sam_s, stages.mask_s)]
    return "\n".join(lines)


def _by_length(timed: Timed, sam_s: float, mask_s: float) -> str:
    """The seconds of each answer, with those of SAM's encoder, for a first question only, and of a mask."""
    rows = []
    for answer in timed.race.answers:
        first = [cost.seconds + sam_s + mask_s for cost in (answer.reference, answer.ours)]
        second = [cost.seconds + mask_s for cost in (answer.image_kept, answer.prefix_kept)]
        rows.append((str(answer.tokens), *_against(_seconds, *first, *second)))
    return _table(_LENGTHS, rows)


def _remarks(timed: Timed) -> Iterator[str]:
    raced, longest = timed.race, timed.race.answers[-1]
    reference, ours, second = longest.reference, longest.ours, longest.prefix_kept
    yield (
        f"For {longest.tokens} tokens the reference ran CLIP {reference.clip_runs} times and the language "
        f"model over {reference.llm_positions} positions, ours {ours.clip_runs} and {ours.llm_positions}, "
        f"a second question {second.clip_runs} and {second.llm_positions}."
    )
    yield f"A mask without words: {raced.mask_only_s:.3f}, as a second question {raced.mask_only_kept_s:.3f}."
    yield "SAM is not in these figures."
    yield "Same tokens:" if timed.same_answer else "THE ANSWERS DIFFER:"
    by_reference, by_prefix = raced.reference_agrees, raced.prefix_agrees
    yield f"of {by_reference.tokens} first choices {by_reference.same} of the reference's are ours,"
    yield f"and {by_prefix.same} with a prefix kept are those without."
    if apart := max(by_reference.shortfall, by_prefix.shortfall):
        yield f"The others are near-ties, at worst {apart:.2g} deviations of the logits apart."


def _against(shown: Callable[[float], str], reference: float, *others: float) -> list[str]:
    """A figure of the reference, then each other with how many times it goes into that."""
    return [shown(reference), *(cell for one in others for cell in (shown(one), f"{reference / one:.1f}x"))]


def _stages(timed: Timed) -> str:
    header = ["", "weights", "layers", "CLIP", "prefill", "token", "SAM", "mask", "GB/s", "TFLOP/s"]
    peak = timed.peak is not None
    unit, n_bytes = ("GiB", 2**30) if timed.stages[0].weight_bytes >= 2**32 else ("MiB", 2**20)
    has_memory = any(stages.peak_bytes for stages in timed.stages)
    header += ["MBU", "MFU", "SAM MFU"] if peak else []
    header += ["peak"] if has_memory else []
    rows = []
    for stages in timed.stages:
        rate = rates(stages, timed.flops, timed.peak)
        seconds = (stages.clip_s, stages.prefill_s, stages.token_s, stages.sam_s, stages.mask_s)
        row = [stages.precision, *(f"{n / n_bytes:.2f}" for n in (stages.weight_bytes, stages.layer_bytes))]
        row += [f"{1000 * s:.1f}" for s in seconds]
        row += [f"{rate.token_bytes_s / 1e9:.1f}", f"{rate.prefill_flops_s / 1e12:.3g}"]
        row += map(_percent, (rate.mbu, rate.prefill_mfu, rate.sam_mfu)) if peak else ()
        row += [f"{(stages.peak_bytes or 0) / n_bytes:.2f}"] if has_memory else ()
        rows.append(row)
    lines = [
        f"Stages in milliseconds, memory in {unit}; GB/s{' and MBU' if peak else ''} of decoding, "
        f"TFLOP/s{' and MFU' if peak else ''} of the prefill",
        _table(header, rows),
    ]
    if not timed.size.real_sam:
        lines.append("SAM is a small one here: its times say nothing about the published models.")
    if has_memory and not peak:
        lines.append("The peaks of this GPU are not known here: no MBU and no MFU.")
    lines += [textwrap.fill(f"Not in {kept}: {why}", _WIDTH) for kept, why in timed.left_out.items()]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in (header, *rows)
    )


def _tera(flops: float) -> str:
    return f"{flops / 1e12:.3g}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _percent(part: float | None) -> str:
    return "" if part is None else f"{part:.0%}"
