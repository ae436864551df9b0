"""A folder such as `eval published` reads, with pictures made here: a dull red oval on a busy background."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lisa_tool.eval.published import EXAMPLES, Example

SIZE = (180, 140)  # (width, height)
OVAL = (30, 20, 110, 100)  # left, top, right, bottom
DULL_RED = (200, 80, 70)  # what RedBackend finds, far enough from the red of a mask


def make_clone(
    folder: Path, *, unseen: Collection[str] = (), missed: Collection[str] = (), twice: Collection[str] = ()
) -> Path:
    """Write the pictures of all examples, and each with its oval marked as the reference marks a mask.

    unseen: examples whose picture has no oval, missed: whose mask lies elsewhere, twice: with a second oval
    below the first.
    """
    for subfolder in ("imgs", "vis_output"):
        (folder / subfolder).mkdir(parents=True)
    for seed, example in enumerate(EXAMPLES):
        ovals = [OVAL, (140, 110, 160, 130)] if example.name in twice else [OVAL]
        picture = background(seed)
        if example.name not in unseen:
            for one in ovals:
                picture[oval(one)] = DULL_RED
        write(folder, example, picture, oval((120, 60, 175, 135) if example.name in missed else OVAL))
    return folder


def write(folder: Path, example: Example, picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Write one picture and its rendering; JPEG as OpenCV writes it, with half the colour resolution."""
    save(picture, folder / example.picture_file)
    with Image.open(folder / example.picture_file) as saved:
        rendered = np.array(saved)
    rendered[mask] = rendered[mask] * 0.5 + np.array([255, 0, 0]) * 0.5
    save(rendered, folder / example.rendered_file)


def save(pixels: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(pixels).save(path, quality=95, subsampling="4:2:0")


def background(seed: int) -> NDArray[np.uint8]:
    """Grey and green with grain, uint8 (height, width, 3); differs much from seed to seed."""
    width, height = SIZE
    random = np.random.default_rng(seed)
    waves = np.sin(np.linspace(0, 4 + 3 * seed, width)) * np.cos(np.linspace(seed, 9, height))[:, None]
    grey = 128 + 90 * waves[..., None] + random.normal(0, 8, (height, width, 1))
    return np.asarray(np.clip(grey + np.array([-20, 10, 0]), 0, 255), dtype=np.uint8)


def oval(box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """bool (height, width)."""
    image = Image.new("1", SIZE)
    ImageDraw.Draw(image).ellipse(box, fill=1)
    return np.array(image)
