"""What the model sees of an image, computed once: CLIP's tokens, SAM's embedding, in bounded caches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lisa_tool.engine.cache import ByteBoundedCache
from lisa_tool.engine.call import Call
from lisa_tool.images import LoadedImage
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.processing import ClipFit, clip_pixels, sam_pixels


@dataclass(frozen=True)
class Embedding:
    """SAM's image embedding, (1, 256, 64, 64), and the image's size inside the padded square."""

    embedding: Tensor
    resized_hw: tuple[int, int]


class Sight:
    """The encoders of one model and what they gave. An image is known by the sha256 of its bytes."""

    def __init__(self, max_bytes: int, clip_fit: ClipFit) -> None:
        self._clip_fit = clip_fit
        self._tokens: ByteBoundedCache[Tensor] = ByteBoundedCache(max_bytes // 2)
        self._embeddings: ByteBoundedCache[Embedding] = ByteBoundedCache(max_bytes // 2)

    def tokens(self, loaded: Loaded, image: LoadedImage, call: Call) -> Tensor:
        """CLIP's view of the image for the language model, (1, 256, hidden)."""
        tokens = self._tokens.get(image.info.sha256)
        call.looked_up("image tokens", hit=tokens is not None)
        if tokens is None:
            with call.stage("looking at the image", 0.15):
                pixels = clip_pixels(image.rgb, fit=self._clip_fit, size=loaded.clip_size)
                tokens = loaded.model.embed_clip(torch.from_numpy(pixels))
            call.image_encodes += 1
            self._tokens.put(image.info.sha256, tokens, tokens.nbytes)
        return tokens

    def embedding(self, loaded: Loaded, image: LoadedImage, call: Call) -> Embedding:
        """SAM's view of the image."""
        kept = self._embeddings.get(image.info.sha256)
        call.looked_up("image embedding", hit=kept is not None)
        if kept is None:
            with call.stage("encoding the image", 0.6):
                pixels, resized_hw = sam_pixels(image.rgb, loaded.model.config.sam.image_size)
                embedding = loaded.model.sam.embed_image(torch.from_numpy(pixels).to(loaded.sam_device))
                kept = Embedding(embedding, resized_hw)
            call.image_encodes += 1
            self._embeddings.put(image.info.sha256, kept, embedding.nbytes)
        return kept

    def forget(self) -> None:
        """Let go of all of it."""
        self._tokens.clear()
        self._embeddings.clear()
