"""What LISA costs here against the reference's procedure: counted first, then timed. No checkpoint is needed.

    counted   floating-point operations of one question at the published sizes
    timed     answers of a model of random weights, by the reference's procedure and by ours, token for token
              the same; then each stage and the real bytes of the weights in every precision

Reported, never asserted, but for one thing: that both give the same answer.
"""

from __future__ import annotations

import gc
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lisa_tool.engine.machine import memory
from lisa_tool.errors import BackendError, BadSettings
from lisa_tool.eval.flops import QuestionFlops, question_flops
from lisa_tool.eval.peaks import Peak, peak_of
from lisa_tool.eval.race import Race, race
from lisa_tool.eval.random_model import SIZES, Size, random_model, random_questions
from lisa_tool.eval.stages import Stages, measure_stages, rates
from lisa_tool.eval.stopwatch import Clock
from lisa_tool.lisa.checkpoint.work import Part, Work
from lisa_tool.lisa.memory import Device, check_fits, memory_by_precision
from lisa_tool.lisa.precision import Kept, Policy, policy_for
from lisa_tool.settings import Precision

COUNTED_SIZES = ("7b", "13b")
COUNTED_TOKENS = (1, 8, 40, 64)

_PACKAGES = ("torch", "transformers", "bitsandbytes")


@dataclass(frozen=True)
class Plan:
    """What to time. precision: of the answers; the stages are also timed in each one of `also`.

    threads: of the CPU; None leaves torch's own number.
    """

    size: Size
    device: torch.device
    precision: Precision
    also: tuple[Kept, ...]
    tokens: tuple[int, ...]
    repeat: int
    threads: int | None


@dataclass(frozen=True)
class Machine:
    """Where it was measured, with how many threads of the CPU, and by which packages."""

    name: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Timed:
    """One size, timed; see `Race` and `Stages`. left_out: precision -> why it was not measured."""

    size: Size
    precision: Kept
    unit: str
    repeat: int
    flops: QuestionFlops
    peak: Peak | None
    race: Race
    same_answer: bool
    stages: list[Stages]
    left_out: dict[str, str]


@dataclass(frozen=True)
class Report:
    """counted: size -> operations. timed: None when only those were asked for."""

    machine: Machine
    counted: dict[str, QuestionFlops]
    timed: Timed | None


def bench(plan: Plan | None, counted: Sequence[str], work: Work) -> Report:
    """Count the sizes that are named, and time the plan.

    Raises BadSettings for a plan that cannot be, MissingExtra or ModelTooLarge when its first model cannot be
    made, and what `work.check` raises.
    """
    with _threads(plan.threads if plan else None):
        machine = _machine(plan.device if plan else torch.device("cpu"))
        flops = {}
        for index, name in enumerate(counted):
            work.check()
            work.tell(f"counting operations of {name}", 0.1 * index / len(counted))
            flops[name] = question_flops(SIZES[name])
        timed = _time(plan, peak_of(machine.name), Part(work, 0.1, 1.0)) if plan else None
    return Report(machine, flops, timed)


def document(report: Report) -> dict[str, Any]:
    """All of it as JSON, in seconds, bytes and operations."""
    return {
        "machine": asdict(report.machine),
        "flops": {name: _counted(flops) for name, flops in report.counted.items()},
        "timed": _timed(report.timed) if report.timed else None,
    }


def _time(plan: Plan, peak: Peak | None, work: Work) -> Timed:
    room = plan.size.config.llama.max_positions - plan.size.prompt_positions
    if max(plan.tokens) > room:
        raise BadSettings(f"there is no room for {max(plan.tokens)} tokens", f"Ask for at most {room}.")
    clock, policy = Clock(plan.device), _policy(plan, plan.precision)
    work.check()
    work.tell(f"making a random {plan.size.name} in {policy.kept}", 0.0)
    model = random_model(plan.size, policy, plan.device)
    questions = random_questions(model)
    raced = race(model, questions, clock, plan.tokens, plan.repeat, Part(work, 0.1, 0.7))
    stages = [measure_stages(model, policy.kept, questions, clock, plan.repeat, Part(work, 0.7, 0.75))]
    del model
    left_out: dict[str, str] = {}
    others = [kept for kept in plan.also if kept != policy.kept]
    for index, kept in enumerate(others):
        part = Part(work, 0.75 + 0.25 * index / len(others), 0.75 + 0.25 * (index + 1) / len(others))
        try:
            stages.append(_stages_in(kept, plan, clock, part))
        except (BackendError, BadSettings) as e:
            left_out[kept] = e.message
    agreements = (raced.reference_agrees, raced.prefix_agrees)
    return Timed(
        size=plan.size,
        precision=policy.kept,
        unit=clock.unit,
        repeat=plan.repeat,
        flops=question_flops(plan.size),
        peak=peak,
        race=raced,
        same_answer=all(agreement.holds(policy.dtype) for agreement in agreements),
        stages=stages,
        left_out=left_out,
    )


def _stages_in(kept: Kept, plan: Plan, clock: Clock, work: Work) -> Stages:
    gc.collect()  # the model before this one
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
    policy = _policy(plan, kept)
    work.check()
    work.tell(f"making a random {plan.size.name} in {kept}", 0.0)
    model = random_model(plan.size, policy, plan.device)
    return measure_stages(model, kept, random_questions(model), clock, plan.repeat, work)


def _policy(plan: Plan, precision: Precision) -> Policy:
    """How the weights are kept, when they can be and fit."""
    policy = policy_for(precision, plan.device)
    kind: Device = "cuda" if plan.device.type == "cuda" else "cpu"
    free = torch.cuda.mem_get_info(plan.device)[0] if kind == "cuda" else memory().available
    if free is not None:
        needs = memory_by_precision(plan.size.config, plan.size.clip, device=kind)
        check_fits(needs, policy.kept, free, f"the memory of {plan.device}", running=True)
    return policy


@contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _machine(device: torch.device) -> Machine:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return Machine(name, torch.get_num_threads(), versions)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _counted(flops: QuestionFlops) -> dict[str, Any]:
    return {
        "prompt_positions": flops.prompt,
        "shared_positions": flops.shared,
        "clip": flops.clip,
        "sam": flops.sam,
        "mask": flops.mask,
        "prefill": flops.step(flops.prompt),
        "token": flops.step(1, flops.prompt),
        "mask_only": flops.mask_only(),
        "mask_only_kept": flops.mask_only_kept(),
        "answers": [
            {
                "tokens": n,
                "reference": flops.reference(n),
                "ours": flops.ours(n),
                "ratio": round(flops.reference(n) / flops.ours(n), 2),
                "image_kept": flops.image_kept(n),
                "prefix_kept": flops.prefix_kept(n),
            }
            for n in COUNTED_TOKENS
        ],
    }


def _timed(timed: Timed) -> dict[str, Any]:
    return {
        "size": timed.size.name,
        "parameters": timed.size.n_parameters,
        "prompt_positions": timed.size.prompt_positions,
        "real_sam": timed.size.real_sam,
        "precision": timed.precision,
        "unit": timed.unit,
        "repeat": timed.repeat,
        "same_answer": timed.same_answer,
        **asdict(timed.race),
        "answers": [asdict(answer) | {"ratio": round(answer.ratio, 2)} for answer in timed.race.answers],
        "stages": [asdict(s) | asdict(rates(s, timed.flops, timed.peak)) for s in timed.stages],
        "left_out": timed.left_out,
    }
