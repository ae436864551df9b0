"""`lisa-tool doctor`: what is installed, what is set, what works, and what this machine can run."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_tool.cli.arguments import Parser
from lisa_tool.cli.checks.backends import BackendCheck, all_backends, backend_of
from lisa_tool.cli.checks.checkpoint_sizes import CheckpointSizes, checkpoint_sizes
from lisa_tool.cli.checks.hardware_fit import Fit, Place, check_model_fits, lisa_fits, place, what_fits
from lisa_tool.cli.checks.installation import Extra, base_packages, extras, program_versions
from lisa_tool.cli.checks.machine import Gpu, OutputFolder, cores, gpus, output_folder
from lisa_tool.cli.checks.settings_in_force import Setting, limits_in_force, settings_in_force, unknown_names
from lisa_tool.cli.doctor_text import doctor_text, model_text
from lisa_tool.cli.output import Reply
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.engine.machine import Memory, memory
from lisa_tool.errors import BackendError, BadSettings, LisaError, ModelTooLarge, UnknownModel
from lisa_tool.settings import Settings, load_settings

if TYPE_CHECKING:
    from lisa_tool.cli.checks.selftest import SelfTest

ALL_WELL = "everything works"
ALL_WELL_SO_FAR = "everything works, without the self-test"
EXIT_NOT_WORKING = 5
_NOT_TOLD = "this system does not tell how much memory is free"
_NO_LISA_TEST = "the self-test is left out: it would load all of the checkpoint; ask a question to try it"
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


@dataclass(frozen=True)
class ModelReport:
    """What one LISA checkpoint takes in every precision. `assumed`: what its files did not tell."""

    model: str
    assumed: str
    here: Place
    fits: list[Fit]
    advice: str

    @property
    def works(self) -> bool:
        """Whether some precision fits here, as far as this machine tells."""
        return any(fit.fits is not False for fit in self.fits)


def parser() -> Parser:
    """The options of this command."""
    it = Parser(
        "doctor",
        "",
        "What is installed, which settings are in force, which backends work and why not, what fits this\n"
        "machine, and a self-test: a known photo whose mask is known.\n\n"
        "With --model only what that LISA checkpoint needs of memory, in every precision.\n\n"
        "Exit code 0 when a question would be answered, else 5.",
    )
    it.add_argument(
        "--model",
        metavar="NAME",
        help="7b, 13b, a published name such as xinlai/LISA-7B-v1, or a folder: the memory it needs",
    )
    it.add_argument("--quick", action="store_true", help="leave out the self-test, which loads the model")
    return it


def run(args: argparse.Namespace) -> Reply:
    """Look at everything; problems are findings, not errors."""
    if args.model is not None:
        measured = measure(args.model)
        return Reply(asdict(measured), model_text(measured), 0 if measured.works else EXIT_NOT_WORKING)
    report = examine(quick=args.quick)
    return Reply(_document(report), doctor_text(report), 0 if report.works else EXIT_NOT_WORKING)


def measure(model: str) -> ModelReport:
    """What a LISA checkpoint needs with the settings in force.

    Raises BadSettings, or BackendError as `checkpoint_sizes` does.
    """
    settings = load_settings()
    sizes = checkpoint_sizes(model, settings.clip_path)
    here = place(memory(), gpus(), settings.device)
    fits = lisa_fits(sizes, here, settings)
    best = next((fit for fit in fits if fit.fits), None)
    if best:
        options = f"--model {shlex.quote(sizes.name)} --precision {best.precision}"
        advice = f'lisa-tool segment photo.jpg "what keeps her dry?" {options}'
    else:
        advice = _too_large(sizes, here, settings.model_copy(update={"precision": "auto"})) or _NOT_TOLD
    return ModelReport(sizes.name, sizes.assumed, here, fits, advice)


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
    found_memory, found_gpus = memory(), gpus()
    output = None
    if settings:
        output = output_folder(settings.output_dir, settings.limits.output_min_free_bytes)
        notes += [_no_folder(root) for root in settings.roots if not root.is_dir()]
    advice = settings_problem or _first_problem(settings, packages, backends, output)
    if settings and advice is None and backend_of(settings.model) == "lisa":
        advice = _checkpoint_problem(settings, backends, place(found_memory, found_gpus, settings.device))
        notes.append(_NO_LISA_TEST)
        quick = True
    tested = None
    if settings and not quick and advice is None:
        tested = _run_self_test(settings)
        if not tested.passed:
            advice = f"the self-test above; {_REINSTALL}"
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
        fits=what_fits(found_memory, found_gpus, settings),
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
    model = settings.model if settings else "lite"
    wanted = backend_of(model)
    backend = next((b for b in backends if b.name == wanted), None)
    if backend is None:
        return (
            f"{model!r} is no backend, no folder and no name on the hub: unset LISA_MODEL, "
            "or set it to 'lite' or a LISA checkpoint such as 'xinlai/LISA-7B-v1'"
        )
    if not backend.works:
        return f"{backend.name}: {backend.status}" + (f"; run: {backend.remedy}" if backend.remedy else "")
    if output and output.problem:
        return f"results cannot be written: {output.problem}; choose another folder: LISA_OUTPUT_DIR"
    return None


def _checkpoint_problem(settings: Settings, backends: list[BackendCheck], here: Place) -> str | None:
    """What keeps the checkpoint of the settings from being loaded, as far as its sizes tell, or None."""
    lisa = next(b for b in backends if b.name == "lisa")
    if settings.precision in ("int8", "nf4") and lisa.remedy:  # of a backend that works: for these two
        return f"{settings.precision} needs a package that is not installed; run: {lisa.remedy}"
    try:
        sizes = checkpoint_sizes(settings.model, settings.clip_path)
    except UnknownModel:
        return None  # a name on the hub: its sizes come with its files
    except BackendError as e:
        return f"{settings.model}: {_sentence(e)}"
    return _too_large(sizes, here, settings)


def _too_large(sizes: CheckpointSizes, here: Place, settings: Settings) -> str | None:
    try:
        check_model_fits(sizes, here, settings)
    except ModelTooLarge as e:
        return f"{sizes.name}: {_sentence(e)}"
    return None


def _sentence(error: LisaError) -> str:
    return f"{error.message}. {error.hint}"


def _no_folder(root: Path) -> str:
    return f"the folder {str(root)!r} of LISA_ROOTS does not exist"


def _document(report: Report) -> dict[str, Any]:
    document = asdict(report)
    for entry, extra in zip(document["extras"], report.extras, strict=True):
        entry["missing"] = extra.missing
    return document
