from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lisa_tool.eval.polygon import paint_polygon

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "polygons" / "polygons.safetensors")
POLYGONS = np.split(GOLDEN["points"], np.cumsum(GOLDEN["counts"])[:-1])
MASKS = np.unpackbits(GOLDEN["masks"], axis=1).reshape(-1, 48, 64)


@pytest.mark.parametrize("beyond_px", [0, 3, 30])
def test_pixels_are_those_of_the_opencv_that_the_reference_used(beyond_px: int) -> None:
    start = (0, 3, 30).index(beyond_px)  # every third polygon may reach so far out of the picture
    for polygon, expected in zip(POLYGONS[start::3], MASKS[start::3], strict=True):
        mask = np.zeros((48, 64), np.uint8)
        paint_polygon(mask, polygon, 1)
        np.testing.assert_array_equal(mask, expected, err_msg=f"{polygon.tolist()}")


def test_only_the_pixels_of_the_polygon_change() -> None:
    mask = np.full((8, 8), 7, np.uint8)
    paint_polygon(mask, np.array([[2, 1], [5, 1], [5, 6], [2, 6]], np.int32), 255)
    expected = np.full((8, 8), 7, np.uint8)
    expected[1:7, 2:6] = 255
    np.testing.assert_array_equal(mask, expected)


def test_where_a_polygon_overlaps_itself_it_has_a_hole() -> None:
    around = [[1, 1], [12, 1], [12, 12], [1, 12], [1, 1]]
    hole = [[4, 4], [9, 4], [9, 9], [4, 9], [4, 4]]
    mask = np.zeros((14, 14), np.uint8)
    paint_polygon(mask, np.array(around + hole, np.int32), 1)
    assert mask[2, 2] == mask[11, 11] == 1
    assert mask[7, 6] == mask[6, 7] == 0


@pytest.mark.parametrize("far", [2**31 - 1, -(2**31)])
def test_a_corner_as_far_away_as_numbers_go_is_cut_off(far: int) -> None:
    mask = np.zeros((8, 8), np.uint8)
    paint_polygon(mask, np.array([[0, 4], [far, 4], [far, 6], [0, 6]], np.int32), 1)
    expected = np.zeros((8, 8), np.uint8)
    expected[4:7, : 8 if far > 0 else 1] = 1
    np.testing.assert_array_equal(mask, expected)
