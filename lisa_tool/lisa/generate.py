"""Generate an answer, and keep the state that predicted each [SEG].

It knows token ids and states, no text and no pictures. One prefill, then one position a token; the state that
becomes a mask is at hand the moment [SEG] is chosen, so nothing is computed twice. The reference computes
the whole sequence again for every token: `lisa_tool.eval.uncached` is that loop, and tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lisa_tool.errors import NotFinite
from lisa_tool.lisa.model import LisaModel, Step, new_cache
from lisa_tool.lisa.prefix import KeyValues

Chooser = Callable[[Tensor, int], int]
"""Picks a token id from logits, float32 (vocabulary,), at a step counted from 0."""


@dataclass(frozen=True)
class Seg:
    """One [SEG] of an answer.

    index: its place among the new tokens. state: (hidden,), the final hidden state that predicted it.
    probability: of [SEG] at the step that chose it.
    """

    index: int
    state: Tensor
    probability: float


@dataclass
class Generation:
    """One answer: its token ids with the end of sequence if it came, and what led to each [SEG].

    finish: `stop` at the end of sequence, `seg` at the first [SEG] when that was wanted, else `length`.
    """

    token_ids: list[int] = field(default_factory=list)
    segs: list[Seg] = field(default_factory=list)
    finish: str = "length"


@dataclass(frozen=True)
class Stopping:
    """When an answer ends."""

    eos_id: int
    seg_id: int
    max_new_tokens: int
    at_first_seg: bool = False


def greedy(logits: Tensor, step: int) -> int:
    """The most probable token."""
    return int(logits.argmax())


@torch.inference_mode()
def generate(
    model: LisaModel,
    embedded: Tensor,
    stopping: Stopping,
    *,
    prefix: KeyValues | None = None,
    choose: Chooser = greedy,
    on_token: Callable[[int], None] = lambda token_id: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Generation, KeyValues]:
    """Answer one prompt.

    embedded: (1, length, hidden), the prompt after what `prefix` holds. on_token: called with each new id.
    check: called before each step; it raises to stop. Returns the answer, and the keys and values of prompt
    and answer but its last token, for a later prompt that begins alike. Raises NotFinite on overflow.
    """
    cache = prefix.to_cache() if prefix else new_cache()
    check()
    step = model.step(embedded, cache)
    answer = Generation()
    _extend(answer, step, 0, stopping, choose)
    on_token(answer.token_ids[-1])
    while not _ended(answer, stopping):
        check()
        step = model.step(model.embed_prompt(answer.token_ids[-1:], None), cache)
        _extend(answer, step, 0, stopping, choose)
        on_token(answer.token_ids[-1])
    return answer, KeyValues.of(cache)


@torch.inference_mode()
def generate_batch(
    model: LisaModel,
    prompts: Sequence[Tensor],
    stopping: Stopping,
    *,
    choose: Chooser = greedy,
    check: Callable[[], None] = lambda: None,
) -> list[Generation]:
    """Answer several prompts at once, each (1, length, hidden), padded on the left to one length.

    The answers equal those of `generate`, one by one. Rows that have ended go on unread until all have.
    """
    lengths = [prompt.shape[1] for prompt in prompts]
    longest = max(lengths)
    rows = [
        torch.nn.functional.pad(prompt, (0, 0, longest - n, 0))
        for prompt, n in zip(prompts, lengths, strict=True)
    ]
    embedded = torch.cat(rows)  # (b, longest, hidden)
    start = torch.tensor([longest - n for n in lengths], device=embedded.device)[:, None]  # (b, 1)
    steps = torch.arange(longest, device=embedded.device)[None]  # (1, longest)
    mask = (steps >= start).long()
    positions = (steps - start).clamp(min=0)
    cache = new_cache()
    answers = [Generation() for _ in prompts]
    check()
    step = model.step(embedded, cache, mask, positions)
    while True:
        for row, answer in enumerate(answers):
            if not _ended(answer, stopping):
                _extend(answer, step, row, stopping, choose)
        if all(_ended(answer, stopping) for answer in answers):
            return answers
        check()
        last = torch.tensor([[answer.token_ids[-1]] for answer in answers], device=embedded.device)
        mask = torch.cat([mask, mask.new_ones(len(answers), 1)], dim=1)
        positions = positions[:, -1:] + 1
        step = model.step(model.llm.model.embed_tokens(last), cache, mask, positions)


@torch.inference_mode()
def predict_seg(
    model: LisaModel, embedded: Tensor, seg_id: int, *, prefix: KeyValues | None = None
) -> tuple[Seg, KeyValues]:
    """A mask without words: one prefill, and the state that would predict [SEG] as the first token.

    The reference's own validation works so: it forces the answer "[SEG]." (utils/dataset.py).
    """
    cache = prefix.to_cache() if prefix else new_cache()
    step = model.step(embedded, cache)
    probability = _probability(step.logits[0], seg_id)
    return Seg(0, step.hidden[0, -1], probability), KeyValues.of(cache)


def _extend(answer: Generation, step: Step, row: int, stopping: Stopping, choose: Chooser) -> None:
    """Choose the next token of one row and note what came of it."""
    logits = step.logits[row]
    token_id = choose(logits, len(answer.token_ids))
    answer.token_ids.append(token_id)
    if not math.isfinite(float(logits[token_id])):
        raise NotFinite("the language model's numbers overflowed")
    if token_id == stopping.seg_id:
        probability = _probability(logits, token_id)
        answer.segs.append(Seg(len(answer.token_ids) - 1, step.hidden[row, -1], probability))


def _ended(answer: Generation, stopping: Stopping) -> bool:
    """Whether an answer is complete; says why in `finish`."""
    if answer.token_ids and answer.token_ids[-1] == stopping.eos_id:
        answer.finish = "stop"
        return True
    if stopping.at_first_seg and answer.segs:
        answer.finish = "seg"
        return True
    return len(answer.token_ids) >= stopping.max_new_tokens


def _probability(logits: Tensor, token_id: int) -> float:
    probability = float(logits.softmax(-1)[token_id])
    if not math.isfinite(probability):
        raise NotFinite("the language model's numbers overflowed")
    return probability
