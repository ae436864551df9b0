"""Answer as the reference does: for every token CLIP again, and the language model over the whole sequence.

This is the slow path that the fast one (`lisa_tool.lisa.generate`) is held to, and the benchmark's baseline.
It is an explicit loop: transformers' `generate(use_cache=False)` does not recompute anything when it is given
embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lisa_tool.lisa.generate import Chooser, Stopping, greedy
from lisa_tool.lisa.model import LisaModel


@dataclass(frozen=True)
class UncachedAnswer:
    """What the loop computed.

    token_ids: the new ones. logits: (n, vocabulary) that chose them. hidden: (length, hidden) of the last
    step, which never saw the last token. seg_positions: where in `hidden` stands what predicted each [SEG];
    those of the prompt come first. seg_states: (n_segs, hidden) from there.
    """

    token_ids: list[int]
    logits: Tensor
    hidden: Tensor
    seg_positions: list[int]
    seg_states: Tensor


@torch.inference_mode()
def answer_uncached(
    model: LisaModel,
    ids: Sequence[int],
    clip_pixels: Tensor,
    stopping: Stopping,
    *,
    choose: Chooser = greedy,
) -> UncachedAnswer:
    """Answer one prompt with one image; see LISA.py, `evaluate`, of the reference."""
    output = list(ids)
    logits: list[Tensor] = []
    while True:
        step = model.step(model.embed_prompt(output, model.embed_clip(clip_pixels)))
        logits.append(step.logits[0])
        output.append(choose(step.logits[0], len(logits) - 1))
        if output[-1] == stopping.eos_id or len(logits) >= stopping.max_new_tokens:
            break
    hidden = step.hidden[0]
    # One placeholder became many positions; and it is the position before [SEG] that predicted it.
    shift = model.n_image_tokens - 1 - 1
    positions = [i + shift for i, id_ in enumerate(output) if id_ == stopping.seg_id]
    return UncachedAnswer(output[len(ids) :], torch.stack(logits), hidden, positions, hidden[positions])
