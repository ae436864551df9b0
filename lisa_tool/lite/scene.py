"""What `lite` knows of one image: the objects seen, the classifier's hints, and SAM's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lisa_tool.lite.relations import Boxed, box_iou
from lisa_tool.lite.sam import ImageEmbedding

Floats = NDArray[np.float32]

SURE = 0.35  # detector confidence from which an object counts as seen
CONFIRMED = 0.55  # classifier confidence from which an object counts as seen
SAME_MASK = 0.75  # IoU from which two masks are one object
PART_OF_MASK = 0.85  # share of the smaller of two masks of a kind inside the larger, from which it is a part
MAX_FINE_BYTES = 25 * 25 * 1000 * 2  # of `Scene.fine`, for a square image


@dataclass(frozen=True)
class SceneObject:
    """One object in the picture; box (x0, y0, x1, y1) in pixels. `logits` is set when it was cut already.

    `second_name`: the detector is sure of the object, and this kind is its second thought about it.
    """

    kind: str
    score: float
    box: Boxed
    source: str
    second_name: bool = False
    logits: Floats | None = field(default=None, compare=False, repr=False)
    iou: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Hint:
    """A place where the classifier suspects a kind."""

    kind: str
    score: float
    spots: tuple[tuple[float, float], ...]  # (x, y), pixels; one for each size at which it was seen


@dataclass
class Scene:
    """One image as `lite` sees it.

    objects: faint ones too, best first; closer: what a closer look found, None before it is taken;
    fine: the classifier at its finest, (rows, columns, 1000) probabilities, None before it is needed.
    """

    rgb: NDArray[np.uint8] = field(repr=False)
    objects: tuple[SceneObject, ...]
    hints: tuple[Hint, ...]
    embedding: ImageEmbedding = field(repr=False)
    fine: NDArray[np.float16] | None = field(default=None, repr=False)
    closer: tuple[SceneObject, ...] | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.embedding.size_hw

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self.rgb.nbytes + self.embedding.nbytes + MAX_FINE_BYTES

    def seen(self) -> list[SceneObject]:
        """The objects that count as seen."""
        return [o for o in self.objects if o.score >= (CONFIRMED if o.source == "classifier" else SURE)]

    def hint(self, kind: str) -> Hint | None:
        """The strongest hint of a kind."""
        return next((h for h in self.hints if h.kind == kind), None)


def distinct(objects: Sequence[SceneObject], max_iou: float = 0.7) -> list[SceneObject]:
    """One object per place: of several readings of the same box the surest stays."""
    kept: list[SceneObject] = []
    for o in sorted(objects, key=lambda o: -o.score):
        if all(box_iou(o.box, k.box) < max_iou for k in kept):
            kept.append(o)
    return kept


def without_repeats(cut: Sequence[SceneObject]) -> list[SceneObject]:
    """Drop objects whose mask another, surer one has: the same pixels, or a part of one of the same kind.

    The order of the rest is kept.
    """
    masks = [np.asarray(o.logits) > 0 for o in cut]
    kept: list[int] = []
    for i in sorted(range(len(cut)), key=lambda i: -cut[i].score):
        repeats = False
        for j in kept:
            shared = float((masks[i] & masks[j]).sum())
            smaller = min(masks[i].sum(), masks[j].sum())
            same = shared > SAME_MASK * (masks[i] | masks[j]).sum()
            part = cut[i].kind == cut[j].kind and shared > PART_OF_MASK * smaller
            repeats = repeats or same or part
        if not repeats:
            kept.append(i)
    return [cut[i] for i in sorted(kept)]
