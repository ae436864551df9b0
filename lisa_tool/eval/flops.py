"""Floating-point operations of one question, counted on the real modules and not estimated.

The modules are built on the meta device, which keeps shapes and no numbers, so that 13B is counted in seconds
on any machine. A multiply-add is two operations; attention counts every pair of positions, masked or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lisa_tool.eval.random_model import Size, clip_config
from lisa_tool.lisa.model import LisaModel, new_cache

_META = torch.device("meta")


@dataclass(frozen=True)
class StepFlops:
    """Of the language model for `new` positions after `kept` ones: exact, as every operator is one of three.

    per_position: of its linear layers. per_pair: of attention, for a new position and one that it may look
    at. per_call: of lm_head, which sees the last position only.
    """

    per_position: int
    per_pair: int
    per_call: int

    def __call__(self, new: int, kept: int = 0) -> int:
        return self.per_call + new * (self.per_position + self.per_pair * (new + kept))


@dataclass(frozen=True)
class QuestionFlops:
    """Of a question with one mask, at any length of its answer.

    clip: with mm_projector. sam: its image encoder. mask: text_hidden_fcs and the mask decoder. prompt: its
    positions, the first `shared` of which are those of every question about the same image.
    """

    clip: int
    sam: int
    mask: int
    step: StepFlops
    prompt: int
    shared: int

    def reference(self, n_tokens: int) -> int:
        """For each token CLIP and the whole sequence.

        At least: its lm_head sees all positions and text_hidden_fcs too, which is left out here.
        """
        language = sum(self.clip + self.step(self.prompt + i) for i in range(n_tokens))
        return language + self.sam + self.mask

    def ours(self, n_tokens: int) -> int:
        """Nothing kept from before."""
        return self.clip + self.sam + self.image_kept(n_tokens)

    def image_kept(self, n_tokens: int) -> int:
        """Another question about an image that CLIP and SAM have seen."""
        return self.step(self.prompt) + self._decoding(n_tokens) + self.mask

    def prefix_kept(self, n_tokens: int) -> int:
        """The same with the keys and values of what its prompt shares with the one before."""
        return self.step(self.prompt - self.shared, self.shared) + self._decoding(n_tokens) + self.mask

    def mask_only(self) -> int:
        """A mask without words, nothing kept from before."""
        return self.ours(1)

    def mask_only_kept(self) -> int:
        """A mask without words about an image that was asked about before."""
        return self.prefix_kept(1)

    def _decoding(self, n_tokens: int) -> int:
        return sum(self.step(1, self.prompt + i) for i in range(n_tokens - 1))


@cache
def question_flops(size: Size) -> QuestionFlops:
    """Count one model; takes seconds."""
    with _META:
        model = LisaModel(size.config, clip_config(size.clip)).eval()
    sam = size.config.sam
    states = torch.empty(1, size.config.llama.hidden_size, device=_META)
    embedding = torch.empty(1, sam.embed_width, sam.grid, sam.grid, device=_META)
    return QuestionFlops(
        clip=flops_of(lambda: model.embed_clip(_pixels(size.clip.image_size))),
        sam=flops_of(lambda: model.sam.embed_image(_pixels(sam.image_size))),
        mask=flops_of(lambda: model.decode_masks(states, embedding)),
        step=_step_flops(model),
        prompt=size.prompt_positions,
        shared=size.shared_positions,
    )


def flops_of(run: Callable[[], object]) -> int:
    """What one call computes, on any device."""
    # As plain products: the fused kernels for CPUs are unknown to the counter.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _step_flops(model: LisaModel) -> StepFlops:
    """Three counts for three unknowns."""
    one, one_after_one, two = (_count_step(model, new, kept) for new, kept in ((1, 0), (1, 1), (2, 0)))
    per_pair = one_after_one - one
    per_position = two - one - 3 * per_pair  # two positions are four pairs
    return StepFlops(per_position, per_pair, one - per_position - per_pair)


def _count_step(model: LisaModel, new: int, kept: int) -> int:
    llama = model.config.llama
    shape = (1, llama.n_kv_heads, kept, llama.hidden_size // llama.n_heads)
    past = new_cache()
    for layer in range(llama.n_layers if kept else 0):
        past.update(torch.empty(shape, device=_META), torch.empty(shape, device=_META), layer)
    embedded = torch.empty(1, new, llama.hidden_size, device=_META)
    # A mask in its final form: transformers would look into one that it has to make.
    mask = torch.ones(1, 1, new, kept + new, dtype=torch.bool, device=_META)
    positions = torch.arange(kept, kept + new, device=_META)[None]
    return flops_of(lambda: model.step(embedded, past, mask, positions))


def _pixels(side: int) -> Tensor:
    return torch.empty(1, 3, side, side, device=_META)
