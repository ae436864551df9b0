"""LISA: a language model that sees, joined to Segment Anything.

    pixels -> clip -> mm_projector -> image tokens -> llm -> the state that predicts [SEG]
    pixels -> sam.embed_image ----------------------------------> sam.decode -> mask logits
                                 text_hidden_fcs(that state) -------^

Each costly step is a method of its own, so that caches, tests and benchmarks have a seam. (Lai et al., LISA:
Reasoning Segmentation via Large Language Model, 2023.)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from lisa_tool.lisa.clip import build_clip, clip_features, clip_n_patches
from lisa_tool.lisa.config import LisaConfig, LlamaSizes
from lisa_tool.lisa.sam import Sam
from lisa_tool.lisa.tokenizer import IMAGE_TOKEN_INDEX

# transformers 5.24 renamed this argument.
_CACHE = "cache" if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters else "past_key_values"


@dataclass(frozen=True)
class Step:
    """What the language model makes of some positions, (b, length, ...): final hidden states and logits.

    `logits` belong to the last position only, (b, vocabulary), float32.
    """

    hidden: Tensor
    logits: Tensor


class LisaModel(nn.Module):
    """All of LISA. Its state keys relate to a checkpoint's through `keymap`."""

    def __init__(self, config: LisaConfig, clip_config: Mapping[str, Any]) -> None:
        super().__init__()
        hidden = config.llama.hidden_size
        self.config = config
        self.llm = LlamaForCausalLM(_llama_config(config.llama))
        self.clip = build_clip(clip_config, config.clip_layer)
        self.mm_projector = nn.Linear(config.clip_width, hidden)
        self.text_hidden_fcs = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, config.sam.embed_width)
        )
        self.sam = Sam(config.sam)

    @property
    def device(self) -> torch.device:
        """Where the language model's input goes."""
        weight: Tensor = self.llm.model.embed_tokens.weight
        return weight.device

    @property
    def n_image_tokens(self) -> int:
        """Positions that one picture takes in a prompt."""
        return clip_n_patches(self.clip)

    def embed_clip(self, pixels: Tensor) -> Tensor:
        """(b, 3, 224, 224) normalised pixels -> image tokens (b, 256, hidden)."""
        bias = self.mm_projector.bias  # the weight may be quantised
        tokens: Tensor = self.mm_projector(clip_features(self.clip, pixels).to(bias.device, bias.dtype))
        return tokens

    def embed_prompt(self, ids: Sequence[int], image_tokens: Tensor | None) -> Tensor:
        """Token ids, in which one IMAGE_TOKEN_INDEX stands for all image tokens -> (1, length, hidden).

        image_tokens: (1, 256, hidden). None when `ids` hold no image slot.
        """
        plain = [id_ for id_ in ids if id_ != IMAGE_TOKEN_INDEX]
        embedded: Tensor = self.llm.model.embed_tokens(torch.tensor([plain], device=self.device))
        if image_tokens is None:
            assert len(plain) == len(ids)
            return embedded
        slot = list(ids).index(IMAGE_TOKEN_INDEX)
        assert len(plain) == len(ids) - 1
        tokens = image_tokens.to(embedded.device, embedded.dtype)
        return torch.cat([embedded[:, :slot], tokens, embedded[:, slot:]], dim=1)

    def step(
        self,
        embedded: Tensor,
        cache: DynamicCache | None = None,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Step:
        """Run the language model over (b, length, hidden), after what `cache` holds, and add to it.

        mask: (b, length so far) of 1 for real positions, for a padded batch. positions: (b, length) with it.
        """
        output = self.llm.model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions,
            use_cache=cache is not None,
            **{_CACHE: cache},
        )
        hidden: Tensor = output.last_hidden_state
        head = self.llm.lm_head
        return Step(hidden, head(hidden[:, -1]).float())

    def mask_prompts(self, states: Tensor) -> Tensor:
        """The states that predicted each [SEG], (n, hidden) -> the decoder's prompts (n, 256), float32."""
        bias: Tensor = self.text_hidden_fcs[0].bias  # type: ignore[assignment]
        prompts: Tensor = self.text_hidden_fcs(states.to(bias.device, bias.dtype))
        return prompts.float()

    def decode_masks(self, states: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """The states that predicted each [SEG], (n, hidden) -> mask logits (n, 1, 256, 256), IoUs (n, 1)."""
        return self.sam.decode(self.mask_prompts(states).to(embedding.device), embedding)


def new_cache() -> DynamicCache:
    """An empty key-value cache for `LisaModel.step`."""
    return DynamicCache()


def _llama_config(sizes: LlamaSizes) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.n_layers,
        num_attention_heads=sizes.n_heads,
        num_key_value_heads=sizes.n_kv_heads,
        rms_norm_eps=sizes.rms_norm_eps,
        max_position_embeddings=sizes.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        tie_word_embeddings=False,
    )
