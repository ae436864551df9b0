"""The colour of an object, in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Hue as Pillow counts it, 0 to 255: (name, from, up to but without).
_HUES = (
    ("red", 0, 12),
    ("orange", 12, 30),
    ("yellow", 30, 50),
    ("green", 50, 120),
    ("blue", 120, 180),
    ("purple", 180, 212),
    ("pink", 212, 240),
    ("red", 240, 256),
)
_SYNONYMS = {"grey": "gray"}


def colour_share(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], colour: str) -> float:
    """The share, 0 to 1, of a mask's pixels that people would call `colour`.

    rgb: uint8 (height, width, 3); mask: bool (height, width).
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return 0.0
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(rgb[window])).convert("HSV")).astype(np.int16)
    hue, saturation, value = hsv[mask[window]].T
    colour = _SYNONYMS.get(colour, colour)
    grayish = saturation < 50
    if colour == "black":
        chosen = value < 60
    elif colour == "white":
        chosen = grayish & (value > 170)
    elif colour == "gray":
        chosen = grayish & (value >= 60) & (value <= 190)
    elif colour == "brown":
        chosen = ~grayish & (hue >= 5) & (hue < 32) & (value >= 40) & (value < 170)
    else:
        bright = ~grayish & (value >= 60)
        chosen = np.zeros_like(grayish)
        for name, low, high in _HUES:
            if name == colour:
                chosen |= bright & (hue >= low) & (hue < high)
    return float(chosen.mean())
