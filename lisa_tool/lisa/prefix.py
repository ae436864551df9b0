"""Keys and values of a prompt, kept so that a later prompt that begins alike need not be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import DynamicCache

from lisa_tool.lisa.tokenizer import IMAGE_TOKEN_INDEX


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of each layer, each (b, heads, positions, head width)."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, cache: DynamicCache) -> KeyValues:
        """What a cache holds now. Nothing is copied: a cache grows by new tensors, not in place."""
        layers: list[Any] = cache.layers
        return cls(tuple((layer.keys, layer.values) for layer in layers))

    def to_cache(self) -> DynamicCache:
        """A cache that begins with these and may grow without changing them."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, index)
        return cache

    def first(self, n_positions: int) -> KeyValues:
        """The first positions only."""
        return KeyValues(tuple((k[:, :, :n_positions], v[:, :, :n_positions]) for k, v in self.layers))

    def copy(self) -> KeyValues:
        """The same in memory of its own: a part of a larger one keeps all of it alive."""
        return KeyValues(tuple((k.clone(), v.clone()) for k, v in self.layers))

    @property
    def n_positions(self) -> int:
        """Positions of the prompt that are covered."""
        return self.layers[0][0].shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


def common_prefix(ids: Sequence[int], other: Sequence[int]) -> int:
    """How many leading token ids two prompts share, the image slot included; 0 when it is not among them.

    A prefix that ends before the image saves next to nothing, and the last id of `ids` is never part of it:
    at least one position must be computed to predict the next token.
    """
    n = 0
    for a, b in zip(ids[:-1], other, strict=False):
        if a != b:
            break
        n += 1
    return n if IMAGE_TOKEN_INDEX in ids[:n] else 0
