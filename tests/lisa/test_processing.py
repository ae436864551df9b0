"""Pixels against those recorded from the reference, and what the language model's square hides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lisa_tool.images import load_image
from lisa_tool.lisa.processing import (
    CLIP_MEAN,
    CLIP_STD,
    ClipFit,
    Floats,
    Pixels,
    clip_pixels,
    crop_warning,
    hidden_fraction,
    sam_pixels,
    sam_resized,
)
from lisa_tool.settings import Settings

GOLDEN = Path(__file__).parents[1] / "golden"
IMAGES = json.loads((GOLDEN / "nano/meta.json").read_text(encoding="utf-8"))["images"]


def sha256(pixels: Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def read(name: str) -> Pixels:
    return load_image(GOLDEN / f"images/{name}.png", Settings(roots=(GOLDEN,))).rgb


def plain(height: int, width: int, colour: tuple[int, int, int]) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def colours(pixels: Floats) -> Pixels:
    """CLIP's input as uint8 (size, size, 3) again."""
    return np.rint((pixels[0].transpose(1, 2, 0) * CLIP_STD + CLIP_MEAN) * 255).astype(np.uint8)


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_are_those_of_the_reference_bit_for_bit(name: str) -> None:
    rgb, recorded = read(name), load_file(GOLDEN / f"preprocess/{name}.safetensors")
    assert sha256(rgb) == IMAGES[name]["sha256_rgb_uint8_hwc"]

    clip = clip_pixels(rgb)
    sam, size_hw = sam_pixels(rgb)
    resized = sam_resized(rgb)

    assert (clip.dtype, sam.dtype, resized.dtype) == (np.float32, np.float32, np.uint8)
    assert np.array_equal(clip, recorded["clip_pixel_values"])
    assert clip.sum(dtype=np.float64) == pytest.approx(IMAGES[name]["clip_sum"], abs=1e-6)
    assert sha256(resized) == IMAGES[name]["sha256_resized_uint8_hwc"]
    assert np.array_equal(resized[::8, ::8], recorded["resized_uint8_every8"])
    assert size_hw == tuple(IMAGES[name]["resized_hw"]) == resized.shape[:2]
    assert sam.shape == (1, 3, 1024, 1024)
    assert np.array_equal(sam[..., ::16, ::16], recorded["sam_input_every16"])
    assert np.array_equal(sam[0, :, 0], recorded["sam_input_row0_col0"][0])
    assert np.array_equal(sam[0, :, :, 0], recorded["sam_input_row0_col0"][1])
    assert sam.sum(dtype=np.float64) == pytest.approx(IMAGES[name]["sam_input_sum"], abs=1e-6)


def test_other_sizes_than_the_released_ones_are_followed() -> None:
    rgb = plain(30, 60, (1, 2, 3))

    sam, size_hw = sam_pixels(rgb, image_size=64)

    assert sam.shape == (1, 3, 64, 64) and size_hw == (32, 64)
    assert (sam[..., :32, :] != 0).all() and not sam[..., 32:, :].any()
    assert clip_pixels(rgb, size=28).shape == clip_pixels(rgb, fit="pad", size=28).shape == (1, 3, 28, 28)


def test_crop_shows_the_middle_and_pad_shows_everything() -> None:
    red, blue, grey = (250, 10, 10), (10, 10, 250), (123, 117, 104)
    rgb = np.concatenate([plain(200, 100, red), plain(200, 200, blue), plain(200, 100, red)], axis=1)

    crop, pad = colours(clip_pixels(rgb)), colours(clip_pixels(rgb, fit="pad"))

    assert (crop[100, 4:-4] == blue).all()
    assert tuple(pad[112, 5]) == tuple(pad[112, -5]) == red
    assert tuple(pad[112, 112]) == blue
    assert (pad[:56] == grey).all() and (pad[-56:] == grey).all()
    assert (pad[60:-60, 5] == red).all()


def test_a_square_is_the_same_cropped_or_padded() -> None:
    square = read("landscape")[:, :400]

    assert np.array_equal(clip_pixels(square), clip_pixels(square, fit="pad"))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size_hw", [(2, 200), (200, 2), (2, 2), (3, 300), (225, 224), (1, 1)])
def test_thin_and_tiny_pictures_fill_the_square(size_hw: tuple[int, int], fit: ClipFit) -> None:
    clip = clip_pixels(plain(*size_hw, (200, 100, 50)), fit=fit)

    assert clip.shape == (1, 3, 224, 224)
    assert tuple(colours(clip)[112, 112]) == (200, 100, 50)
    assert sam_pixels(plain(*size_hw, (0, 0, 0)))[1] == tuple(
        int(side * 1024 / max(size_hw) + 0.5) for side in size_hw
    )


def test_the_picture_that_comes_in_is_left_as_it_was() -> None:
    rgb = read("tiny")
    before = sha256(rgb)

    clip_pixels(rgb), clip_pixels(rgb, fit="pad"), sam_pixels(rgb)

    assert sha256(rgb) == before


@pytest.mark.parametrize(
    ("size_hw", "hidden"), [((1080, 1920), 0.4375), ((1920, 1080), 0.4375), ((300, 400), 0.25), ((7, 7), 0)]
)
def test_the_hidden_fraction_is_what_the_crop_cuts_off(size_hw: tuple[int, int], hidden: float) -> None:
    assert hidden_fraction(size_hw) == hidden
    assert hidden_fraction(size_hw, "pad") == 0


def test_clip_sees_224_columns_in_the_middle_and_the_rest_is_the_hidden_fraction() -> None:
    """Columns are painted one by one; an odd one left over is cut off at the right, as the reference does."""
    black = plain(224, 397, (0, 0, 0))
    unpainted = clip_pixels(black)
    seen = []
    for column in range(397):
        painted = black.copy()
        painted[:, column] = 255
        if not np.array_equal(clip_pixels(painted), unpainted):
            seen.append(column)

    assert seen == list(range(86, 86 + 224))
    assert 1 - len(seen) / 397 == pytest.approx(hidden_fraction((224, 397)))


def test_a_warning_comes_from_a_fifth_hidden_on() -> None:
    assert crop_warning((400, 499)) is None
    assert crop_warning((400, 500)) is not None  # exactly a fifth
    assert crop_warning((400, 400)) is None
    assert crop_warning((900, 1600), "pad") is None


@pytest.mark.parametrize(
    ("size_hw", "words"),
    [((900, 1600), ("56%", "width", "left and right")), ((1600, 900), ("56%", "height", "top and bottom"))],
)
def test_a_warning_says_how_much_was_seen_where_it_was_cut_and_what_helps(
    size_hw: tuple[int, int], words: tuple[str, ...]
) -> None:
    warning = crop_warning(size_hw)

    assert warning is not None
    assert all(word in warning for word in (*words, "LISA_CLIP_FIT=pad"))
