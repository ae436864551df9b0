"""Find objects of 80 everyday kinds: SSD-MobileNet-v2, averaged over several looks at an image.

Few mistakes of this small network survive in a mirrored or rescaled copy of the image. So an object's score
is its mean over a group of looks (`COARSE` for whatever fills much of the image, `FINE` for small things),
and a look that does not see it counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa_tool.lite.sessions import Session

Floats = NDArray[np.float32]

_NAMES = """
    background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light,
    fire hydrant, , stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
    zebra, giraffe, , backpack, umbrella, , , handbag, tie, suitcase, frisbee, skis, snowboard,
    sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, ,
    wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog,
    pizza, donut, cake, chair, couch, potted plant, bed, , dining table, , , toilet, , tv, laptop, mouse,
    remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, , book, clock, vase,
    scissors, teddy bear, hair drier, toothbrush
"""
# The network's 91 classes by its own index: 0 is the background, and numbers that COCO left out have no name.
KINDS: Final = tuple(name.strip() for name in _NAMES.split(","))


@dataclass(frozen=True)
class Look:
    """One size at which the network sees the image, together with its mirror image."""

    side: int  # pixels, of a square of as many pixels as the look
    squash: bool = False  # to that square, as the network was trained; otherwise the aspect is kept
    largest: float = 1.0  # share of the look's longer side; boxes with a longer side are not believed
    trust: float = 1.0  # factor on its scores


# Several sizes for what fills much of the image, one for small things: large ones fall apart there.
COARSE: Final = (Look(300, squash=True), Look(288))
FINE: Final = (Look(512, largest=0.3, trust=0.85),)
QUICK: Final = (COARSE[:1],)  # one look, for a part of an image that was looked at already

MIN_SCORE: Final = 0.3  # of `detect` when the caller does not say
SEEN: Final = 0.05  # a look's scores below this count as not seen
SAME_OBJECT_IOU: Final = 0.5  # boxes of one kind
SAME_PLACE_IOU: Final = 0.75  # boxes of two kinds: one object, named twice
# A box of which this share lies inside a larger one of its kind, and which has this share of the larger one's
# area, is a part and not an object of its own.
PART_INSIDE: Final = 0.85
PART_AREA: Final = 0.15
LONGEST_STRIP: Final = 8.0  # aspect; a thinner image is seen squeezed
MAX_SEEN: Final = 200  # candidates kept of one look

TRAINED_SIDE: Final = 300  # pixels of the square images of training: anchors keep the size they had there
BOX_SCALES: Final = np.array([10, 10, 5, 5], np.float32)  # of the encoded centre y, centre x, height, width


@dataclass(frozen=True)
class Detection:
    kind: str  # a COCO name, such as "dining table"
    score: float  # 0..1, mean over the looks
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the image, inside it
    alternatives: tuple[tuple[str, float], ...] = ()  # other kinds seen in the same place, best first


class Detector:
    def __init__(self) -> None:
        self._session = Session("detector.onnx")

    def detect(
        self,
        rgb: NDArray[np.uint8],
        min_score: float = MIN_SCORE,
        looks: Sequence[Sequence[Look]] = (COARSE, FINE),
    ) -> list[Detection]:
        """rgb: (height, width, 3) uint8. Returns the objects found, most certain first, one for each place.

        looks: groups of looks; scores are means within a group.
        """
        found = [one for group in looks for one in _fuse(list(self._see(rgb, group)), min_score)]
        return _one_a_place(_suppress(found))

    def predict(self, rgb: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """What the network itself says of an image, at the size that it has.

        rgb: (height, width, 3) uint8. Returns, for every anchor, boxes (anchors, 4) x1, y1, x2, y2 in pixels,
        and logits (anchors, 91) by the index of `KINDS`; each kind's sigmoid is its score.
        """
        encoded, logits = self._session.run(["boxes", "logits"], {"image": rgb[None]})
        return _decode(encoded[0], anchors(*rgb.shape[:2])), logits[0]

    def _see(self, rgb: NDArray[np.uint8], looks: Sequence[Look]) -> Iterator[list[Detection]]:
        """The candidates of each look and of its mirror image, in pixels of `rgb`."""
        height, width = rgb.shape[:2]
        for look in looks:
            small_height, small_width = _look_size(look, height, width)
            small = np.asarray(
                Image.fromarray(rgb).resize(
                    (small_width, small_height), Image.Resampling.BILINEAR, reducing_gap=2.0
                )
            )
            for mirrored in (False, True):
                boxes, logits = self.predict(small[:, ::-1] if mirrored else small)
                if mirrored:
                    boxes[:, [0, 2]] = small_width - boxes[:, [2, 0]]
                boxes = np.clip(boxes, 0, [small_width, small_height] * 2)
                sides = boxes[:, 2:] - boxes[:, :2]
                believed = (sides.min(axis=1) >= 1) & (
                    sides.max(axis=1) <= look.largest * max(small_height, small_width)
                )
                scale = np.array([width / small_width, height / small_height] * 2)
                yield _candidates(boxes[believed] * scale, logits[believed], look.trust)


def _look_size(look: Look, height: int, width: int) -> tuple[int, int]:
    """(height, width) of a look at an image of this size."""
    if look.squash:
        return look.side, look.side
    aspect = min(max(width / height, 1 / LONGEST_STRIP), LONGEST_STRIP) ** 0.5
    return round(look.side / aspect), round(look.side * aspect)


def _candidates(boxes: Floats, logits: Floats, trust: float) -> list[Detection]:
    """The objects of one look, without repetitions of a kind in one place, most certain first."""
    where, kind = np.nonzero(logits[:, 1:] > np.log(SEEN / (1 - SEEN)))
    kind += 1
    scores = _sigmoid(logits[where, kind]) * trust
    order = np.argsort(-scores, kind="stable")[:MAX_SEEN]
    where, kind, scores = where[order], kind[order], scores[order]
    kept = _keep_best(boxes[where], kind)
    return [Detection(KINDS[int(kind[i])], float(scores[i]), _as_box(boxes[where[i]])) for i in kept]


def _keep_best(boxes: Floats, kinds: NDArray[Any]) -> list[int]:
    """Indices that survive the suppression of less certain boxes of the same kind, most certain first."""
    overlap = (iou(boxes, boxes) > SAME_OBJECT_IOU) & (kinds[:, None] == kinds[None])
    kept: list[int] = []
    for i in range(len(boxes)):
        if not overlap[i, kept].any():
            kept.append(i)
    return kept


def _fuse(looks: list[list[Detection]], min_score: float) -> list[Detection]:
    """Average what several looks saw: mean score, and the box weighted by score."""
    pool = sorted(
        ((one, look) for look, ones in enumerate(looks) for one in ones), key=lambda pair: -pair[0].score
    )
    boxes = np.array([one.box for one, _ in pool]).reshape(-1, 4)
    overlap = iou(boxes, boxes)
    free = np.ones(len(pool), bool)
    fused = []
    for i, (best, _) in enumerate(pool):
        if not free[i]:
            continue
        group: dict[int, int] = {}  # look -> its most certain box here
        for j in np.flatnonzero(free & (overlap[i] > SAME_OBJECT_IOU)):
            one, look = pool[j]
            if one.kind == best.kind:
                free[j] = False
                group.setdefault(look, int(j))
        weights = np.array([pool[j][0].score for j in group.values()])
        score = float(weights.sum() / len(looks))
        if score >= min_score:
            box = np.average(boxes[list(group.values())], axis=0, weights=weights)
            fused.append(Detection(best.kind, score, _as_box(box)))
    return fused


def _suppress(found: list[Detection]) -> list[Detection]:
    """Of the same kind in the same place keep the most certain, and of a whole and its part the whole."""
    ordered = sorted(found, key=lambda one: -one.score)
    boxes = np.array([one.box for one in ordered]).reshape(-1, 4)
    kinds = np.array([one.kind for one in ordered])
    shared, areas = _shared_area(boxes, boxes), _areas(boxes)
    inside = shared > PART_INSIDE * areas[:, None]  # row inside column
    part = inside & (areas[:, None] > PART_AREA * areas[None]) & (kinds[:, None] == kinds[None])
    kept = _keep_best(boxes, kinds)
    return [ordered[i] for i in kept if not any(part[i, j] for j in kept if j < i)]


def _one_a_place(ordered: list[Detection]) -> list[Detection]:
    """Of several kinds in the same place keep the most certain and name the others in its `alternatives`."""
    kept: list[Detection] = []
    for one in ordered:
        overlaps = iou(np.array([one.box]), np.array([other.box for other in kept]).reshape(-1, 4))[0]
        at = int(overlaps.argmax()) if len(kept) else -1
        if at >= 0 and overlaps[at] > SAME_PLACE_IOU:
            kept[at] = replace(kept[at], alternatives=(*kept[at].alternatives, (one.kind, one.score)))
        else:
            kept.append(one)
    return kept


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union (n, m) of every box of a (n, 4) with every box of b (m, 4); x1, y1, x2, y2."""
    shared = _shared_area(a, b)
    union = _areas(a)[:, None] + _areas(b)[None] - shared
    overlap: NDArray[np.floating] = shared / np.maximum(union, 1e-9)
    return overlap


def _shared_area(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n, 4), (m, 4) -> (n, m) square pixels."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    shared: NDArray[np.floating] = sides[..., 0] * sides[..., 1]
    return shared


def _areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    areas: NDArray[np.floating] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


@lru_cache(maxsize=64)
def anchors(height: int, width: int) -> Floats:
    """The boxes that the network's predictions start from, in its order: level, row, column, shape.

    height, width: of the image that the network gets.
    Returns (anchors, 4) centre y, centre x, height, width in pixels. Sizes are those of training, whatever
    the image's size: a larger image is a larger field, not larger objects.
    """
    rows, columns = -(-height // 16), -(-width // 16)
    scales = [0.2 + 0.15 * level for level in range(6)] + [1.0]
    parts = []
    for level, (scale, next_scale) in enumerate(pairwise(scales)):
        if level == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            shapes = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)]
            shapes.append(((scale * next_scale) ** 0.5, 1.0))
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) * height / rows,
            (np.arange(columns) + 0.5) * width / columns,
            indexing="ij",
        )
        high = TRAINED_SIDE * np.array([size / ratio**0.5 for size, ratio in shapes])
        wide = TRAINED_SIDE * np.array([size * ratio**0.5 for size, ratio in shapes])
        parts.append(
            np.stack(np.broadcast_arrays(y[..., None], x[..., None], high, wide), axis=-1).reshape(-1, 4)
        )
        rows, columns = -(-rows // 2), -(-columns // 2)
    made = np.concatenate(parts).astype(np.float32)
    made.flags.writeable = False  # it is cached
    return made


def _decode(encoded: Floats, start: Floats) -> Floats:
    """Encoded boxes (n, anchors, 4) on anchors (anchors, 4) -> x1, y1, x2, y2 in pixels."""
    moved = encoded / BOX_SCALES
    center = moved[..., :2] * start[:, 2:] + start[:, :2]
    half = np.exp(moved[..., 2:]) * start[:, 2:] / 2
    corners = np.concatenate([center - half, center + half], axis=-1)  # y1, x1, y2, x2
    return corners[..., [1, 0, 3, 2]]


def _sigmoid(logits: Floats) -> Floats:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _as_box(row: NDArray[np.floating]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in row)
    return x1, y1, x2, y2
