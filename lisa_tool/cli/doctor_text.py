"""The doctor's report as a person reads it: what matters first is said last, where the eye ends up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lisa_tool.cli.checks.hardware_fit import LISA_SOURCE
from lisa_tool.cli.output import printable

if TYPE_CHECKING:
    from lisa_tool.cli.checks.settings_in_force import Setting
    from lisa_tool.cli.doctor import Report

_MIB = 2**20
_GIB = 2**30


def doctor_text(report: Report) -> str:
    """All sections, then one line that says whether everything works."""
    sections = [
        _section("Versions", _columns([*report.versions.items(), ("packages", _packages(report.packages))])),
        _section("Extras", _columns(_extras(report))),
        _section("Settings", _settings(report.settings)),
        _section("Limits (change one with LISA_LIMITS__NAME)", _settings(report.limits)),
        _section("Machine", _columns(_machine(report))),
        _section("Backends", _columns((b.name, b.status, b.remedy) for b in report.backends)),
        _section("What fits", [*_columns(_fits(report)), f"LISA: {LISA_SOURCE}."]),
        _section("Self-test", [report.self_test.summary] if report.self_test else []),
        _section("Notes", report.notes),
    ]
    advice = report.advice if report.works else f"not working: {report.advice}"
    return "\n\n".join([*filter(None, sections), printable(advice)])


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {printable(line)}" for line in lines)]) if lines else ""


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of the same length with their columns aligned; the last one runs free."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in table
    ]


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


def _fits(report: Report) -> list[tuple[str, str, str]]:
    words = {True: "fits", False: "does not fit", None: "unknown: this system does not tell"}
    return [(fit.model, f"needs {fit.needs}", f"{words[fit.fits]} ({fit.where})") for fit in report.fits]


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
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _origin(source: str) -> str:
    kind, _, name = source.partition(" ")
    return {"default": "", "environment": " [set in the environment]"}.get(
        kind, f" [set in the {kind} {name}]"
    )


def _gib(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else f"{n_bytes / _GIB:.1f} GiB"
