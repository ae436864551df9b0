"""What to say when a path is nearly right: names that are close, and what a folder holds."""

from __future__ import annotations

import difflib
import os

from lisa_tool.images.naming import shown

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"})
MAX_NAMES = 2_000
"""Folder entries looked at for one message."""
_SHOWN = 5


def looks_like_image(name: str) -> bool:
    """Whether a visible file is named like an image that can be read."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def similar_text(missing: str, names: list[str]) -> str:
    """': did you mean ...?', or what the folder holds, or nothing."""
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(missing.lower()[:255], by_lower, n=3, cutoff=0.6)
    if not close:  # the same name with another ending
        stem = os.path.splitext(missing.lower())[0]
        close = [name for name in by_lower if os.path.splitext(name)[0] == stem][:3]
    if close:
        return f": did you mean {' or '.join(repr(shown(by_lower[name], 120)) for name in close)}?"
    return f"; its folder holds {_some(names)}" if names else ""


def in_folder_text(names: list[str]) -> str:
    """' with ...' up to five images, or ' without images'."""
    return f" with {_some(names)}" if names else " without images"


def _some(names: list[str]) -> str:
    first = ", ".join(repr(shown(name, 120)) for name in names[:_SHOWN])
    return f"{first} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else first
