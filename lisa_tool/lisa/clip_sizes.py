"""The sizes of a CLIP vision tower, read from the config.json beside its weights."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lisa_tool.errors import CheckpointInvalid

LISA_N_PATCHES = 256
"""Of the CLIP of every LISA: the code that trains them counts on that many."""

_ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class ClipSizes:
    """A CLIP vision transformer; image and patch are squares, sides in pixels."""

    width: int
    depth: int
    mlp_width: int
    image_size: int
    patch_size: int

    @property
    def n_patches(self) -> int:
        """Patches of one image; each becomes a token of the language model."""
        return (self.image_size // self.patch_size) ** 2

    def n_parameters(self, layer: int) -> int:
        """Those up to a layer, an index into the hidden states as in `LisaConfig.clip_layer`."""
        n_layers = layer if layer >= 0 else self.depth + 1 + layer
        norm = 2 * self.width
        attention = 4 * (self.width + 1) * self.width  # query, key, value and output, with biases
        mlp = 2 * self.width * self.mlp_width + self.mlp_width + self.width
        embeddings = self.width * (1 + 3 * self.patch_size**2 + self.n_patches + 1)  # class, patch, position
        return embeddings + n_layers * (attention + mlp + 2 * norm) + 2 * norm


def clip_sizes(config: Mapping[str, Any]) -> ClipSizes:
    """The sizes in a CLIP's config.json, of the vision tower alone or of the whole model.

    Raises CheckpointInvalid where one is missing, or where a CLIP of these sizes cannot be built.
    """
    vision = config.get("vision_config", config)
    if not isinstance(vision, Mapping):
        raise _wrong("vision_config", vision, "an object")

    def number(field: str) -> int:
        value = vision.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise _wrong(field, value, "a whole number above 0")
        return value

    sizes = ClipSizes(
        width=number("hidden_size"),
        depth=number("num_hidden_layers"),
        mlp_width=number("intermediate_size"),
        image_size=number("image_size"),
        patch_size=number("patch_size"),
    )
    if sizes.width % number("num_attention_heads"):
        raise _wrong("num_attention_heads", vision["num_attention_heads"], f"a divisor of {sizes.width}")
    if sizes.n_patches < 1:
        raise _wrong("patch_size", sizes.patch_size, f"at most image_size = {sizes.image_size}")
    if (activation := vision.get("hidden_act", "quick_gelu")) not in _ACTIVATIONS:
        raise _wrong("hidden_act", activation, " or ".join(_ACTIVATIONS))
    epsilon = vision.get("layer_norm_eps", 1e-5)
    if not isinstance(epsilon, int | float) or not 0 < epsilon < math.inf:
        raise _wrong("layer_norm_eps", epsilon, "a number above 0")
    return sizes


def _wrong(field: str, value: object, expected: str) -> CheckpointInvalid:
    return CheckpointInvalid(f"CLIP's config.json has {field} = {reprlib.repr(value)}, expected {expected}")
