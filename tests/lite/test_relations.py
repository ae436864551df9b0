"""Order and place, on boxes drawn by hand in an image of 400 x 300 pixels."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lisa_tool.lite.relations import area, box_iou, centre, gap, group, ordered, overlap, related

SIZE = (300, 400)


@dataclass(frozen=True)
class Boxed:
    name: str
    box: tuple[float, float, float, float]


def names(objects):
    return [o.name for o in objects]


A = Boxed("a", (10, 20, 50, 60))  # small, left, high
B = Boxed("b", (150, 100, 250, 200))  # large, in the middle
C = Boxed("c", (330, 220, 390, 290))  # middling, right, low


@pytest.mark.parametrize(
    ("order", "line"),
    [
        ("left", "abc"),
        ("right", "cba"),
        ("top", "abc"),
        ("bottom", "cba"),
        ("largest", "bca"),
        ("smallest", "acb"),
        ("middle", "bca"),
        ("near", "cba"),
        ("far", "abc"),
    ],
)
def test_objects_stand_in_line_from_the_most_to_the_least(order, line):
    assert "".join(names(ordered([B, C, A], order, SIZE))) == line


def test_order_goes_by_the_middle_of_a_box_and_not_by_its_edge():
    wide = Boxed("wide", (0, 0, 390, 50))
    narrow = Boxed("narrow", (20, 0, 60, 50))

    assert names(ordered([wide, narrow], "left", SIZE)) == ["narrow", "wide"]


@pytest.mark.parametrize(
    ("order", "chosen"), [("left", "ab"), ("right", "c"), ("top", "a"), ("bottom", "bc")]
)
def test_a_group_on_a_side_is_what_stands_in_that_half(order, chosen):
    a, b, c = Boxed("a", (0, 0, 40, 40)), Boxed("b", (100, 180, 150, 280)), Boxed("c", (300, 200, 390, 290))

    assert sorted(names(group([c, b, a], order, SIZE))) == list(chosen)


def test_a_group_by_size_ends_at_the_widest_gap():
    sides = {"huge": 200, "large": 180, "small": 60, "tiny": 40}
    boats = [Boxed(name, (0, 0, side, side)) for name, side in sides.items()]

    assert names(group(boats, "largest", SIZE)) == ["huge", "large"]
    assert names(group(boats, "smallest", SIZE)) == ["tiny", "small"]


def test_a_group_is_never_empty():
    assert names(group([C], "left", SIZE)) == ["c"]
    assert names(group([C], "largest", SIZE)) == ["c"]


ANCHOR = Boxed("anchor", (150, 120, 250, 200))


@pytest.mark.parametrize(
    ("place", "fits", "does_not"),
    [
        ("left of", (60, 130, 120, 190), (280, 130, 340, 190)),
        ("right of", (280, 130, 340, 190), (60, 130, 120, 190)),
        ("above", (160, 20, 240, 80), (160, 220, 240, 290)),
        ("above", (160, 20, 240, 80), (10, 20, 60, 80)),  # above its level, but far to the side
        ("below", (160, 220, 240, 290), (160, 20, 240, 80)),
        ("under", (160, 180, 240, 260), (300, 220, 390, 290)),
        ("on", (180, 80, 220, 130), (180, 10, 220, 60)),  # the second floats
        ("on", (180, 80, 220, 130), (10, 80, 60, 130)),
        ("in", (170, 140, 220, 180), (100, 140, 170, 180)),
        ("in", (170, 140, 220, 180), (140, 110, 260, 215)),  # larger than what it should be in
        ("behind", (160, 60, 260, 160), (160, 140, 260, 280)),
        ("in front of", (160, 160, 260, 280), (160, 20, 260, 110)),
        ("next to", (260, 130, 320, 200), (390, 0, 399, 20)),
        ("next to", (260, 130, 320, 200), (170, 140, 220, 180)),  # inside is not beside
        ("with", (140, 60, 260, 220), (300, 60, 390, 220)),
        ("supporting", (100, 180, 300, 290), (100, 10, 300, 100)),
    ],
)
def test_place_tells_apart(place, fits, does_not):
    right, wrong = Boxed("right", fits), Boxed("wrong", does_not)

    assert names(related([wrong, right], place, [ANCHOR], SIZE)) == ["right"]


@pytest.mark.parametrize("place", ["left of", "next to", "above", "behind"])
def test_nearer_objects_come_first(place):
    near, far = {
        "left of": ((90, 130, 140, 190), (0, 130, 50, 190)),
        "next to": ((255, 130, 300, 190), (330, 130, 390, 190)),
        "above": ((160, 60, 240, 110), (160, 0, 240, 30)),
        "behind": ((150, 60, 250, 150), (150, 0, 250, 40)),
    }[place]

    assert names(related([Boxed("far", far), Boxed("near", near)], place, [ANCHOR], SIZE)) == ["near", "far"]


def test_between_needs_an_anchor_on_either_side():
    a, b, c = (
        Boxed("a", (0, 100, 50, 150)),
        Boxed("b", (180, 100, 220, 150)),
        Boxed("c", (350, 100, 400, 150)),
    )
    off = Boxed("off", (360, 200, 380, 220))

    assert names(related([off, b], "between", [a, c], SIZE)) == ["b"]
    assert related([b], "between", [a], SIZE) == []


def test_any_of_several_anchors_will_do():
    far_anchor = Boxed("far anchor", (0, 0, 30, 30))
    beside_far = Boxed("candidate", (35, 0, 60, 30))

    assert names(related([beside_far], "next to", [ANCHOR, far_anchor], SIZE)) == ["candidate"]


def test_an_object_is_not_related_to_itself():
    assert related([ANCHOR], "with", [ANCHOR], SIZE) == []
    assert related([Boxed("again", (151, 120, 250, 200))], "with", [ANCHOR], SIZE) == []


def test_geometry_of_boxes():
    a, b = (0.0, 0.0, 10.0, 10.0), (5.0, 0.0, 15.0, 10.0)

    assert centre(b) == (10, 5)
    assert area(b) == 100
    assert area((5, 5, 0, 0)) == 0
    assert overlap(a, b) == 50
    assert box_iou(a, b) == pytest.approx(1 / 3)
    assert box_iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0
    assert gap(a, b) == 0
    assert gap(a, (13, 14, 20, 20)) == 5
