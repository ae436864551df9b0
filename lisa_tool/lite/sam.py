"""SAM on the CPU: an image becomes an embedding once, then boxes and points become masks cheaply.

The encoder is a TinyViT distilled from SAM (MobileSAM's architecture); the prompt encoder and the mask
decoder are SAM's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.lite.sessions import Session

Floats = NDArray[np.float32]

SIDE: Final = 1024  # the longest side of the image that the encoder sees, pixels
GRID: Final = 256  # the side of a low-resolution mask: a quarter of SIDE
MEAN: Final = np.array([123.675, 116.28, 103.53], np.float32)  # of RGB 0..255
STD: Final = np.array([58.395, 57.12, 57.375], np.float32)

PROMPTS_AT_ONCE: Final = 2  # more would not be faster, and 30 MB larger each

FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 1, 2, 3, -1  # SAM's point labels

_NO_MASK: Final = np.zeros((1, 1, GRID, GRID), np.float32)
_HAS_NO_MASK: Final = np.zeros(1, np.float32)


@dataclass(frozen=True)
class ImageEmbedding:
    """What SAM remembers of one image."""

    features: Floats  # (1, 256, 64, 64)
    size_hw: tuple[int, int]  # of the original image, pixels
    resized_hw: tuple[int, int]  # of the image that was encoded; the rest of 1024x1024 is padding

    @property
    def scale(self) -> float:
        """Pixels of the encoded image for one pixel of the original, along the longer side."""
        return max(self.resized_hw) / max(self.size_hw)

    @property
    def nbytes(self) -> int:
        return self.features.nbytes

    def to_frame(self, xy: NDArray[np.floating]) -> Floats:
        """Move (..., 2) x, y in pixels of the original into the 1024 frame."""
        (height, width), (new_height, new_width) = self.size_hw, self.resized_hw
        factors = np.array([new_width / width, new_height / height])
        return np.asarray(xy * factors, np.float32)


class SamEncoder:
    def __init__(self) -> None:
        self._session = Session("sam_encoder.onnx")

    def embed(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """rgb: (height, width, 3) uint8, upright. Half a second on two cores, whatever the size."""
        height, width = rgb.shape[:2]
        scale = SIDE / max(height, width)
        new_height, new_width = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
        resized = Image.fromarray(rgb).resize((new_width, new_height), Image.Resampling.BILINEAR)
        frame = np.zeros((1, 3, SIDE, SIDE), np.float32)  # padded with what is zero after normalising
        pixels = (np.asarray(resized, np.float32) - MEAN) / STD  # (height, width, 3)
        frame[0, :, :new_height, :new_width] = pixels.transpose(2, 0, 1)
        (features,) = self._session.run(["embedding"], {"image": frame})
        return ImageEmbedding(features, (height, width), (new_height, new_width))


class SamDecoder:
    def __init__(self) -> None:
        self._session = Session("sam_decoder.onnx")

    def masks_from_boxes(
        self, embedding: ImageEmbedding, boxes: NDArray[np.floating]
    ) -> tuple[Floats, Floats]:
        """One mask for each box: of SAM's four, the best by predicted IoU times agreement with the box.

        On 45 hand-drawn objects this gave mean IoU 0.798; SAM's first mask 0.783, predicted IoU alone 0.780
        (docs/LOG.md).

        boxes: (n, 4) x1, y1, x2, y2 in pixels of the original image.
        Returns low-resolution logits (n, 256, 256) for `upscale`, and the predicted IoU of each (n,).
        """
        corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        labels = np.tile(np.array([TOP_LEFT, BOTTOM_RIGHT], np.float32), (len(corners), 1))
        logits, iou = self.decode(embedding, corners, labels)
        agreement = _box_agreement(logits, embedding.to_frame(corners) * (GRID / SIDE))
        trust = iou * agreement
        trust[:, 1] = 0  # the sub-part: a box means more than that
        chosen = trust.argmax(axis=1)
        rows = np.arange(len(chosen))
        return logits[rows, chosen], iou[rows, chosen]

    def decode(
        self, embedding: ImageEmbedding, points: NDArray[np.floating], labels: NDArray[np.floating]
    ) -> tuple[Floats, Floats]:
        """All four masks that SAM proposes for each prompt.

        points: (n, p, 2) pixels of the original image; labels: (n, p) SAM's point labels.
        Returns logits (n, 4, 256, 256) and predicted IoU (n, 4). Index 0 is the answer to a clear prompt; 1
        to 3 are readings of an unclear one (sub-part, part, whole).
        """
        if len(points) == 0:
            return np.zeros((0, 4, GRID, GRID), np.float32), np.zeros((0, 4), np.float32)
        parts = []
        for start in range(0, len(points), PROMPTS_AT_ONCE):
            chosen = slice(start, start + PROMPTS_AT_ONCE)
            inputs = {
                "image_embeddings": embedding.features,
                "point_coords": embedding.to_frame(points[chosen]),
                "point_labels": labels[chosen].astype(np.float32),
                "mask_input": _NO_MASK,
                "has_mask_input": _HAS_NO_MASK,
            }
            parts.append(self._session.run(["mask_logits", "iou"], inputs))
        logits, iou = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return logits, iou


def with_padding_point(points: NDArray[np.floating]) -> tuple[NDArray[np.floating], Floats]:
    """Points (n, p, 2) inside the object and labels (n, p + 1) as SAM wants them without a box.

    A padding point is added to each row.
    """
    n, p = points.shape[:2]
    labels = np.full((n, p + 1), FOREGROUND, np.float32)
    labels[:, p] = PADDING
    return np.concatenate([points, np.zeros((n, 1, 2))], axis=1), labels


def _box_agreement(logits: Floats, corners: Floats) -> Floats:
    """IoU (n, m) of each mask's bounding box with its prompt.

    logits: (n, m, 256, 256); corners: (n, 2, 2) x, y of the prompt's corners in pixels of the mask.
    """
    x0, y0, x1, y1 = corners.reshape(-1, 4).T[..., None]  # (n, 1) each
    inside = logits > 0
    columns, rows = np.asarray(inside.any(axis=2)), np.asarray(inside.any(axis=3))  # (n, m, 256)
    left, right = columns.argmax(axis=2), GRID - columns[..., ::-1].argmax(axis=2)
    top, bottom = rows.argmax(axis=2), GRID - rows[..., ::-1].argmax(axis=2)
    width = np.clip(np.minimum(right, x1) - np.maximum(left, x0), 0, None)
    height = np.clip(np.minimum(bottom, y1) - np.maximum(top, y0), 0, None)
    shared = width * height
    union = (right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - shared
    return np.where(columns.any(axis=2), shared / np.maximum(union, 1e-6), 0).astype(np.float32)


def upscale(logits: Floats, embedding: ImageEmbedding) -> Floats:
    """Low-resolution logits (256, 256) -> logits (height, width) of the original image, above 0 inside it.

    The padding is cut off first, to a quarter of a pixel of the encoded image.
    """
    height, width = embedding.size_hw
    new_height, new_width = embedding.resized_hw
    shrink = SIDE / GRID
    picture = Image.fromarray(np.ascontiguousarray(logits, np.float32))  # mode F
    inside = (0.0, 0.0, new_width / shrink, new_height / shrink)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=inside))
