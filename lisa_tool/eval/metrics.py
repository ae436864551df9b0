"""gIoU and cIoU, the two numbers by which reasoning segmentation is compared.

gIoU is the mean IoU over masks: each counts alike, however small. cIoU divides the intersections of all
masks, added up, by their unions: large objects rule it. Both follow the reference's `validate()`, its small
constants included, so a perfect mask scores a little below 1. Where truth and answer are both empty the IoU
is 1. Pixels that the truth marks as IGNORED are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BACKGROUND, OBJECT, IGNORED = 0, 1, 255
"""The values of a truth. Pixels that are IGNORED count neither for nor against an answer."""

_UNION_EPS = 1e-5
_COUNT_EPS = 1e-5
_TOTAL_EPS = 1e-10


@dataclass(frozen=True)
class ImageScore:
    """How the masks of one image compare with the truth.

    iou: the mean over its masks; intersection_px and union_px: pixels, added up over its masks.
    """

    iou: float
    intersection_px: int
    union_px: int
    n_masks: int


@dataclass
class Scoreboard:
    """Collects images one by one; `giou` and `ciou` are those of all images so far, 0 before the first.

    board = Scoreboard()
    board.add(masks, annotation.mask[None])
    """

    images: list[ImageScore] = field(default_factory=list)

    def add(self, predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> ImageScore:
        """Score one image, see `score_image`, and count it."""
        score = score_image(predicted, truth)
        self.images.append(score)
        return score

    @property
    def giou(self) -> float:
        """The mean IoU over all masks."""
        total = sum(image.iou * image.n_masks for image in self.images)
        return total / (sum(image.n_masks for image in self.images) + _COUNT_EPS)

    @property
    def ciou(self) -> float:
        """All intersections over all unions."""
        intersection_px = sum(image.intersection_px for image in self.images)
        return intersection_px / (sum(image.union_px for image in self.images) + _TOTAL_EPS)


def score_image(predicted: NDArray[np.bool_], truth: NDArray[np.uint8]) -> ImageScore:
    """Compare the masks of one image with the truth, one by one.

    predicted: bool (n, height, width), n >= 1; a model that found nothing is scored by an empty mask.
    truth: uint8 (n, height, width) of BACKGROUND, OBJECT and IGNORED.
    Raises ValueError for other shapes or values.
    """
    if predicted.dtype != np.bool_:
        raise ValueError(f"predicted masks are {predicted.dtype}, expected bool: threshold logits at 0")
    if predicted.shape != truth.shape or predicted.ndim != 3 or not len(predicted):
        raise ValueError(
            f"masks are {predicted.shape}, their truth is {truth.shape}, expected (n, h, w) twice"
        )
    if not np.isin(truth, (BACKGROUND, OBJECT, IGNORED)).all():
        raise ValueError("the truth holds values other than 0, 1 and 255")
    counted, wanted = truth != IGNORED, truth == OBJECT
    intersections = np.count_nonzero(predicted & wanted, axis=(1, 2))  # (n,)
    unions = np.count_nonzero((predicted | wanted) & counted, axis=(1, 2))
    ious = np.where(unions == 0, 1.0, intersections / (unions + _UNION_EPS))
    return ImageScore(float(ious.mean()), int(intersections.sum()), int(unions.sum()), len(predicted))
