"""From upright RGB to the two pictures that LISA looks at: CLIP's small square and SAM's padded one.

The values are those of the reference, bit for bit (tests/golden/preprocess). Pictures come in as uint8
(height, width, 3) from `lisa_tool.images` and leave as float32 (1, 3, side, side), channels red, green, blue.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

ClipFit = Literal["crop", "pad"]
"""How a picture fills CLIP's square: with its middle only, as LISA was trained, or with all of it."""

CLIP_SIZE: Final = 224
CLIP_MEAN: Final = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # openai/clip-vit-large-patch14,
CLIP_STD: Final = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)  # preprocessor_config.json

SAM_SIZE: Final = 1024
SAM_MEAN: Final = np.array([123.675, 116.28, 103.53], np.float32)  # segment_anything.build_sam,
SAM_STD: Final = np.array([58.395, 57.12, 57.375], np.float32)  # pixel_mean and pixel_std

MUCH_HIDDEN: Final = 0.2  # from this share of the picture on, `crop_warning` speaks


def clip_pixels(rgb: Pixels, *, fit: ClipFit = "crop", size: int = CLIP_SIZE) -> Floats:
    """What the language model sees: float32 (1, 3, size, size).

    rgb: uint8 (height, width, 3). 'crop' scales the shorter side to `size` and keeps the middle; 'pad' scales
    the longer side to `size` and centres the whole picture on CLIP's mean colour.
    """
    square = _cropped(rgb, size) if fit == "crop" else _padded(rgb, size)  # (size, size, 3)
    return _channels_first((square.astype(np.float32) / np.float32(255) - CLIP_MEAN) / CLIP_STD)


def sam_pixels(rgb: Pixels, image_size: int = SAM_SIZE) -> tuple[Floats, tuple[int, int]]:
    """What SAM sees: float32 (1, 3, image_size, image_size), and the (height, width) of the picture in it.

    rgb: uint8 (height, width, 3). The picture lies in the upper left corner; the rest is zero.
    """
    resized = sam_resized(rgb, image_size)
    height, width = resized.shape[:2]
    pixels = np.zeros((1, 3, image_size, image_size), np.float32)
    pixels[..., :height, :width] = _channels_first((resized.astype(np.float32) - SAM_MEAN) / SAM_STD)
    return pixels, (height, width)


def sam_resized(rgb: Pixels, image_size: int = SAM_SIZE) -> Pixels:
    """The picture with its longer side at `image_size`: uint8 (height, width, 3)."""
    scale = image_size / max(rgb.shape[:2])
    height, width = (int(side * scale + 0.5) for side in rgb.shape[:2])
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))


def hidden_fraction(size_hw: tuple[int, int], fit: ClipFit = "crop") -> float:
    """The share of a (height, width) picture's area, 0 to below 1, that the language model does not see."""
    shorter, longer = sorted(size_hw)
    return (longer - shorter) / longer if fit == "crop" else 0.0


def crop_warning(size_hw: tuple[int, int], fit: ClipFit = "crop") -> str | None:
    """A sentence for the result when at least a fifth of a (height, width) picture is hidden, else None."""
    hidden = hidden_fraction(size_hw, fit)
    if hidden < MUCH_HIDDEN:
        return None
    height, width = size_hw
    side, ends = ("width", "at the left and right") if width > height else ("height", "at the top and bottom")
    return (
        f"the language model saw only the middle {1 - hidden:.0%} of the image's {side} and may miss what "
        f"lies {ends}: LISA_CLIP_FIT=pad shows it all of it, smaller"
    )


def _cropped(rgb: Pixels, size: int) -> Pixels:
    height, width = (int(size * side / min(rgb.shape[:2])) for side in rgb.shape[:2])
    top, left = (height - size) // 2, (width - size) // 2
    return _bicubic(rgb, height, width)[top : top + size, left : left + size]


def _padded(rgb: Pixels, size: int) -> Pixels:
    height, width = (max(1, round(size * side / max(rgb.shape[:2]))) for side in rgb.shape[:2])
    top, left = (size - height) // 2, (size - width) // 2
    square = np.full((size, size, 3), np.rint(CLIP_MEAN * 255), np.uint8)
    square[top : top + height, left : left + width] = _bicubic(rgb, height, width)
    return square


def _bicubic(rgb: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))


def _channels_first(pixels: Floats) -> Floats:
    """(height, width, 3) -> (1, 3, height, width)."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
