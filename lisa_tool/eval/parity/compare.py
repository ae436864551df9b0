"""How far two values are apart, against the tolerance of their kind."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

TOLERANCES = {
    "tokens": 0.0,
    "text": 0.0,
    "keys": 0.0,
    "counts": 0.0,
    "resized": 0.0,
    "pixels": 1e-6,
    "hidden": 1e-5,
    "embeddings": 2e-5,
    "inner layers": 5e-5,
    "logits": 2e-4,
    "masks": 1e-4,
    "mask pixels": 1e-5,
    "losses": 1e-5,
    "scores": 1e-6,
}
"""Kind -> the largest absolute difference allowed, in float32 on a CPU.

Those that tests/golden/README.md names have its numbers; the others allow the same rounding for numbers that
are larger (outputs of inner layers reach 13, logits 25). Where the tolerance is 0 a comparison gives how many
things differ; `mask pixels` is the fraction of pixels that differ.
"""

_STEP = re.compile(r"_every(\d+)(?:ch)?$")
_NAMED = 3  # of several that exceed, so many are named on a line


@dataclass(frozen=True)
class Difference:
    """One comparison. `value` is infinite when the two could not be compared; `why` then says so."""

    name: str
    kind: str
    value: float
    why: str = ""

    @property
    def exceeds(self) -> bool:
        """Whether it is more than its kind allows."""
        return not self.value <= TOLERANCES[self.kind]

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.why else self.name


@dataclass
class CaseReport:
    """All comparisons of one recorded case.

    unknown: what was recorded and nobody knows how to compare. skipped: why nothing was compared, if so.
    n_parameters: of a model that the case is about.
    """

    name: str
    differences: list[Difference] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    skipped: str = ""
    n_parameters: int | None = None

    @property
    def passed(self) -> bool:
        """Whether something was compared, and nothing exceeds."""
        return bool(self.differences) and not any(d.exceeds for d in self.differences)

    def add(self, name: str, kind: str, value: float, why: str = "") -> None:
        """Note one difference."""
        self.differences.append(Difference(name, kind, value, why))

    def equal(self, name: str, kind: str, ours: object, theirs: object) -> None:
        """Note that two things are equal, or that they are not."""
        self.add(name, kind, float(ours != theirs))

    def near(self, name: str, kind: str, ours: float, theirs: float) -> None:
        """Note how far two numbers are apart."""
        self.add(name, kind, _finite(abs(ours - theirs)))

    def close(self, name: str, kind: str, ours: Tensor, theirs: Tensor) -> None:
        """Note the largest difference of two tensors.

        `theirs` may lack the first dimension of ours when that is 1, or have one more. It may be a regular
        sample of ours: along any dimension when its name ends in `_every8` or the like, else along all but
        the first.
        """
        ours = _with_dimensions(ours.detach(), theirs.ndim)
        found = _STEP.search(name)
        sample = _sample(ours, theirs.shape, int(found[1]) if found else None)
        if sample is None:
            self.add(name, kind, math.inf, f"{tuple(ours.shape)} against {tuple(theirs.shape)}")
        elif not theirs.numel():
            self.add(name, kind, 0.0)
        else:
            self.add(name, kind, _finite((sample.double() - theirs.double()).abs().max().item()))

    def same_pixels(self, name: str, ours: Tensor, packed: Tensor, shape: list[int]) -> None:
        """Note the fraction of pixels on which bool masks differ; `packed` is `np.packbits` of theirs."""
        n = math.prod(shape)
        bits = np.unpackbits(packed.numpy())[:n]
        if tuple(ours.shape) != tuple(shape) or len(bits) != n:
            why = f"{tuple(ours.shape)} against {tuple(shape)} in {8 * packed.numel()} bits"
            self.add(name, "mask pixels", math.inf, why)
            return
        theirs = torch.from_numpy(bits.reshape(shape).astype(bool))
        self.add(name, "mask pixels", (ours != theirs).float().mean().item() if n else 0.0)

    def worst(self) -> Iterator[Difference]:
        """The largest difference of each kind."""
        for kind in TOLERANCES:
            some = [d for d in self.differences if d.kind == kind]
            if some:
                yield max(some, key=lambda d: d.value)

    def line(self) -> str:
        """One line: how it went, its name, the worst of each kind and what exceeds."""
        if self.skipped:
            return f"skip {self.name}  {self.skipped}"
        parts = [f"{'ok  ' if self.passed else 'FAIL'} {self.name}"]
        parts += [self._of_kind(worst) for worst in self.worst()] or ["nothing compared"]
        if self.n_parameters is not None:
            parts.append(f"{self.n_parameters:,} parameters")
        if self.unknown:
            parts.append(f"not compared: {', '.join(self.unknown)}")
        return "  ".join(parts)

    def _of_kind(self, worst: Difference) -> str:
        allowed = TOLERANCES[worst.kind]
        text = f"{worst.kind} {worst.value:{'.1e' if allowed else 'g'}}"
        if not worst.exceeds:
            return text
        names = [str(d) for d in self.differences if d.kind == worst.kind and d.exceeds]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{text} ABOVE {allowed:g} ({', '.join(names[:_NAMED])}{more})"


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _with_dimensions(tensor: Tensor, n: int) -> Tensor:
    """Without a first dimension of 1, or with one, when that gives `n`."""
    if tensor.ndim == n + 1 and len(tensor) == 1:
        return tensor[0]
    return tensor[None] if tensor.ndim == n - 1 else tensor


def _sample(ours: Tensor, shape: torch.Size, step: int | None) -> Tensor | None:
    """Every n-th of ours along each dimension, so that the shape fits; None when that cannot be.

    step: the usual one, None when the name has none.
    """
    if ours.ndim != len(shape):
        return None
    steps = [_step(n, m, step) for n, m in zip(ours.shape, shape, strict=True)]
    if None in steps or (step is None and steps and steps[0] != 1):
        return None
    return ours[tuple(slice(None, None, each) for each in steps)]


def _step(n: int, m: int, usual: int | None) -> int | None:
    """The step that leaves `m` of `n`: 1, the usual one, or the smallest that does."""
    fitting = [step for step in (1, usual or 1, *range(2, n + 1)) if -(-n // step) == m]
    return fitting[0] if fitting else None
