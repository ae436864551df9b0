"""Scenes made by hand: what `lite` would know of an image, without an image or a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lisa_tool.lite.relations import Boxed
from lisa_tool.lite.sam import GRID, SIDE, ImageEmbedding
from lisa_tool.lite.scene import Hint, Scene, SceneObject

WIDTH, HEIGHT = 400, 300


def thing(
    kind: str, box: Boxed, score: float = 0.9, source: str = "detector", *, second_name: bool = False
) -> SceneObject:
    return SceneObject(kind, score, box, source, second_name)


def scene_of(*objects: SceneObject, hints: Sequence[Hint] = ()) -> Scene:
    """A black scene of 400 x 300 pixels that holds these objects."""
    resized = (HEIGHT * SIDE // WIDTH, SIDE)
    embedding = ImageEmbedding(np.zeros((1, 256, 64, 64), np.float32), (HEIGHT, WIDTH), resized)
    best_first = tuple(sorted(objects, key=lambda o: -o.score))
    return Scene(np.zeros((HEIGHT, WIDTH, 3), np.uint8), best_first, tuple(hints), embedding)


def paint(scene: Scene, box: Boxed, rgb: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = map(int, box)
    scene.rgb[y0:y1, x0:x1] = rgb


@dataclass
class StubEyes:
    """Sees in a closer look only what it was given; cuts every object along its box."""

    hidden: Sequence[SceneObject] = ()  # what a closer look finds
    confirmed: dict[str, SceneObject] = field(default_factory=dict)  # what stands at the hints of a kind

    def look_closer(self, scene: Scene, kinds: set[str]) -> list[SceneObject]:
        found = [o for o in (*scene.objects, *self.hidden) if o.kind in kinds]
        return sorted(found, key=lambda o: -o.score)

    def confirm(self, scene: Scene, kind: str) -> SceneObject | None:
        return self.confirmed.get(kind)

    def likeliest(self, scene: Scene, candidates: Sequence[SceneObject]) -> list[SceneObject]:
        return list(candidates)

    def cut(self, scene: Scene, objects: Sequence[SceneObject]) -> list[SceneObject]:
        return [replace(o, logits=_along(o.box, scene), iou=0.9) for o in objects]


def _along(box: Boxed, scene: Scene) -> np.ndarray:
    x0, y0, x1, y1 = (round(side * scene.embedding.scale * GRID / SIDE) for side in box)
    logits = np.full((GRID, GRID), -8, np.float32)
    logits[y0:y1, x0:x1] = 8
    return logits
