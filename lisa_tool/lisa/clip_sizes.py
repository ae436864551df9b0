"""The sizes of a CLIP vision tower, read from the config.json beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lisa_tool.errors import CheckpointInvalid


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

    Raises CheckpointInvalid where one is missing.
    """
    vision = config.get("vision_config", config)

    def number(field: str) -> int:
        value = vision.get(field) if isinstance(vision, Mapping) else None
        if not isinstance(value, int) or value <= 0:
            raise CheckpointInvalid(f"CLIP's config.json has {field} = {value!r}, expected a number above 0")
        return value

    return ClipSizes(
        width=number("hidden_size"),
        depth=number("num_hidden_layers"),
        mlp_width=number("intermediate_size"),
        image_size=number("image_size"),
        patch_size=number("patch_size"),
    )
