"""Choose among objects by where they are: leftmost, second from the right, next to the bus, behind the car.

Boxes are (x0, y0, x1, y1) in pixels of the upright image. A photo has no depth, so 'near' means large and low
in the picture, which holds for things that stand on the ground.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

from lisa_tool.lite.phrases import Order, Place

Boxed = tuple[float, float, float, float]


class HasBox(Protocol):
    """Anything with a box."""

    @property
    def box(self) -> Boxed: ...


T = TypeVar("T", bound=HasBox)


def centre(box: Boxed) -> tuple[float, float]:
    """The middle (x, y) of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def area(box: Boxed) -> float:
    """Width times height."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(a: Boxed, b: Boxed) -> float:
    """The area that two boxes share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def box_iou(a: Boxed, b: Boxed) -> float:
    """Intersection over union of two boxes."""
    shared = overlap(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union else 0.0


def same_thing(a: Boxed, b: Boxed) -> bool:
    """Whether two boxes of one kind are the same object: they overlap much, or one lies inside the other."""
    return box_iou(a, b) > 0.4 or overlap(a, b) > 0.8 * min(area(a), area(b))


def gap(a: Boxed, b: Boxed) -> float:
    """The distance between two boxes, 0 when they touch."""
    dx = max(a[0] - b[2], b[0] - a[2], 0.0)
    dy = max(a[1] - b[3], b[1] - a[3], 0.0)
    return math.hypot(dx, dy)


def ordered(objects: Sequence[T], order: Order, size_hw: tuple[int, int]) -> list[T]:
    """The objects from the most to the least `order`: 'left' starts with the leftmost.

    'middle' is the middle of three objects or more, and of the image when there are fewer.
    """
    if order == "middle" and len(objects) >= 3:
        x, y = (sum(centre(o.box)[axis] for o in objects) / len(objects) for axis in (0, 1))
        return sorted(objects, key=lambda o: math.hypot(centre(o.box)[0] - x, centre(o.box)[1] - y))
    return sorted(objects, key=lambda o: _rank(o.box, order, size_hw))


def group(objects: Sequence[T], order: Order, size_hw: tuple[int, int]) -> list[T]:
    """Of several the ones that are `order`, for 'the people on the left', 'the large boats'.

    Left, right, top and bottom mean that half of the image; the others the side of the widest gap. At least
    one is returned.
    """
    line = ordered(objects, order, size_hw)
    ranks = [_rank(o.box, order, size_hw) for o in line]
    if order in {"left", "right", "top", "bottom"}:
        middle = 0.5 if order in {"left", "top"} else -0.5
        return [o for o, rank in zip(line, ranks, strict=True) if rank < middle] or line[:1]
    gaps = [after - before for before, after in pairwise(ranks)]
    return line[: gaps.index(max(gaps)) + 1] if gaps else line


def _rank(box: Boxed, order: Order, size_hw: tuple[int, int]) -> float:
    """What `order` sorts by, lowest first; positions are fractions of the image."""
    height, width = size_hw
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    size = math.sqrt(area(box) / (height * width))
    match order:
        case "left":
            return x
        case "right":
            return -x
        case "top":
            return y
        case "bottom":
            return -y
        case "near":
            return -(box[3] / height + size)
        case "far":
            return box[3] / height + size
        case "largest":
            return -size
        case "smallest":
            return size
        case "middle":
            return abs(x - 0.5) + abs(y - 0.5)


def related(objects: Sequence[T], place: Place, anchors: Sequence[T], size_hw: tuple[int, int]) -> list[T]:
    """The objects that stand in `place` to an anchor, best first.

    Any of `anchors` will do; 'between' needs two of them.
    """
    diagonal = math.hypot(*size_hw)
    best: list[tuple[float, T]] = []
    for candidate in objects:
        others = [a for a in anchors if a is not candidate and box_iou(a.box, candidate.box) < 0.9]
        if place == "between":
            scores = [
                s
                for i, a in enumerate(others)
                for b in others[i + 1 :]
                if (s := _between(candidate.box, a.box, b.box)) is not None
            ]
        else:
            scores = [s for a in others if (s := _misfit(candidate.box, place, a.box, diagonal)) is not None]
        if scores:
            best.append((min(scores), candidate))
    return [candidate for _, candidate in sorted(best, key=lambda pair: pair[0])]


def _misfit(box: Boxed, place: Place, anchor: Boxed, diagonal: float) -> float | None:
    """How badly `box` fits 'PLACE anchor', 0 is best; None when it does not."""
    (x, y), (ax, ay) = centre(box), centre(anchor)
    distance = gap(box, anchor) / diagonal
    width, height = box[2] - box[0], box[3] - box[1]
    beside = _shared(box[0], box[2], anchor[0], anchor[2]) / max(1.0, min(width, anchor[2] - anchor[0]))
    inside = overlap(box, anchor) / max(1.0, area(box))
    touching = distance < 0.02
    match place:
        case "left of":
            return distance + abs(y - ay) / diagonal if x < ax and box[0] < anchor[0] else None
        case "right of":
            return distance + abs(y - ay) / diagonal if x > ax and box[2] > anchor[2] else None
        case "above":
            return distance + (1 - beside) if y < ay and beside > 0.2 else None
        case "below" | "under":
            return distance + (1 - beside) if y > ay and beside > 0.2 else None
        case "on":
            stands = y < ay + 0.25 * (anchor[3] - anchor[1]) and box[3] > anchor[1] - 0.1 * height
            return (1 - beside) + (1 - inside) * 0.5 if beside > 0.5 and stands and touching else None
        case "in":
            return 1 - inside if inside > 0.6 and area(box) < area(anchor) else None
        case "behind":
            return distance + (1 - max(0.0, beside)) * 0.3 if box[3] < anchor[3] - 0.01 * diagonal else None
        case "in front of":
            return (
                distance + (1 - max(0.0, beside)) * 0.3
                if box[3] > anchor[3] - 0.02 * diagonal and distance < 0.2
                else None
            )
        case "next to":
            return distance + 0.1 * inside if distance < 0.25 and inside < 0.95 else None
        case "with":
            return (
                distance + (1 - max(inside, overlap(box, anchor) / max(1.0, area(anchor)))) * 0.5
                if touching
                else None
            )
        case "supporting":
            return _misfit(anchor, "on", box, diagonal)
        case "between":
            return None


def _between(box: Boxed, a: Boxed, b: Boxed) -> float | None:
    """How far `box` is from the middle between two anchors, None when it is not between them."""
    (x, y), (ax, ay), (bx, by) = centre(box), centre(a), centre(b)
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / max(1.0, (bx - ax) ** 2 + (by - ay) ** 2)
    return abs(along - 0.5) if 0.1 < along < 0.9 else None


def _shared(a0: float, a1: float, b0: float, b1: float) -> float:
    return max(0.0, min(a1, b1) - max(a0, b0))
