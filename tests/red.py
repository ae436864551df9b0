"""A real, tiny backend: it finds what is red. No model, no weights; fast enough for every test."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lisa_tool.engine.call import Call
from lisa_tool.images import LoadedImage
from lisa_tool.pipeline import PredictedMask, Prediction, Question
from lisa_tool.results import Evidence, ModelInfo

ENOUGH_PX = 50  # fewer red pixels than this are uncertain


class RedBackend:
    """One mask for each red piece. `predicted` holds the questions that reached it."""

    model = ModelInfo(name="red", backend="test", revision="1")
    packages = ("numpy", "no-such-package")

    def __init__(self) -> None:
        self.predicted: list[str] = []
        self.asked: list[Question] = []
        self.closed = 0

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        self.predicted.append(question.text)
        self.asked.append(question)
        with call.stage("looking for red", 0.1):
            redness = self.redness(image.rgb)
            n, pieces = cv2.connectedComponents((redness > 0).astype(np.uint8), connectivity=8)
        with call.stage("cutting", 0.5):
            masks = tuple(self.cut(redness, pieces == piece) for piece in range(1, n))
        if not masks:
            return Prediction("not_found", "Nothing is red.", "I looked for red.", (), Evidence())
        enough = np.count_nonzero(redness > 0) >= ENOUGH_PX
        return Prediction(
            "found" if enough else "uncertain", f"{len(masks)} red.", "It is red.", masks, Evidence(match=1.0)
        )

    def redness(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits, float32 (height, width): positive where red prevails by 64."""
        red, green, blue = np.moveaxis(rgb.astype(np.float32), 2, 0)
        return np.asarray((red - np.maximum(green, blue) - 64) / 16, dtype=np.float32)

    def cut(self, redness: NDArray[np.float32], piece: NDArray[np.bool_]) -> PredictedMask:
        logits: Callable[[], NDArray[np.float32]] = lambda: np.where(piece, redness, -8).astype(np.float32)  # noqa: E731
        return PredictedMask("red thing", 0.9, logits)

    def close(self) -> None:
        self.closed += 1


def red_photo(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A grey (width, height) image with red rectangles (x, y, width, height)."""
    image = Image.new("RGB", size, (90, 100, 110))
    for x, y, width, height in boxes:
        ImageDraw.Draw(image).rectangle((x, y, x + width - 1, y + height - 1), fill=(250, 10, 10))
    return image
