"""Small pictures of a result: what goes into a message must be small, or clients cut, drop or choke on it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from PIL import Image

from lisa_tool.errors import ResultNotFound
from lisa_tool.results import Box, Mask, Segmentation

What = Literal["overlay", "closeup", "mask"]

MAX_JPEG_BYTES = 300_000
"""Bytes of one preview: 400,000 characters of base64."""
PREVIEW_SIDE = 1024
_QUALITIES = (85, 70, 50)
_MARGIN = 0.25  # of the box's longer side, around a close-up
_MIN_CLOSEUP_SIDE = 64  # pixels of the overlay


def jpeg_of(
    result: Segmentation, what: What = "overlay", number: int = 1, max_side: int = PREVIEW_SIDE
) -> bytes:
    """A JPEG of at most `MAX_JPEG_BYTES` whose longer side is at most `max_side` pixels.

    number: of the mask, from 1, for `closeup` and `mask`. Raises ResultNotFound when there is no such
    picture.
    """
    if not result.masks or result.overlay_path is None:
        raise ResultNotFound(
            f"this result has no picture: its outcome is {result.outcome}", "Ask the question in other words."
        )
    if what == "mask":
        return _jpeg(_open(_mask(result, number).path, "PNG"), max_side)
    overlay = _open(result.overlay_path, "JPEG")
    if what == "closeup" and (box := _mask(result, number).box):
        overlay = overlay.crop(_around(box, overlay.width / result.image.width, overlay.size))
    return _jpeg(overlay, max_side)


def _mask(result: Segmentation, number: int) -> Mask:
    if not 1 <= number <= len(result.masks):
        raise ResultNotFound(
            f"there is no mask {number}: this result has {len(result.masks)}",
            f"Give a number from 1 to {len(result.masks)}.",
        )
    return result.masks[number - 1]


def _open(path: str, kind: str) -> Image.Image:
    try:
        with Image.open(path, formats=(kind,)) as image:
            image.load()
            return image
    except (OSError, ValueError) as e:
        raise ResultNotFound(f"{Path(path).name} of this result cannot be read (any more)") from e


def _around(box: Box, scale: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in the overlay: the box with a margin, and large enough to see something."""
    width, height = size
    margin = max(_MARGIN * scale * max(box.width, box.height), _MIN_CLOSEUP_SIDE / 2)
    return (
        max(0, round(box.x * scale - margin)),
        max(0, round(box.y * scale - margin)),
        min(width, round((box.x + box.width) * scale + margin)),
        min(height, round((box.y + box.height) * scale + margin)),
    )


def _jpeg(image: Image.Image, max_side: int) -> bytes:
    while True:
        image.thumbnail((max_side, max_side))
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= MAX_JPEG_BYTES:
                return buffer.getvalue()
        max_side //= 2
