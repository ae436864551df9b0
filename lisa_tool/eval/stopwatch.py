"""What an answer has cost by each of its tokens: seconds, and runs of the networks.

A loop's first n steps are those of an answer of n tokens, so one long answer measures all shorter ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lisa_tool.lisa.generate import Stopping
from lisa_tool.lisa.model import LisaModel

LARGEST_SHORTFALL = 0.5
"""In 16 bit and less, how far below its own first choice a path may see the other's; see `Agreement`."""


@dataclass(frozen=True)
class Clock:
    """Seconds of the processor on a CPU, which other programs disturb least; on a GPU seconds of the wall."""

    device: torch.device

    def __call__(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    @property
    def unit(self) -> str:
        """What it counts."""
        return "seconds" if self.device.type == "cuda" else "CPU seconds"


@dataclass
class Runs:
    """How often the networks have run. llm_positions: over how many positions the language model went."""

    clip_runs: int = 0
    llm_runs: int = 0
    llm_positions: int = 0


@contextmanager
def counted(model: LisaModel) -> Iterator[Runs]:
    """The runs so far, which grow while the body runs."""
    runs = Runs()

    def saw_clip(*_: object) -> None:
        runs.clip_runs += 1

    def saw_llm(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        runs.llm_runs += 1
        runs.llm_positions += kwargs["inputs_embeds"].shape[1]

    hooks = [
        model.clip.register_forward_pre_hook(saw_clip),
        model.llm.model.register_forward_pre_hook(saw_llm, with_kwargs=True),
    ]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class Cost:
    """Of an answer up to some token, from an image and a prompt on."""

    seconds: float
    clip_runs: int
    llm_runs: int
    llm_positions: int


class Watch:
    """The chooser of one answer: it takes `script`, or else the most probable token that does not end it.

    Its clock starts when it is made. costs: up to each token. logits: (vocabulary,) that it was asked with.
    """

    def __init__(
        self,
        clock: Clock,
        runs: Runs,
        stopping: Stopping,
        script: Sequence[int] | None = None,
        on_token: Callable[[int], None] = lambda n_tokens: None,
    ) -> None:
        self.costs: list[Cost] = []
        self.token_ids: list[int] = []
        self.logits: list[Tensor] = []
        self._clock, self._runs = clock, runs
        self._script, self._on_token = script, on_token
        self._forbidden = torch.tensor([stopping.eos_id, stopping.seg_id], device=clock.device)
        self._before = Runs(**vars(runs))
        self._start = clock()

    def __call__(self, logits: Tensor, step: int) -> int:
        token_id = self._script[step] if self._script else int(_allowed(logits, self._forbidden).argmax())
        self.token_ids.append(token_id)
        self.logits.append(logits)
        self.costs.append(
            Cost(
                self._clock() - self._start,
                self._runs.clip_runs - self._before.clip_runs,
                self._runs.llm_runs - self._before.llm_runs,
                self._runs.llm_positions - self._before.llm_positions,
            )
        )
        self._on_token(len(self.token_ids))
        return token_id

    def agreement(self) -> Agreement:
        """How far what it was asked with agrees with the tokens taken."""
        logits = torch.stack(self.logits)  # (n, vocabulary)
        best, choice = _allowed(logits, self._forbidden).max(-1)
        taken = torch.tensor(self.token_ids, device=logits.device)
        shortfall = (best - logits.gather(-1, taken[:, None])[:, 0]) / logits.std(-1)
        return Agreement(len(taken), int((choice == taken).sum()), float(shortfall.max()))


@dataclass(frozen=True)
class Agreement:
    """Of a path that was made to take another's tokens.

    same: at how many of the `tokens` its own first choice was the same. shortfall: at worst, how far the
    token that it had to take lay below that choice, in standard deviations of its logits: 0 when all are the
    same, about 4 for tokens that have nothing to do with it.
    """

    tokens: int
    same: int
    shortfall: float

    def holds(self, dtype: torch.dtype) -> bool:
        """Whether both give one answer: in float32 exactly, else but for near-ties that rounding tips."""
        if dtype == torch.float32:
            return self.same == self.tokens
        return self.shortfall <= LARGEST_SHORTFALL


def cheapest(watches: Sequence[Watch], n_tokens: int) -> Cost:
    """The quickest of several rounds up to a token."""
    return min((watch.costs[n_tokens - 1] for watch in watches), key=lambda cost: cost.seconds)


def _allowed(logits: Tensor, forbidden: Tensor) -> Tensor:
    return logits.index_fill(-1, forbidden, -torch.inf)
