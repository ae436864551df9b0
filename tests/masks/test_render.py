from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.masks.geometry import BoolMask
from lisa_tool.masks.render import MAX_SIDE, PALETTE, OverlayPainter, overlay

SIZE_HW = (300, 400)


def plain(value: int, size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.uint8]:
    return np.full((*size_hw, 3), value, np.uint8)


def rectangle(top: int, left: int, height: int, width: int, size_hw: tuple[int, int] = SIZE_HW) -> BoolMask:
    mask = np.zeros(size_hw, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance, 0 to 1, of uint8 (..., 3), as WCAG defines it."""
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    light, dark = sorted((float(luminance(a)), float(luminance(b))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("value", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("index", range(len(PALETTE)))
def test_the_outline_stands_out_on_any_background(value: int, index: int) -> None:
    masks = [np.zeros(SIZE_HW, dtype=bool)] * index + [rectangle(100, 100, 100, 200)]
    image = np.asarray(overlay(plain(value), masks))
    line = image[150, 90:106]  # from outside to inside, across the left edge
    outside, inside = image[150, 50], image[180, 130]
    assert max(contrast(pixel, outside) for pixel in line) >= 3
    assert max(contrast(pixel, inside) for pixel in line) >= 3


@pytest.mark.parametrize("value", [0, 128, 255])
def test_the_outline_is_a_few_pixels_on_both_sides_of_the_edge(value: int) -> None:
    image = np.asarray(overlay(plain(value), [rectangle(100, 100, 100, 200)])).astype(int)
    rows = np.abs(image[150] - image[150, 50]).max(axis=1) > 8
    assert not rows[:94].any()
    assert rows[96:].argmin() == 305 - 96 or rows[99:301].all()
    assert (image[150, 110:290] == image[150, 110]).all()  # inside there is only tint


def test_the_inside_is_tinted_and_the_outside_darker() -> None:
    image = np.asarray(overlay(plain(200), [rectangle(100, 100, 100, 200)])).astype(int)
    assert (image[20, 20] < 200).all()
    towards = np.array(PALETTE[0]) - 200
    moved = image[150, 200] - 200
    assert (np.sign(moved) == np.sign(towards)).all()
    assert (np.abs(moved) < np.abs(towards) / 2).all()  # the object's own colour prevails


@pytest.mark.parametrize("masks", [[], [np.zeros(SIZE_HW, dtype=bool)]])
def test_without_a_marked_pixel_the_overlay_is_the_photo(masks: list[BoolMask]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    assert (np.asarray(overlay(photo, masks)) == photo).all()


def test_the_photo_and_the_masks_are_left_as_they_were() -> None:
    photo, mask = plain(90), rectangle(10, 10, 50, 50)
    overlay(photo, [mask, mask])
    assert (photo == 90).all()
    assert mask.sum() == 2500


def test_one_pixel_can_be_seen() -> None:
    image = np.asarray(overlay(plain(255), [rectangle(150, 200, 1, 1)]))
    around = image[145:156, 195:206].reshape(-1, 3)
    assert max(contrast(pixel, image[20, 20]) for pixel in around) >= 3


def test_a_mask_of_the_whole_image_has_an_outline_too() -> None:
    image = np.asarray(overlay(plain(0), [np.ones(SIZE_HW, dtype=bool)]))
    assert contrast(image[0, 200], image[150, 200]) >= 3


# Numbered marks


def discs(image: Image.Image, reference: Image.Image) -> BoolMask:
    """Where two overlays differ."""
    return np.asarray((np.asarray(image).astype(int) - np.asarray(reference)).any(axis=2))


def without_marks(
    photo: NDArray[np.uint8], masks: list[BoolMask], monkeypatch: pytest.MonkeyPatch
) -> Image.Image:
    with monkeypatch.context() as patch:
        patch.setattr(OverlayPainter, "_draw_marks", lambda *args: None)
        return overlay(photo, masks)


def test_one_mask_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [rectangle(100, 100, 100, 200)]
    assert not discs(overlay(plain(90), masks), without_marks(plain(90), masks, monkeypatch)).any()


def test_several_masks_are_numbered_inside_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [rectangle(20, 20, 200, 100), rectangle(60, 200, 200, 150)]
    marked = discs(overlay(plain(90), masks), without_marks(plain(90), masks, monkeypatch))
    assert all((marked & mask).any() for mask in masks)
    assert not (marked & ~(masks[0] | masks[1])).any()


def test_a_mask_smaller_than_its_number_has_it_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [rectangle(20, 20, 200, 100), rectangle(200, 300, 8, 8)]
    marked = discs(overlay(plain(90), masks), without_marks(plain(90), masks, monkeypatch))
    assert not (marked & masks[1]).any()
    assert marked[150:250, 250:350].any()


def test_masks_in_one_place_have_their_numbers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = [rectangle(50, 50, 200, 300)] * 2
    alone = discs(
        overlay(plain(90), [masks[0], np.zeros(SIZE_HW, dtype=bool)]),
        without_marks(plain(90), [masks[0], np.zeros(SIZE_HW, dtype=bool)], monkeypatch),
    )
    both = discs(overlay(plain(90), masks), without_marks(plain(90), masks, monkeypatch))
    assert both.sum() >= 1.9 * alone.sum()


@pytest.mark.parametrize(
    ("top", "left"), [(0, 0), (0, 399), (299, 0), (299, 399), (0, 200), (299, 200), (150, 0), (150, 399)]
)
def test_numbers_stay_whole_inside_the_image(top: int, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    middle, masks = rectangle(120, 150, 60, 60), [rectangle(top, left, 1, 1)]
    whole = discs(
        overlay(plain(90), [middle, middle]), without_marks(plain(90), [middle, middle], monkeypatch)
    ).sum()
    pair = [rectangle(120, 150, 60, 60), masks[0]]
    marked = discs(overlay(plain(90), pair), without_marks(plain(90), pair, monkeypatch)).sum()
    assert marked == pytest.approx(whole, rel=0.05)


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 2), (2, 200), (200, 2), (9, 9), (11, 30), (40, 40)])
@pytest.mark.parametrize("n_masks", [1, 2, 12])
def test_tiny_and_thin_images_are_drawn(size_hw: tuple[int, int], n_masks: int) -> None:
    image = overlay(plain(90, size_hw), [np.ones(size_hw, dtype=bool)] * n_masks)
    assert image.size == size_hw[::-1]
    assert image.mode == "RGB"


# Size


def test_a_huge_image_is_shrunk_and_its_mask_with_it() -> None:
    size_hw = (2000, 4000)
    image = overlay(plain(90, size_hw), [rectangle(0, 0, 2000, 2000, size_hw)])
    assert image.size == (MAX_SIDE, 800)
    pixels = np.asarray(image).astype(int)
    assert (pixels[400, 300] != pixels[400, 1300]).any()
    assert (pixels[400, 790] == pixels[400, 300]).all() and (pixels[400, 810] == pixels[400, 1300]).all()


def test_a_speck_in_a_huge_image_is_not_lost() -> None:
    size_hw = (16, 16_000)
    image = np.asarray(overlay(plain(255, size_hw), [rectangle(3, 12_345, 1, 1, size_hw)])).astype(int)
    changed = np.flatnonzero((image != image[0, 0]).any(axis=(0, 2)))
    assert changed.size and abs(int(changed.mean()) - 1234) <= 1


def test_an_image_at_the_limit_keeps_its_size() -> None:
    assert overlay(plain(90, (10, MAX_SIDE)), []).size == (MAX_SIDE, 10)


def test_the_painter_draws_what_the_function_draws() -> None:
    masks = [rectangle(20, 20, 100, 100), rectangle(60, 200, 200, 150)]
    painter = OverlayPainter(plain(90))
    for mask in masks:
        painter.add(mask)
    assert (np.asarray(painter.image()) == np.asarray(overlay(plain(90), masks))).all()
