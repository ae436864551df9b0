"""What counts as seen, and when two things are one."""

from __future__ import annotations

import numpy as np
import pytest

from lisa_tool.lite.scene import CONFIRMED, SURE, Hint, distinct, without_repeats
from tests.lite.scenes import StubEyes, scene_of, thing


@pytest.mark.parametrize(
    ("source", "score", "seen"),
    [
        ("detector", SURE, True),
        ("detector", SURE - 0.01, False),
        ("classifier", CONFIRMED, True),
        ("classifier", CONFIRMED - 0.01, False),
    ],
)
def test_an_object_counts_as_seen_from_the_threshold_of_its_source(source, score, seen):
    assert bool(scene_of(thing("cup", (0, 0, 9, 9), score, source)).seen()) == seen


def test_the_strongest_hint_of_a_kind_is_given():
    hints = [Hint("hat", 0.8, ((1, 1),)), Hint("owl", 0.7, ((2, 2),)), Hint("hat", 0.5, ((3, 3),))]
    scene = scene_of(hints=hints)

    assert scene.hint("hat") is hints[0]
    assert scene.hint("cup") is None


def test_a_scene_knows_how_much_memory_it_holds():
    scene = scene_of()
    before = scene.nbytes

    scene.fine = np.zeros((25, 19, 1000), np.float16)

    assert scene.nbytes == before >= scene.rgb.nbytes + scene.embedding.features.nbytes + scene.fine.nbytes


def test_of_two_readings_of_one_place_the_surer_stays():
    cup, bowl, far = (
        thing("cup", (0, 0, 100, 100), 0.6),
        thing("bowl", (0, 0, 100, 90)),
        thing("cup", (200, 0, 300, 100)),
    )

    assert distinct([cup, bowl, far]) == [bowl, far]


def cut(*objects):
    scene = scene_of(*objects)
    return StubEyes().cut(scene, objects)


def test_objects_with_the_same_mask_are_one_and_the_order_stays():
    left, again, right = cut(
        thing("cup", (0, 0, 100, 100), 0.6),
        thing("bowl", (0, 0, 100, 92), 0.9),
        thing("cup", (200, 0, 300, 100), 0.5),
    )

    assert without_repeats([right, left, again]) == [right, again]


def test_a_part_of_its_own_kind_is_dropped_and_one_of_another_kind_stays():
    man, arm, tie = cut(
        thing("person", (0, 0, 100, 200)),
        thing("person", (60, 50, 100, 120), 0.5),
        thing("tie", (40, 40, 60, 100), 0.5),
    )

    assert without_repeats([man, arm, tie]) == [man, tie]


def test_no_object_has_no_repeats():
    assert without_repeats([]) == []
