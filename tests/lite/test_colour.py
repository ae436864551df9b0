"""Painted pixels have the colour that people would say."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_tool.lite.colour import colour_share
from lisa_tool.lite.question import COLOURS

PAINTS = {
    "red": (210, 30, 30),
    "orange": (240, 130, 20),
    "yellow": (240, 220, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 200),
    "purple": (130, 50, 190),
    "pink": (240, 100, 190),
    "brown": (120, 75, 40),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
    "gray": (125, 125, 125),
}
ALL = np.ones((10, 20), bool)


def painted(rgb):
    return np.full((10, 20, 3), rgb, np.uint8)


@pytest.mark.parametrize("colour", PAINTS)
def test_a_paint_is_its_colour_and_no_other(colour):
    shares = {name: colour_share(painted(PAINTS[colour]), ALL, name) for name in PAINTS}

    if colour == "brown":
        del shares["orange"]  # brown is a dark orange: it may be both
    assert shares == {name: float(name == colour) for name in shares}


def test_every_colour_that_a_question_may_name_is_known():
    assert set(COLOURS) == {*PAINTS, "grey"}
    assert colour_share(painted(PAINTS["gray"]), ALL, "grey") == 1


@pytest.mark.parametrize("rgb", [(220, 20, 20), (220, 20, 50)])
def test_red_lies_on_both_ends_of_the_hues(rgb):
    assert colour_share(painted(rgb), ALL, "red") == 1


def test_the_share_is_that_of_the_pixels_inside_the_mask():
    rgb = painted(PAINTS["blue"])
    rgb[:, :5] = PAINTS["red"]
    mask = np.zeros((10, 20), bool)
    mask[2:8, 0:8] = True  # five columns of eight are red

    assert colour_share(rgb, mask, "red") == pytest.approx(5 / 8)
    assert colour_share(rgb, mask, "blue") == pytest.approx(3 / 8)


def test_an_empty_mask_has_no_colour():
    assert colour_share(painted(PAINTS["red"]), ~ALL, "red") == 0
