"""The overlay: the photo with every mask tinted, outlined and, when there are several, numbered.

It is there to be judged at a glance. The outline is a coloured line between a dark and a white one, so it
shows on any background; it is drawn from smooth distances, so it is crisp. What is not masked is a little
darker and greyer. Colours come from a palette that people with colour blindness can tell apart (Okabe and
Ito 2008, a little more vivid).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lisa_tool.masks.geometry import BoolMask

PALETTE = (
    (0, 190, 255),  # sky blue
    (255, 130, 0),  # orange
    (0, 200, 130),  # bluish green
    (255, 90, 180),  # pink
    (255, 225, 50),  # yellow
    (60, 110, 255),  # blue
    (225, 60, 30),  # vermillion
    (190, 130, 255),  # violet
)
TINT = 0.22  # share of the mask's colour inside it
DIMMED = 0.72  # brightness left to what is not masked
GREYED = 0.5  # share of grey in what is not masked
MAX_SIDE = 1600  # pixels of the overlay's longer side

_DARK = (10, 10, 10)
_WHITE = (255, 255, 255)


def overlay(rgb: NDArray[np.uint8], masks: Sequence[BoolMask]) -> Image.Image:
    """Draw `masks` on the photo.

    rgb: uint8 (height, width, 3); masks: bool (height, width), drawn in order, colours by index.
    Returns an RGB image, shrunk so that its longer side is at most `MAX_SIDE`.
    """
    painter = OverlayPainter(rgb)
    for mask in masks:
        painter.add(mask)
    return painter.image()


class OverlayPainter:
    """Collects masks one at a time, kept at the overlay's size, so that no two large ones are in memory."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        height, width = rgb.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        self._size = (max(1, round(width * scale)), max(1, round(height * scale)))  # (width, height)
        self._photo = rgb if scale == 1 else _resized(rgb, self._size)
        self._masks: list[BoolMask] = []

    def add(self, mask: BoolMask) -> None:
        """Add a bool (height, width) mask of the whole photo."""
        if mask.shape[::-1] != self._size:
            mask = _shrunk(mask, self._size)
        self._masks.append(mask)

    def image(self) -> Image.Image:
        """The photo with the masks drawn on it; the photo itself when there are none, or all are empty."""
        if not any(mask.any() for mask in self._masks):
            return Image.fromarray(self._photo)
        width, height = self._size
        line = max(1.5, max(width, height) / 400)  # pixels of the coloured line
        pixels = self._photo.astype(np.float32)  # (height, width, 3)
        outside = ~np.logical_or.reduce(self._masks)
        grey = pixels.mean(axis=2, keepdims=True)
        pixels[outside] = (DIMMED * ((1 - GREYED) * pixels + GREYED * grey))[outside]
        for index, mask in enumerate(self._masks):
            pixels[mask] += TINT * (np.array(_colour(index), dtype=np.float32) - pixels[mask])
        for index, mask in enumerate(self._masks):
            _draw_outline(pixels, mask, _colour(index), line)
        image = Image.fromarray(pixels.round().astype(np.uint8))
        if len(self._masks) > 1:
            self._draw_marks(image)
        return image

    def _draw_marks(self, image: Image.Image) -> None:
        """A numbered disc for each mask, whole inside the image, apart from the others where possible."""
        radius = min(max(12, round(max(self._size) / 48)), min(self._size) // 2 - 1)
        if radius < 5:  # a number would not be legible
            return
        taken = np.zeros((image.height, image.width), np.uint8)
        for index, mask in enumerate(self._masks):
            if mask.any():
                x, y = _mark_place(mask, taken == 0, radius)
                cv2.circle(taken, (x, y), 2 * radius + 1, 1, thickness=-1)
                _draw_disc(image, x, y, radius, str(index + 1), _colour(index))


def _colour(index: int) -> tuple[int, int, int]:
    return PALETTE[index % len(PALETTE)]


def _resized(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _shrunk(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    """The mask at (width, height); a speck that would vanish keeps a pixel."""
    width, height = size
    small = _resized(mask.astype(np.uint8) * 255, size) > 127
    if not small.any():
        ys, xs = np.nonzero(mask)
        small[ys * height // mask.shape[0], xs * width // mask.shape[1]] = True
    return small


def _depth(mask: BoolMask) -> NDArray[np.float32]:
    """Distance of each mask pixel to the mask's edge, the border of the image being one; 0 outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1], dtype=np.float32)


def _draw_outline(
    pixels: NDArray[np.float32], mask: BoolMask, colour: tuple[int, int, int], line: float
) -> None:
    """Blend the outline into `pixels`, float32 (height, width, 3), around one mask."""
    if not mask.any():
        return
    rows, columns = _around(mask, margin=round(2 * line) + 4)
    inside = mask[rows, columns]
    # Signed distance to the mask's edge in pixels, positive inside; blurred, so that steps become a curve.
    outward = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    stepped = np.where(inside, _depth(inside) - 0.5, 0.5 - outward).astype(np.float32)
    distance = cv2.GaussianBlur(stepped, (0, 0), 0.8)
    thin = max(1.0, line / 2.5)
    part = pixels[rows, columns]
    for paint, inner, outer in (
        (_DARK, 0.0, -line - thin),
        (_WHITE, thin, 0.0),
        (colour, 0.0, -line),
    ):
        share = np.clip(inner - distance + 0.5, 0, 1) * np.clip(distance - outer + 0.5, 0, 1)
        part += share[..., None] * (np.array(paint, dtype=np.float32) - part)


def _around(mask: BoolMask, margin: int) -> tuple[slice, slice]:
    """The rows and columns of a mask that is not empty, with a margin."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(ys[0]) - margin), int(ys[-1]) + 1 + margin),
        slice(max(0, int(xs[0]) - margin), int(xs[-1]) + 1 + margin),
    )


def _mark_place(mask: BoolMask, free: BoolMask, radius: int) -> tuple[int, int]:
    """The (x, y) of a disc: deep inside the mask, or beside one that it would hide; free where possible."""
    height, width = mask.shape
    depth = np.where(free, _depth(mask), 0)
    if depth.max() > 1.8 * radius:
        y, x = divmod(int(depth.argmax()), width)
        return x, y
    rows, columns = _around(mask, margin=0)
    mid_x, mid_y = (columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2
    gap = radius + 5
    above, below = (mid_x, rows.start - gap), (mid_x, rows.stop + gap)
    left, right = (columns.start - gap, mid_y), (columns.stop + gap, mid_y)
    for x, y in (above, below, right, left):
        if radius <= x < width - radius and radius <= y < height - radius and free[y, x]:
            return x, y
    return min(max(mid_x, radius), width - 1 - radius), min(max(mid_y, radius), height - 1 - radius)


def _draw_disc(
    image: Image.Image, x: int, y: int, radius: int, text: str, colour: tuple[int, int, int]
) -> None:
    """A dark disc with a white rim, a ring in the mask's colour, and a white number."""
    scale = 4  # drawn large, then shrunk: PIL does not smooth circles
    side = 2 * radius + 1
    disc = Image.new("RGBA", (side * scale, side * scale))
    draw = ImageDraw.Draw(disc)
    edge = side * scale - 1
    for inset, paint in ((0.0, _WHITE), (0.1, colour), (0.28, _DARK)):
        margin = inset * radius * scale
        draw.ellipse((margin, margin, edge - margin, edge - margin), fill=(*paint, 255))
    font = ImageFont.load_default(size=radius * scale * (1.15 if len(text) == 1 else 0.95))
    draw.text((edge / 2, edge / 2), text, fill=(*_WHITE, 255), font=font, anchor="mm")
    small = disc.resize((side, side), Image.Resampling.LANCZOS)
    image.paste(small, (x - radius, y - radius), small)
