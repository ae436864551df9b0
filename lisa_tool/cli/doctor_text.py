"""The doctor's report as a person reads it: what matters first is said last, where the eye ends up.

Made for a terminal of 80 columns; only the last line, which may hold a command to copy, is never broken.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from lisa_tool.cli.output import printable
from lisa_tool.lisa.memory import RUNTIME_BYTES

if TYPE_CHECKING:
    from lisa_tool.cli.checks.hardware_fit import Fit
    from lisa_tool.cli.checks.settings_in_force import Setting
    from lisa_tool.cli.doctor import ModelReport, Report
    from lisa_tool.lisa.memory import MemoryNeed

_MIB = 2**20
_GIB = 2**30
_WIDTH = 80 - 2  # of a line in a section
_CELL = 26  # a longer cell does not move the columns after it
_FITS = {True: "fits", False: "no", None: "not told"}
_COMPUTED = "Computed from the checkpoints' sizes, not measured with their weights."


def doctor_text(report: Report) -> str:
    """All sections, then one line that says whether everything works."""
    sections = [
        _section("Versions", _columns([*report.versions.items(), ("packages", _packages(report.packages))])),
        _section("Extras", _columns(_extras(report))),
        _section("Settings", _settings(report.settings)),
        _section("Limits (change one with LISA_LIMITS__NAME)", _settings(report.limits)),
        _section("Machine", _columns(_machine(report))),
        _section("Backends", _columns(_backends(report))),
        _section("What fits (GiB)", _what_fits(report.fits)),
        _section("Self-test", _paragraphs([report.self_test.summary] if report.self_test else [])),
        _section("Notes", _paragraphs(report.notes)),
    ]
    advice = report.advice if report.works else f"not working: {report.advice}"
    return "\n\n".join([*filter(None, sections), printable(advice)])


def model_text(report: ModelReport) -> str:
    """The table of one checkpoint, how to read it, and the command that uses it."""
    header = ("precision", "weights", "KV", "work", "CUDA", "total", "smallest card", "here")
    rows = [
        (
            label,
            *map(_figure, (need.weights, need.kv, need.activations, need.runtime, need.total)),
            card,
            here,
        )
        for label, need, card, here in _lisa_rows(report.fits)
    ]
    kept = max(fit.need.kept for fit in report.fits if fit.need)
    here = f"{report.here.name}, {_gib(report.here.free_bytes)} free"
    if report.here.device == "cpu":
        here += f"; there Python and torch take {_gib(RUNTIME_BYTES['cpu'])} instead of CUDA's share"
    meaning = [
        ("KV", "keys and values of one question and its longest answer"),
        ("work", "the largest stage of an answer: image encoder, prompt or mask"),
        ("CUDA", "what CUDA takes before the first tensor; assumed"),
        ("here", here),
    ]
    notes = [
        f"On top come caches of images and conversations, at most {_gib(kept)}; they give way when "
        "the memory is needed. A card that also drives a screen has less than its size.",
        f"{_COMPUTED[:-1]}{f'; {report.assumed}' if report.assumed else ''}.",
    ]
    sections = [
        _section(f"{report.model} on a GPU (GiB)", _table(header, rows, left=(0, 6, 7))),
        _section("Meaning", [*_columns(meaning), *_paragraphs(notes)]),
    ]
    return "\n\n".join([*sections, printable(report.advice)])


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {printable(line)}" for line in lines)]) if lines else ""


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of the same length with their columns aligned; the last one is wrapped beside the others."""
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max((len(cell) for cell in column if len(cell) <= _CELL), default=0)
        for column in zip(*table, strict=True)
    ]
    return [line for row in table for line in _row(row, widths[:-1])]


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    indent = sum(widths) + 2 * len(widths)
    head = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
    lines = _wrap(row[-1], _WIDTH - indent)
    if len(head) == indent:
        head += lines.pop(0)
    return [head.rstrip(), *(" " * indent + line for line in lines)]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int]) -> list[str]:
    """A header and rows with aligned columns; figures stand to the right, columns `left` to the left."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _paragraphs(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in _wrap(printable(text), _WIDTH)]


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width`, at least one; a word is never broken, for it may be a path."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _packages(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'MISSING'}" for name, version in packages.items()) or "unknown"


def _extras(report: Report) -> list[tuple[str, str]]:
    return [
        (
            extra.name,
            f"missing {', '.join(extra.missing)}: {extra.install}"
            if extra.missing
            else _packages(extra.packages),
        )
        for extra in report.extras
    ]


def _machine(report: Report) -> list[tuple[str, str]]:
    output = report.output
    rows = [
        ("cores", str(report.cores)),
        ("memory", f"{_gib(report.memory.available)} available of {_gib(report.memory.total)}"),
        *(
            (
                "GPU",
                f"{gpu.name}, {_gib(gpu.memory_free)} free of {_gib(gpu.memory_total)}, driver {gpu.driver}",
            )
            for gpu in report.gpus
        ),
    ]
    if not report.gpus:
        rows.append(("GPU", "none found with nvidia-smi (lite needs none)"))
    if output:
        state = output.problem or f"can be written, {_gib(output.free)} free"
        rows.append(("results", f"{output.path}: {state}{'' if output.exists else ', will be created'}"))
    return rows


def _backends(report: Report) -> list[tuple[str, str]]:
    return [(b.name, f"{b.status}: {b.remedy}" if b.remedy else b.status) for b in report.backends]


def _what_fits(fits: Sequence[Fit]) -> list[str]:
    """Totals of all models; `model_text` shows what one of them is made of."""
    header = ("model", "precision", "total", "smallest card", "here")
    rows = [
        (fit.model, "", _figure(fit.total_bytes), "none needed", _FITS[fit.fits])
        for fit in fits
        if fit.need is None
    ]
    for model, of_model in groupby((fit for fit in fits if fit.need), key=lambda fit: fit.model):
        for label, need, card, here in _lisa_rows(of_model):
            rows.append((model, label, _figure(need.total), card, here))
    return [
        *_table(header, rows, left=(0, 1, 3, 4)),
        *_paragraphs([f"{_COMPUTED} The parts: lisa-tool doctor --model 7b, or 13b, or a folder."]),
    ]


def _lisa_rows(fits: Iterable[Fit]) -> Iterable[tuple[str, MemoryNeed, str, str]]:
    """Label, what it needs, card and verdict; precisions that take the same room share a row."""
    for _, same in groupby(fits, key=lambda fit: fit.total_bytes):
        first, *others = same
        if first.need:
            label = ", ".join(str(fit.precision) for fit in (first, *others))
            card = f"{first.cards_gb[0]} GB" if first.cards_gb else "more than one"
            yield label, first.need, card, _FITS[first.fits]


def _settings(settings: Sequence[Setting]) -> list[str]:
    return _columns(
        (s.variable.removeprefix("LISA_LIMITS__"), _shown(s), s.meaning + _origin(s.source)) for s in settings
    )


def _shown(setting: Setting) -> str:
    value = setting.value
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if setting.variable.endswith("_BYTES"):
        return f"{value / _MIB:g} MiB"
    if isinstance(value, bool | None):
        return "none" if value is None else str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _origin(source: str) -> str:
    kind, _, name = source.partition(" ")
    return {"default": "", "environment": " [set in the environment]"}.get(
        kind, f" [set in the {kind} {name}]"
    )


def _figure(n_bytes: int) -> str:
    return f"{n_bytes / _GIB:.1f}"


def _gib(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{_figure(n_bytes)} GiB"
