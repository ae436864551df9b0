"""The networks of `lite`, and how they look at an image.

Two sources of objects: the detector finds instances of COCO's 80 kinds; the classifier, run at every place
of the image, hints at other kinds, and SAM cuts what stands at such a place. A hint only counts as seen after
the classifier has looked at the cut-out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lisa_tool.engine.call import Call
from lisa_tool.lite.classifier import Classifier
from lisa_tool.lite.detector import COARSE, FINE, QUICK, Detector, Look
from lisa_tool.lite.knowledge import load_knowledge
from lisa_tool.lite.relations import Boxed, area, same_thing
from lisa_tool.lite.sam import GRID, SIDE, SamDecoder, SamEncoder, with_padding_point
from lisa_tool.lite.scene import CONFIRMED, SURE, Floats, Hint, Scene, SceneObject, distinct
from lisa_tool.masks.geometry import measure
from lisa_tool.results import Box

FAINT = 0.15  # detector confidence below which a detection is not even a guess
CLOSER_TRUST = 0.9  # factor on the detector's confidence in a quarter of the image
REREAD, MAX_REREAD = 0.2, 8  # detector confidence, and number of objects, that the classifier looks at again
SURE_CLASS = 0.6  # classifier probability of a whole object that counts as much as CONFIRMED
DISBELIEF = 0.1  # what a faint object's confidence is multiplied with when the classifier sees nothing of it
HINT = 0.35  # classifier probability at some place from which a kind is worth a second look
DENSE_SIDES = (320, 512)  # longer sides, pixels, at which the classifier looks at every image
FINE_SIDE = 800  # ... and when a kind is looked for
MIN_SHARE, MAX_SHARE = 0.0005, 0.7  # share of the image that an object found by the classifier may take


class Eyes:
    """The networks that look."""

    def __init__(self) -> None:
        self._detector = Detector()
        self._classifier = Classifier()
        self._encoder = SamEncoder()
        self._decoder = SamDecoder()
        kinds = load_knowledge()
        self._by_label = {kind.coco: kind.id for kind in kinds if kind.coco}
        self._animals = {kind.id for kind in kinds if "animal" in kind.categories}
        self._classes = {k.id: np.array(k.imagenet) for k in kinds if k.imagenet}

    def look(self, rgb: NDArray[np.uint8], call: Call) -> Scene:
        """Everything that is worked out once per image. Counts one image encoding."""
        with call.stage("detecting objects", 0.15):
            objects = self._detected(rgb)
        with call.stage("looking again", 0.25):
            objects = self._reread(rgb, objects)
        with call.stage("looking for other kinds", 0.3):
            hints = self._hints(rgb)
        with call.stage("encoding the image", 0.4):
            embedding = self._encoder.embed(rgb)
            call.image_encodes += 1
        return Scene(rgb, tuple(sorted(objects, key=lambda o: -o.score)), hints, embedding)

    def look_closer(self, scene: Scene, kinds: set[str]) -> list[SceneObject]:
        """Objects of these kinds, faint and small ones too, after detecting again in quarters of the image.

        The quarters overlap and are looked at once per image. What both looks found has the mean of the boxes
        and the better confidence.
        """
        if scene.closer is None:
            scene.closer = tuple(self._in_quarters(scene))
        found = [o for o in scene.objects if o.kind in kinds]
        for o in scene.closer:
            same = [k for k in found if k.kind == o.kind and same_thing(k.box, o.box)]
            if o.kind in kinds:
                found = [k for k in found if k not in same] + [_joined([o, *same])]
        return sorted(found, key=lambda o: -o.score)

    def _in_quarters(self, scene: Scene) -> Iterator[SceneObject]:
        for x0, y0, tile in _quarters(scene.rgb):
            for o in self._detected(tile, QUICK):
                box = (o.box[0] + x0, o.box[1] + y0, o.box[2] + x0, o.box[3] + y0)
                if not _cut_off(o.box, tile.shape[:2], x0, y0, scene.size_hw):
                    yield SceneObject(o.kind, o.score * CLOSER_TRUST, box, o.source)

    def _detected(
        self, rgb: NDArray[np.uint8], looks: Sequence[Sequence[Look]] = (COARSE, FINE)
    ) -> tuple[SceneObject, ...]:
        """What the detector finds; its second thoughts about a place are faint objects of their own."""
        objects = []
        for d in self._detector.detect(rgb, FAINT, looks):
            objects.append(SceneObject(self._by_label[d.kind], d.score, d.box, "detector"))
            for kind, score in d.alternatives:
                score = min(score, SURE - 0.01)
                objects.append(
                    SceneObject(self._by_label[kind], score, d.box, "detector", second_name=d.score >= SURE)
                )
        return tuple(objects)

    def _reread(self, rgb: NDArray[np.uint8], objects: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
        """Let the classifier look at each detected object, and add kinds that the detector does not know.

        Such as a lion. An animal that the classifier is sure is another one loses its detector label.
        """
        whole = rgb.shape[0] * rgb.shape[1]
        looked = [o for o in objects if o.score >= REREAD and area(o.box) < MAX_SHARE * whole]
        looked = distinct(looked)[:MAX_REREAD]
        seen = self._classifier.classify([_crop(rgb, o.box) for o in looked])
        added: dict[str, SceneObject] = {}
        wrong: list[SceneObject] = []
        detected = {o.kind for o in objects}
        for o, probabilities in zip(looked, seen, strict=True):
            shares = {kind: float(probabilities[classes].sum()) for kind, classes in self._classes.items()}
            for kind, share in shares.items():
                confidence = min(0.99, share * CONFIRMED / SURE_CLASS)
                if (
                    kind not in detected
                    and share >= HINT
                    and confidence > (added[kind].score if kind in added else 0)
                ):
                    added[kind] = SceneObject(kind, confidence, o.box, "classifier")
                if (
                    kind != o.kind
                    and share >= SURE_CLASS
                    and shares.get(o.kind, 0.0) < 0.1
                    and {kind, o.kind} <= self._animals
                ):
                    wrong.append(o)
        return tuple(o for o in (*objects, *added.values()) if o not in wrong)

    def cut(self, scene: Scene, objects: Sequence[SceneObject]) -> list[SceneObject]:
        """The same objects with their mask logits (256, 256) and SAM's predicted IoU."""
        uncut = [o for o in objects if o.logits is None]
        boxes = np.array([o.box for o in uncut], dtype=np.float64).reshape(-1, 4)
        logits, iou = self._decoder.masks_from_boxes(scene.embedding, boxes)
        done = iter(zip(logits, iou, strict=True))
        cut = []
        for o in objects:
            if o.logits is None:
                mask_logits, score = next(done)
                o = replace(o, logits=mask_logits, iou=float(np.clip(score, 0, 1)))
            cut.append(o)
        return cut

    def confirm(self, scene: Scene, kind: str) -> SceneObject | None:
        """Follow the hint of a kind: cut what may stand there, look at each cut-out again, return the best.

        SAM is asked for several readings at each place; the one that the classifier takes for the kind wins.
        None when there is no hint or nothing to cut.
        """
        hint = scene.hint(kind)
        if hint is None:
            return None
        points = np.array([*hint.spots, *self._peaks(scene, kind)]).reshape(-1, 1, 2)
        logits, iou = self._decoder.decode(scene.embedding, *with_padding_point(points))
        readings = [(logits[i, j], float(iou[i, j])) for i in range(len(points)) for j in (1, 2, 3)]
        boxes = [measure(low > 0).box for low, _ in readings]  # in pixels of the 256 grid
        shrink = GRID / SIDE * scene.embedding.scale
        filled = (
            float(np.prod(scene.embedding.resized_hw)) / SIDE**2
        )  # the share of the grid that is not padding
        kept = [
            (low, score, corners)
            for (low, score), box in zip(readings, boxes, strict=True)
            if box is not None
            and MIN_SHARE < (low > 0).mean() / filled < MAX_SHARE
            and area(corners := _clip(_scaled(box, 1 / shrink), scene.size_hw)) > 0  # not in SAM's padding
        ]
        if not kept:
            return None
        # A tight look and one with surroundings: the first tells small things apart, the second large ones.
        crops = [_crop(scene.rgb, box, margin) for margin in (0.0, 0.15) for _, _, box in kept]
        shares = self._classifier.classify(crops)[:, self._classes[kind]].sum(axis=1)
        seen = shares.reshape(2, -1).mean(axis=0)
        best = int((seen * [score for _, score, _ in kept]).argmax())
        low, score, box = kept[best]
        confidence = float(np.sqrt(hint.score * seen[best]))
        return SceneObject(kind, confidence, box, "classifier", logits=low, iou=min(1.0, max(0.0, score)))

    def likeliest(self, scene: Scene, candidates: Sequence[SceneObject]) -> list[SceneObject]:
        """Faint objects, at most `MAX_REREAD`, the ones first that the classifier agrees with most."""
        some = list(candidates[:MAX_REREAD])
        if len(some) < 2:
            return some
        seen = self._classifier.classify([_crop(scene.rgb, o.box) for o in some])
        none = np.array([], dtype=np.int64)
        shares = [float(p[self._classes.get(o.kind, none)].sum()) for o, p in zip(some, seen, strict=True)]
        return [
            o
            for _, o in sorted(
                zip(shares, some, strict=True), key=lambda so: -so[1].score * (DISBELIEF + so[0])
            )
        ]

    def _peaks(self, scene: Scene, kind: str) -> list[tuple[float, float]]:
        """The places (x, y), pixels, where a kind looks likeliest at the finest size, at most three."""
        if scene.fine is None:
            scene.fine = self._classifier.dense(scene.rgb, FINE_SIDE).astype(np.float16)
        heat = scene.fine[..., self._classes[kind]].astype(np.float32).sum(axis=-1)
        (rows, columns), (height, width) = heat.shape, scene.size_hw
        peaks = []
        for _ in range(3):
            row, column = (int(v) for v in np.unravel_index(int(heat.argmax()), heat.shape))
            if heat[row, column] < HINT:
                break
            peaks.append(((column + 0.5) / columns * width, (row + 0.5) / rows * height))
            heat[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0
        return peaks

    def _hints(self, rgb: NDArray[np.uint8]) -> tuple[Hint, ...]:
        height, width = rgb.shape[:2]
        best: dict[str, Hint] = {}
        for side in DENSE_SIDES:
            probabilities = self._classifier.dense(rgb, side)  # (h, w, 1000)
            rows, columns = probabilities.shape[:2]
            for kind, classes in self._classes.items():
                at_place = probabilities[..., classes].sum(axis=-1)
                peak = min(1.0, float(at_place.max()))
                if peak < HINT:
                    continue
                y, x = _hot_spot(at_place)
                spot = ((x + 0.5) / columns * width, (y + 0.5) / rows * height)
                known = best.get(kind)
                best[kind] = (
                    Hint(kind, max(peak, known.score), (*known.spots, spot))
                    if known
                    else Hint(kind, peak, (spot,))
                )
        return tuple(sorted(best.values(), key=lambda hint: -hint.score))


def _hot_spot(heat: Floats) -> tuple[float, float]:
    """The mean (row, column) of the places around the peak that are at least half as hot."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    r0, c0 = max(0, int(row) - 1), max(0, int(column) - 1)
    window = heat[r0 : int(row) + 2, c0 : int(column) + 2]
    hot = np.where(window >= window.max() / 2, window, 0)
    rows, columns = np.mgrid[r0 : r0 + window.shape[0], c0 : c0 + window.shape[1]]
    return float((rows * hot).sum() / hot.sum()), float((columns * hot).sum() / hot.sum())


def _joined(same: list[SceneObject]) -> SceneObject:
    """One object out of several sightings: best confidence, mean of the boxes weighted by confidence."""
    weights = np.array([o.score for o in same])
    x0, y0, x1, y1 = np.average([o.box for o in same], axis=0, weights=weights).tolist()
    return SceneObject(same[0].kind, float(weights.max()), (x0, y0, x1, y1), same[0].source)


def _quarters(rgb: NDArray[np.uint8], overlap: float = 0.3) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Four overlapping quarters of an image as (left, top, pixels)."""
    height, width = rgb.shape[:2]
    part_h, part_w = round(height / (2 - overlap)), round(width / (2 - overlap))
    for y in (0, height - part_h):
        for x in (0, width - part_w):
            yield x, y, rgb[y : y + part_h, x : x + part_w]


def _cut_off(
    box: Boxed, part_hw: tuple[int, int], x: int, y: int, size_hw: tuple[int, int], near: float = 3
) -> bool:
    """Whether a box in a part of the image touches a border of the part that is not one of the image."""
    return (
        (x > 0 and box[0] < near)
        or (y > 0 and box[1] < near)
        or (x + part_hw[1] < size_hw[1] and box[2] > part_hw[1] - near)
        or (y + part_hw[0] < size_hw[0] and box[3] > part_hw[0] - near)
    )


def _crop(rgb: NDArray[np.uint8], box: Boxed, margin: float = 0.15) -> NDArray[np.uint8]:
    """A square cut-out around a box, with some margin, kept inside the image."""
    side = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin)
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x0, y0 = max(0, int(cx - side / 2)), max(0, int(cy - side / 2))
    x0, y0 = min(x0, rgb.shape[1] - 1), min(y0, rgb.shape[0] - 1)
    return rgb[y0 : max(y0 + 1, int(cy + side / 2)), x0 : max(x0 + 1, int(cx + side / 2))]


def _scaled(box: Box, factor: float) -> Boxed:
    return box.x * factor, box.y * factor, (box.x + box.width) * factor, (box.y + box.height) * factor


def _clip(box: Boxed, size_hw: tuple[int, int]) -> Boxed:
    height, width = size_hw
    return max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3])
