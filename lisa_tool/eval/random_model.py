"""Models of random weights, and questions for them: everything that speed depends on, and no checkpoint.

How long an answer takes depends on sizes, precision and lengths, not on what the weights have learned. A
model is made where it will run and in the type it is kept in, so that 13B needs no room for a larger copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lisa_tool.lisa.checkpoint.weights import empty, set_weight
from lisa_tool.lisa.clip import clip_image_size
from lisa_tool.lisa.clip_sizes import ClipSizes
from lisa_tool.lisa.config import LisaConfig, LlamaSizes
from lisa_tool.lisa.generate import Stopping
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.precision import Policy, quantized_linear
from lisa_tool.lisa.published import CLIP_VIT_L_14, LISA_7B, LISA_13B, SAM_VIT_H
from lisa_tool.lisa.tensors import checkpoint_shapes
from lisa_tool.lisa.tokenizer import IMAGE_TOKEN_INDEX

WORDS_BEFORE, WORDS_AFTER = 35, 25
"""Token ids of a usual prompt around its image: system text and <im_start>; <im_end> and the question."""

WORDS_AFTER_SHARED = 1  # <im_end> follows the image whatever the question is

_CLIP_HEAD_WIDTH = 64  # in every published CLIP
_FIRST_WORD = 3  # below are <unk>, <s> and </s>


@dataclass(frozen=True)
class Size:
    """All sizes of one model."""

    name: str
    config: LisaConfig
    clip: ClipSizes

    @property
    def real_sam(self) -> bool:
        """Whether its SAM is the published one, so that seconds of whole questions mean something."""
        return self.config.sam == SAM_VIT_H

    @property
    def n_parameters(self) -> int:
        """Of all networks; SAM's fixed positions are counted as well."""
        shapes = checkpoint_shapes(self.config).values()
        return sum(map(prod, shapes)) + self.clip.n_parameters(self.config.clip_layer)

    @property
    def prompt_positions(self) -> int:
        """Positions of a usual prompt."""
        return WORDS_BEFORE + self.clip.n_patches + WORDS_AFTER

    @property
    def shared_positions(self) -> int:
        """Those that every question about the same image begins with."""
        return WORDS_BEFORE + self.clip.n_patches + WORDS_AFTER_SHARED


@dataclass(frozen=True)
class Questions:
    """Two questions about one image, on the model's device.

    first, second: token ids with one IMAGE_TOKEN_INDEX. clip_pixels: (1, 3, 224, 224). sam_pixels:
    (1, 3, 1024, 1024).
    """

    first: list[int]
    second: list[int]
    clip_pixels: Tensor
    sam_pixels: Tensor


def clip_config(sizes: ClipSizes) -> dict[str, Any]:
    """The config.json of a CLIP vision tower."""
    return {
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp_width,
        "num_hidden_layers": sizes.depth,
        "num_attention_heads": sizes.width // _CLIP_HEAD_WIDTH,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "hidden_act": "quick_gelu",
    }


@torch.no_grad()
def random_model(size: Size, policy: Policy, device: torch.device, *, seed: int = 0) -> LisaModel:
    """A model as `policy` keeps it on `device`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # SAM draws a buffer
        model = empty(lambda: LisaModel(size.config, clip_config(size.clip))).eval()
    for key, buffer in list(model.named_buffers()):
        set_weight(model, key, buffer.to(device))
    generator = torch.Generator(device).manual_seed(seed)
    for key, parameter in list(model.named_parameters()):
        values = torch.empty(parameter.shape, dtype=policy.dtype_of(key), device=device)
        if parameter.ndim > 1:  # as wide as keeps what goes through it, so that every part has a say
            values.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            values.fill_(key.endswith(".weight"))  # of a norm; the others are biases
        path = key.rpartition(".")[0]
        module = model.get_submodule(path)
        if policy.quantizes(key, module, device):
            assert isinstance(module, nn.Linear)
            model.set_submodule(path, quantized_linear(module, values.cpu(), policy, device))
        else:
            set_weight(model, key, values)
    return model


def random_questions(model: LisaModel, *, seed: int = 0) -> Questions:
    """Two questions of usual length about an image of noise."""
    draw = torch.Generator().manual_seed(seed)
    n_words = WORDS_BEFORE + 2 * WORDS_AFTER - WORDS_AFTER_SHARED
    ids = torch.randint(_FIRST_WORD, model.config.llama.vocab_size, (n_words,), generator=draw).tolist()
    shared = [*ids[:WORDS_BEFORE], IMAGE_TOKEN_INDEX, *ids[WORDS_BEFORE : WORDS_BEFORE + WORDS_AFTER_SHARED]]
    rest = ids[WORDS_BEFORE + WORDS_AFTER_SHARED :]
    n_rest = WORDS_AFTER - WORDS_AFTER_SHARED
    clip_side, sam_side = clip_image_size(model.clip), model.config.sam.image_size
    return Questions(
        first=shared + rest[:n_rest],
        second=shared + rest[n_rest:],
        clip_pixels=torch.randn(1, 3, clip_side, clip_side, generator=draw).to(model.device),
        sam_pixels=torch.randn(1, 3, sam_side, sam_side, generator=draw).to(model.device),
    )


def stopping_after(model: LisaModel, n_tokens: int) -> Stopping:
    """An answer of at most `n_tokens`; the last id of the vocabulary stands for [SEG]."""
    return Stopping(model.config.eos_token_id, model.config.llama.vocab_size - 1, n_tokens)


def _llama(width: int, n_layers: int, n_heads: int, mlp_width: int, vocab_size: int) -> LlamaSizes:
    return LlamaSizes(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=mlp_width,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        rms_norm_eps=1e-6,
        rope_theta=10_000.0,
        max_positions=2048,
    )


_SMALL_SAM = replace(
    SAM_VIT_H,
    image_size=256,
    grid=16,
    width=192,
    depth=4,
    n_heads=4,
    mlp_width=768,
    window=7,
    global_blocks=(1, 3),
)
_SMALL_CLIP = replace(CLIP_VIT_L_14, width=64, depth=3, mlp_width=256)
_SMALL_LLAMA = _llama(width=64, n_layers=2, n_heads=4, mlp_width=192, vocab_size=512)
_MID_LLAMA = _llama(width=1024, n_layers=12, n_heads=16, mlp_width=2752, vocab_size=32_003)

SIZES = {
    size.name: size
    for size in (
        Size("small", replace(LISA_7B, llama=_SMALL_LLAMA, sam=_SMALL_SAM, clip_width=64), _SMALL_CLIP),
        Size("mid", replace(LISA_7B, llama=_MID_LLAMA, sam=_SMALL_SAM), CLIP_VIT_L_14),
        Size("7b", LISA_7B, CLIP_VIT_L_14),
        Size("13b", LISA_13B, CLIP_VIT_L_14),
    )
}
"""Name -> sizes. `mid` is what a CPU can bear: CLIP as published, a language model of 220 M parameters."""
