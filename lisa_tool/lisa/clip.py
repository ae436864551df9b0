"""CLIP as LISA's first eye: 256 patch features of a 224-pixel picture.

LISA reads an inner layer (the last but one), so the layers behind it are neither built nor run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from lisa_tool.errors import CheckpointInvalid

_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
)


def build_clip(config: Mapping[str, Any], layer: int) -> nn.Module:
    """CLIP's image half up to the layer that LISA reads; its keys are those below `vision_model.` on the hub.

    config: CLIP's config.json, of the whole or of the image half, as `clip_sizes` lets it pass.
    layer: index into the hidden states, of which the first is the embedding; -2 is the last but one.
    """
    vision = config.get("vision_config", config)
    n_layers = int(vision.get("num_hidden_layers", 12))
    n_needed = layer if layer >= 0 else n_layers + 1 + layer
    if not 0 < n_needed <= n_layers:
        raise CheckpointInvalid(f"LISA reads layer {layer} of CLIP, which has {n_layers} layers")
    fields = {name: vision[name] for name in _FIELDS if name in vision}
    model = CLIPVisionModel(CLIPVisionConfig(**fields | {"num_hidden_layers": n_needed}))
    inner: nn.Module = getattr(model, "vision_model", model)  # one module since transformers 5.2x
    return inner


def clip_module_key(clip: nn.Module, key: str) -> str | None:
    """This module's key for one of a CLIP folder; None for the text half and layers that are not built."""
    key = key.removeprefix("vision_model.")
    return key if key in clip.state_dict() else None


def clip_image_size(clip: nn.Module) -> int:
    """Side of the picture that it looks at, in pixels."""
    return int(clip.config.image_size)  # type: ignore[union-attr, arg-type]


def clip_n_patches(clip: nn.Module) -> int:
    """Patch features of one picture."""
    return (clip_image_size(clip) // int(clip.config.patch_size)) ** 2  # type: ignore[union-attr, arg-type]


def clip_features(clip: nn.Module, pixels: Tensor) -> Tensor:
    """(b, 3, 224, 224) normalised pixels -> (b, 256, width), without the class token."""
    weight = next(clip.parameters())
    features: Tensor = clip(pixels.to(weight.device, weight.dtype)).last_hidden_state[:, 1:]
    return features
