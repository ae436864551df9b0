"""The closer look: where it looks, what it believes, how it joins what was seen twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from lisa_tool.engine.call import Call
from lisa_tool.lite.detector import Detection
from lisa_tool.lite.eyes import CLOSER_TRUST, FAINT, Eyes
from lisa_tool.lite.scene import SURE
from tests.lite.scenes import HEIGHT, WIDTH, scene_of, thing


@dataclass
class StubDetector:
    """Sees in each part of an image what it was told stands there."""

    at: dict = field(default_factory=dict)  # (left, top) of the part -> detections in its pixels
    looks: list = field(default_factory=list)  # (left, top, width, height) of each part seen

    def detect(self, rgb, min_score, *looks):
        assert min_score == FAINT
        left, top = int(rgb[0, 0, 0]), int(rgb[0, 0, 1])
        self.looks.append((left, top, rgb.shape[1], rgb.shape[0]))
        return self.at.get((left, top), [])


@pytest.fixture(scope="module")
def real_eyes():
    return Eyes()


@pytest.fixture
def detector():
    return StubDetector()


@pytest.fixture
def eyes(real_eyes, detector, monkeypatch):
    monkeypatch.setattr(real_eyes, "_detector", detector)
    return real_eyes


@pytest.fixture
def scene():
    """A scene whose pixels say where they are: x in red, y in green (modulo 256; parts start below that)."""
    scene = scene_of(thing("cup", (20, 20, 60, 60), 0.4))
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    rgb = np.stack([x % 256, y % 256, x * 0], axis=-1).astype(np.uint8)
    return replace(scene, rgb=rgb)


def test_the_quarters_cover_the_image_and_overlap(eyes, detector, scene):
    eyes.look_closer(scene, {"cup"})

    looked = np.zeros((HEIGHT, WIDTH), int)
    for left, top, width, height in detector.looks:
        looked[top : top + height, left : left + width] += 1
    assert len(detector.looks) == 4
    assert looked.min() == 1
    assert looked[HEIGHT // 2, WIDTH // 2] == 4


def test_the_quarters_are_looked_at_once_per_image(eyes, detector, scene):
    first = eyes.look_closer(scene, {"cup"})

    assert eyes.look_closer(scene, {"cup"}) == first
    eyes.look_closer(scene, {"dog"})

    assert len(detector.looks) == 4


def parts(eyes, detector, scene):
    """(left, top, width, height) of the quarters."""
    eyes.look_closer(replace(scene), {"cup"})
    looks = list(detector.looks)
    detector.looks.clear()
    return looks


def test_a_box_in_a_quarter_is_moved_to_its_place_in_the_image(eyes, detector, scene):
    left, top, _, _ = parts(eyes, detector, scene)[-1]
    detector.at[left, top] = [Detection("dog", 0.5, (50, 60, 90, 110))]

    (dog,) = eyes.look_closer(scene, {"dog"})

    assert dog.box == (50 + left, 60 + top, 90 + left, 110 + top)
    assert dog.score == pytest.approx(0.5 * CLOSER_TRUST)


def test_a_box_cut_off_by_an_inner_border_is_dropped_and_one_at_the_image_border_stays(eyes, detector, scene):
    (left, top, width, height), *_ = parts(eyes, detector, scene)
    assert (left, top) == (0, 0)
    at_image_border = Detection("dog", 0.8, (0, 0, 40, 50))
    cut = [
        Detection("dog", 0.8, (width - 50, 60, width, 110)),
        Detection("dog", 0.8, (60, height - 50, 110, height - 1)),
    ]
    detector.at[0, 0] = [at_image_border, *cut]

    (dog,) = eyes.look_closer(scene, {"dog"})

    assert dog.box == pytest.approx((0, 0, 40, 50))


@pytest.mark.parametrize("box", [(0, 60, 50, 110), (60, 0, 110, 50)])
def test_the_last_quarter_drops_what_its_left_and_upper_borders_cut(eyes, detector, scene, box):
    left, top, _, _ = parts(eyes, detector, scene)[-1]
    detector.at[left, top] = [Detection("dog", 0.8, box)]

    assert eyes.look_closer(scene, {"dog"}) == []


def test_what_both_looks_saw_is_joined(eyes, detector, scene):
    detector.at[0, 0] = [Detection("cup", 0.4 / CLOSER_TRUST, (24, 20, 64, 60))]

    (cup,) = eyes.look_closer(scene, {"cup"})

    assert cup.box == pytest.approx((22, 20, 62, 60))
    assert cup.score == pytest.approx(0.4)


def test_what_is_inside_another_of_its_kind_is_the_same_thing(eyes, detector, scene):
    detector.at[0, 0] = [Detection("cup", 0.9, (30, 30, 50, 50))]

    (cup,) = eyes.look_closer(scene, {"cup"})

    assert cup.score == pytest.approx(0.9 * CLOSER_TRUST)


def test_other_kinds_and_distant_boxes_are_not_joined(eyes, detector, scene):
    detector.at[0, 0] = [
        Detection("bowl", 0.8, (20, 20, 60, 60)),
        Detection("cup", 0.8, (120, 20, 160, 60)),
    ]

    assert [o.kind for o in eyes.look_closer(scene, {"cup", "bowl"})].count("cup") == 2
    assert [o.kind for o in eyes.look_closer(scene, {"bowl"})] == ["bowl"]


def test_second_thoughts_of_the_detector_are_never_sure(eyes, detector, scene):
    detector.at[0, 0] = [Detection("cup", 0.8, (120, 20, 160, 60), (("bowl", 0.7),))]

    (bowl,) = eyes.look_closer(scene, {"bowl"})

    assert bowl.score < SURE


def test_looking_counts_one_encoding_and_says_what_it_does(real_eyes):
    told = []
    call = Call.start(deadline_s=100, progress=lambda progress: told.append(progress.stage))

    scene = real_eyes.look(np.full((60, 80, 3), 127, np.uint8), call)

    assert call.image_encodes == 1
    assert told == ["detecting objects", "looking again", "looking for other kinds", "encoding the image"]
    assert (scene.objects, scene.size_hw) == ((), (60, 80))


def test_a_kind_without_a_hint_is_not_confirmed(real_eyes, scene):
    assert real_eyes.confirm(scene, "hat") is None


def test_cutting_keeps_the_order_and_leaves_what_is_cut_alone(real_eyes):
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[30:90, 20:60] = (230, 60, 40)
    picture[30:90, 100:140] = (40, 200, 230)
    scene = real_eyes.look(picture, Call.start(deadline_s=100))
    done = replace(thing("cup", (0, 0, 10, 10)), logits=np.ones((256, 256), np.float32), iou=0.5)

    left, same, right = real_eyes.cut(
        scene, [thing("book", (20, 30, 60, 90)), done, thing("book", (100, 30, 140, 90))]
    )

    assert same is done
    assert (left.box, right.box) == ((20, 30, 60, 90), (100, 30, 140, 90))
    columns = [np.flatnonzero((o.logits > 0).any(axis=0)) for o in (left, right)]
    assert columns[0].max() < 128 < columns[1].min()
    assert 0 <= left.iou <= 1


def test_cutting_nothing_gives_nothing(real_eyes, scene):
    assert real_eyes.cut(scene, []) == []
