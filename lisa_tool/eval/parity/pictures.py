"""The recorded images, and what the model sees in each: computed once, whatever number of cases ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lisa_tool.eval.parity.recording import Recording, Tensors
from lisa_tool.images import load_image
from lisa_tool.lisa.clip import clip_features
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.processing import clip_pixels, sam_pixels
from lisa_tool.settings import Settings


@dataclass(frozen=True)
class Picture:
    """One image and what the model sees of it.

    rgb: uint8 (height, width, 3). clip: (1, 3, 224, 224). features: (1, 256, width), CLIP's. tokens:
    (1, 256, hidden). embedding: (1, 256, 64, 64), SAM's. inner: outputs of SAM's encoder on the way to it.
    resized_hw: the image's size in SAM's square.
    """

    rgb: NDArray[np.uint8]
    clip: Tensor
    features: Tensor
    tokens: Tensor
    embedding: Tensor
    inner: Tensors
    resized_hw: tuple[int, int]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width."""
        height, width, _ = self.rgb.shape
        return height, width


class Pictures:
    """`pictures["landscape"]`, each looked at once."""

    def __init__(self, recording: Recording, loaded: Loaded, settings: Settings) -> None:
        self._recording, self._loaded, self._settings = recording, loaded, settings
        self._seen: dict[str, Picture] = {}

    def __getitem__(self, name: str) -> Picture:
        if name not in self._seen:
            self._seen[name] = self._look_at(name)
        return self._seen[name]

    def rgb(self, name: str) -> NDArray[np.uint8]:
        """The pixels alone, uint8 (height, width, 3). Raises an ImageError."""
        return load_image(self._recording.beside("images") / f"{name}.png", self._settings).rgb

    @torch.inference_mode()
    def _look_at(self, name: str) -> Picture:
        model, rgb = self._loaded.model, self.rgb(name)
        clip = torch.from_numpy(clip_pixels(rgb, size=self._loaded.clip_size))
        sam, resized_hw = sam_pixels(rgb, model.config.sam.image_size)
        with outputs_of(self._inner) as outputs:
            embedding = model.sam.embed_image(torch.from_numpy(sam))
        features, tokens = clip_features(model.clip, clip), model.embed_clip(clip)
        return Picture(rgb, clip, features, tokens, embedding, outputs(), resized_hw)

    @cached_property
    def _inner(self) -> dict[str, nn.Module]:
        encoder = self._loaded.model.sam.image_encoder
        blocks = {f"sam_block{i}_out": block for i, block in enumerate(encoder.blocks)}
        return {"sam_patch_embed": encoder.patch_embed} | blocks


@contextmanager
def outputs_of(modules: Mapping[str, nn.Module]) -> Iterator[Callable[[], Tensors]]:
    """Keep what modules give while the body runs; the function returns it, by name.

    Of a module that runs several times, all is joined. One that gives several tensors has them as `NAME.0`,
    `NAME.1`, and so on, the first as NAME too.
    """
    kept: dict[str, list[Tensor]] = {}

    def keeper(name: str) -> Callable[[nn.Module, object, Any], None]:
        def keep(module: nn.Module, inputs: object, output: Any) -> None:
            parts = output if isinstance(output, tuple) else (output,)
            for i, part in enumerate(parts):
                if isinstance(part, Tensor):
                    kept.setdefault(f"{name}.{i}", []).append(part)

        return keep

    def outputs() -> Tensors:
        joined = {name: torch.cat(parts) for name, parts in kept.items()}
        return joined | {
            name.removesuffix(".0"): value for name, value in joined.items() if name.endswith(".0")
        }

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(keeper(name)))
        yield outputs
