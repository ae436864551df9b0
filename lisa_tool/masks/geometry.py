"""Numbers and words about one mask.

Masks are bool (height, width); coordinates are pixels of the upright image, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lisa_tool.results import Box, Point

BoolMask = NDArray[np.bool_]


@dataclass(frozen=True)
class Geometry:
    """What can be measured on a mask. An empty mask has no box, no centroid, and no pieces."""

    box: Box | None
    area_px: int
    area_fraction: float
    centroid: Point | None
    position: str
    components: int


def measure(mask: BoolMask) -> Geometry:
    """Measure a bool (height, width) mask."""
    height, width = mask.shape
    columns, rows = mask.sum(axis=0), mask.sum(axis=1)  # pixels in each column (width,) and row (height,)
    area = int(rows.sum())
    if area == 0:
        return Geometry(None, 0, 0.0, None, "nowhere", 0)
    xs, ys = np.flatnonzero(columns), np.flatnonzero(rows)
    x, y = float(columns @ np.arange(width)) / area, float(rows @ np.arange(height)) / area
    return Geometry(
        box=Box(x=int(xs[0]), y=int(ys[0]), width=int(xs[-1] - xs[0] + 1), height=int(ys[-1] - ys[0] + 1)),
        area_px=area,
        area_fraction=round(area / mask.size, 9),
        centroid=Point(x=round(x, 1), y=round(y, 1)),
        # A pixel's middle is half a pixel right of and below its coordinate.
        position=position_words((x + 0.5) / width, (y + 0.5) / height, area / mask.size),
        components=cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1,
    )


def position_words(x: float, y: float, area_fraction: float = 0.0) -> str:
    """Say where (x, y) lies in a 3x3 grid: 'upper left', 'center', 'bottom'.

    x, y: fractions of width and height. What takes over 60 % of the image is simply 'most of the image'.
    """
    if area_fraction > 0.6:
        return "most of the image"
    column = ("left", "", "right")[min(int(x * 3), 2)]
    row = ("upper", "", "lower")[min(int(y * 3), 2)]
    if row and column:
        return f"{row} {column}"
    return column or {"upper": "top", "lower": "bottom", "": "center"}[row]


def stability(logits: NDArray[np.float32], offset: float = 1.0) -> float:
    """IoU of the mask at logit thresholds +offset and -offset; 1 is best (Segment Anything, section 5).

    logits: (height, width). 0 when nothing is above the low threshold.
    """
    low = np.count_nonzero(logits > -offset)
    return round(np.count_nonzero(logits > offset) / low, 4) if low else 0.0


def without_specks(mask: BoolMask, min_fraction: float = 0.01) -> BoolMask:
    """Drop pieces smaller than `min_fraction` of the largest piece."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if n <= 2:  # the background and at most one piece
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    kept = np.concatenate([[False], areas >= min_fraction * areas.max()])
    return np.asarray(kept[labels], dtype=np.bool_)


def iou(a: BoolMask, b: BoolMask) -> float:
    """Intersection over union of two bool masks of one shape; 1 when both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0
