"""What a picture shows, in ImageNet's 1000 kinds: EfficientNet-lite2, for crops or all places of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.lite.sessions import Session, weights_file

Floats = NDArray[np.float32]

SIDE: Final = 260  # pixels; what the model was trained on
STRIDE: Final = 32  # pixels between two places of `dense`


class Classifier:
    def __init__(self) -> None:
        self._session = Session("classifier.onnx")

    def classify(self, crops: Sequence[NDArray[np.uint8]]) -> Floats:
        """Probabilities (n, 1000), in the order of `imagenet_labels`.

        crops: RGB uint8 (height, width, 3) each, of any size; squeezed to 260x260, so near-square crops do
        best.
        """
        probabilities = np.zeros((len(crops), 1000), np.float32)
        for i, crop in enumerate(crops):  # a batch would take longer
            (logits,) = self._session.run(["logits"], {"image": _resize(crop, SIDE, SIDE)[None]})
            probabilities[i] = _softmax(logits[0])
        return probabilities

    def dense(self, rgb: NDArray[np.uint8], long_side: int = 512) -> Floats:
        """Probabilities (h, w, 1000) at places 32 pixels apart in the image resized to `long_side`.

        Place (i, j) looks at much more than its own 32 pixels. Their mean logits are `classify` of that
        resized image.
        """
        height, width = rgb.shape[:2]
        scale = long_side / max(height, width)
        small = _resize(rgb, max(STRIDE, round(height * scale)), max(STRIDE, round(width * scale)))
        (logits,) = self._session.run(["dense_logits"], {"image": small[None]})  # (1, 1000, h, w)
        return _softmax(np.ascontiguousarray(logits[0].transpose(1, 2, 0)))


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The names of the 1000 classes, by index."""
    return tuple(weights_file("imagenet_labels.txt").read_text("utf-8").splitlines())


def _resize(rgb: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers
