"""`lisa-tool doctor`: what is installed, what is set, what works, and what this machine can run."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_tool.cli.arguments import Parser
from lisa_tool.cli.checks.backends import BackendCheck, all_backends
from lisa_tool.cli.checks.hardware_fit import Fit, what_fits
from lisa_tool.cli.checks.installation import Extra, base_packages, extras, program_versions
from lisa_tool.cli.checks.machine import Gpu, Memory, OutputFolder, cores, gpus, memory, output_folder
from lisa_tool.cli.checks.settings_in_force import Setting, limits_in_force, settings_in_force, unknown_names
from lisa_tool.cli.doctor_text import doctor_text
from lisa_tool.cli.output import Reply
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.errors import BadSettings
from lisa_tool.settings import Settings, load_settings

if TYPE_CHECKING:
    from lisa_tool.cli.checks.selftest import SelfTest

ALL_WELL = "everything works"
ALL_WELL_SO_FAR = "everything works, without the self-test"
EXIT_NOT_WORKING = 5
_REINSTALL = "run: pip install --force-reinstall 'lisa-tool[lite]', and report it if that does not help"


@dataclass(frozen=True)
class Report:
    """Everything the doctor found. `advice` is "everything works" or what to do first."""

    works: bool
    advice: str
    versions: dict[str, str]
    packages: dict[str, str | None]
    extras: list[Extra]
    settings: list[Setting]
    limits: list[Setting]
    notes: list[str]
    output: OutputFolder | None
    cores: int
    memory: Memory
    gpus: list[Gpu]
    backends: list[BackendCheck]
    fits: list[Fit]
    self_test: SelfTest | None


def parser() -> Parser:
    """The options of this command."""
    it = Parser(
        "doctor",
        "",
        "What is installed, which settings are in force, which backends work and why not, what fits this\n"
        "machine, and a self-test: a known photo whose mask is known.\n\n"
        "Exit code 0 when a question would be answered, else 5.",
    )
    it.add_argument("--quick", action="store_true", help="leave out the self-test, which loads the model")
    return it


def run(args: argparse.Namespace) -> Reply:
    """Look at everything; problems are findings, not errors."""
    report = examine(quick=args.quick)
    return Reply(_document(report), doctor_text(report), 0 if report.works else EXIT_NOT_WORKING)


def examine(*, quick: bool) -> Report:
    """Make the report; `quick` leaves out the self-test."""
    notes = unknown_names()
    settings: Settings | None = None
    settings_problem = None
    try:
        settings = load_settings()
    except BadSettings as e:
        settings_problem = e.message
    packages, backends = base_packages(), all_backends()
    output = None
    if settings:
        output = output_folder(settings.output_dir, settings.limits.output_min_free_bytes)
        notes += [_no_folder(root) for root in settings.roots if not root.is_dir()]
    advice = settings_problem or _first_problem(settings, packages, backends, output)
    tested = None
    if settings and not quick and advice is None:
        tested = _run_self_test(settings)
        if not tested.passed:
            advice = f"the self-test above; {_REINSTALL}"
    found_memory, found_gpus = memory(), gpus()
    return Report(
        works=advice is None,
        advice=advice or (ALL_WELL_SO_FAR if quick else ALL_WELL),
        versions=program_versions(),
        packages=packages,
        extras=extras(),
        settings=settings_in_force(settings) if settings else [],
        limits=limits_in_force(settings.limits) if settings else [],
        notes=notes,
        output=output,
        cores=cores(),
        memory=found_memory,
        gpus=found_gpus,
        backends=backends,
        fits=what_fits(found_memory, found_gpus),
        self_test=tested,
    )


def _run_self_test(settings: Settings) -> SelfTest:
    from lisa_tool.cli.checks.selftest import self_test  # only now: it imports what draws and measures masks

    with ProgressLine(sys.stderr) as line:
        return self_test(settings, line.update)


def _first_problem(
    settings: Settings | None,
    packages: dict[str, str | None],
    backends: list[BackendCheck],
    output: OutputFolder | None,
) -> str | None:
    """What keeps a question from being answered and what to do about it, or None."""
    missing = [name for name, version in packages.items() if version is None]
    if missing:
        return f"not installed: {', '.join(missing)}; run: pip install {' '.join(missing)}"
    wanted = settings.model if settings else "lite"
    backend = next((b for b in backends if b.name == wanted), None)
    if backend is None:
        return f"no backend is called {wanted!r}: unset LISA_MODEL, or set it to 'lite'"
    if not backend.works:
        return f"{wanted}: {backend.status}" + (f"; run: {backend.remedy}" if backend.remedy else "")
    if output and output.problem:
        return f"results cannot be written: {output.problem}; choose another folder: LISA_OUTPUT_DIR"
    return None


def _no_folder(root: Path) -> str:
    return f"the folder {str(root)!r} of LISA_ROOTS does not exist"


def _document(report: Report) -> dict[str, Any]:
    document = asdict(report)
    for entry, extra in zip(document["extras"], report.extras, strict=True):
        entry["missing"] = extra.missing
    return document
