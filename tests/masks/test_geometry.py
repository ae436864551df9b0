from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lisa_tool.masks.geometry import (
    BoolMask,
    Geometry,
    iou,
    measure,
    position_words,
    stability,
    without_specks,
)
from lisa_tool.results import Box, Point


def picture(text: str) -> BoolMask:
    """Rows of `.` and `#`."""
    return np.array([[c == "#" for c in row] for row in text.split()])


@pytest.mark.parametrize(
    ("drawn", "box", "area", "centroid", "position", "components"),
    [
        ("#", (0, 0, 1, 1), 1, (0.0, 0.0), "most of the image", 1),
        ("#... .... ....", (0, 0, 1, 1), 1, (0.0, 0.0), "upper left", 1),
        ("...... .####. .####. ......", (1, 1, 4, 2), 8, (2.5, 1.5), "center", 1),
        ("..... ..... ..... ..... ####.", (0, 4, 4, 1), 4, (1.5, 4.0), "bottom", 1),
        ("#.... #.... #.... #....", (0, 0, 1, 4), 4, (0.0, 1.5), "left", 1),
        ("#..# .... #..#", (0, 0, 4, 3), 4, (1.5, 1.0), "center", 4),
        ("###.. #.#.. ###..", (0, 0, 3, 3), 8, (1.0, 1.0), "left", 1),  # a ring: its middle is not in it
        ("#.. .#. ..#", (0, 0, 3, 3), 3, (1.0, 1.0), "center", 1),  # corners touch
        ("## ##", (0, 0, 2, 2), 4, (0.5, 0.5), "most of the image", 1),
        (".. ##", (0, 1, 2, 1), 2, (0.5, 1.0), "bottom", 1),
    ],
)
def test_small_masks_are_measured_as_the_eye_does(
    drawn: str,
    box: tuple[int, int, int, int],
    area: int,
    centroid: tuple[float, float],
    position: str,
    components: int,
) -> None:
    mask = picture(drawn)
    x, y, width, height = box
    assert measure(mask) == Geometry(
        box=Box(x=x, y=y, width=width, height=height),
        area_px=area,
        area_fraction=round(area / mask.size, 9),
        centroid=Point(x=centroid[0], y=centroid[1]),
        position=position,
        components=components,
    )


def test_an_empty_mask_has_no_box_and_is_nowhere() -> None:
    assert measure(np.zeros((3, 5), dtype=bool)) == Geometry(None, 0, 0.0, None, "nowhere", 0)


def test_one_pixel_of_the_largest_image_still_has_a_share() -> None:
    mask = np.zeros((4000, 10_000), dtype=bool)
    mask[-1, -1] = True
    geometry = measure(mask)
    assert geometry.area_fraction > 0
    assert geometry.box == Box(x=9999, y=3999, width=1, height=1)


def test_measuring_leaves_the_mask_alone_and_takes_a_view() -> None:
    mask = picture("##.. .... ....")
    before = mask.copy()
    assert measure(mask[::-1, ::-1]).position == "lower right"
    assert (mask == before).all()


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (0.1, 0.1, "upper left"), (0.5, 0.1, "top"), (0.9, 0.1, "upper right"),
        (0.1, 0.5, "left"), (0.5, 0.5, "center"), (0.9, 0.5, "right"),
        (0.1, 0.9, "lower left"), (0.5, 0.9, "bottom"), (0.9, 0.9, "lower right"),
        (0.0, 0.0, "upper left"), (1.0, 1.0, "lower right"),
        (0.333, 0.5, "left"), (0.334, 0.5, "center"), (0.667, 0.5, "right"),
    ],
)  # fmt: skip
def test_position_words_follow_the_grid(x: float, y: float, words: str) -> None:
    assert position_words(x, y) == words


@pytest.mark.parametrize(("share", "words"), [(0.6, "left"), (0.61, "most of the image")])
def test_what_fills_the_image_is_not_given_a_corner(share: float, words: str) -> None:
    assert position_words(0.2, 0.5, share) == words


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([[2, 2], [-2, -2]], 1.0),
        ([[2, 0.5], [-0.5, -2]], 0.3333),
        ([[0.5, 0.5]], 0.0),
        ([[-2, -2]], 0.0),
        ([[1, 1.1], [-1, -1.1]], 0.5),  # the thresholds themselves are below
        ([[9, 9]], 1.0),
    ],
)
def test_stability_is_the_share_that_stays_when_the_threshold_moves(
    logits: list[list[float]], expected: float
) -> None:
    assert stability(np.array(logits, dtype=np.float32)) == expected


@pytest.mark.parametrize(
    ("drawn", "min_fraction", "expected"),
    [
        ("###. ###. ...#", 0.2, "###. ###. ...#"),  # touches at a corner: one piece
        ("###.. ###.. ....#", 0.2, "###.. ###.. ....."),
        ("###.. ###.. ....#", 0.1, "###.. ###.. ....#"),
        ("##.## ##.## .....", 0.9, "##.## ##.## ....."),
        ("#", 0.5, "#"),
        (".. ..", 0.5, ".. .."),
    ],
)
def test_specks_go_and_pieces_stay(drawn: str, min_fraction: float, expected: str) -> None:
    kept = without_specks(picture(drawn), min_fraction)
    assert kept.dtype == np.bool_
    assert (kept == picture(expected)).all()


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("##..", "##..", 1.0),
        ("##..", ".##.", 1 / 3),
        ("#...", "...#", 0.0),
        ("....", "....", 1.0),
        ("....", "#...", 0.0),
    ],
)
def test_iou_of_small_masks(a: str, b: str, expected: float) -> None:
    assert iou(picture(a), picture(b)) == pytest.approx(expected)


def test_the_box_of_a_random_mask_is_tight() -> None:
    rng: np.random.Generator = np.random.default_rng(0)
    for _ in range(50):
        mask: NDArray[np.bool_] = rng.random((7, 9)) > 0.9
        box = measure(mask).box
        if box is None:
            assert not mask.any()
            continue
        cut = mask[box.y : box.y + box.height, box.x : box.x + box.width]
        assert cut.sum() == mask.sum()
        assert cut[0].any() and cut[-1].any() and cut[:, 0].any() and cut[:, -1].any()
