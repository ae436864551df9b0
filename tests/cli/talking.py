"""A backend that finds red things and says so word by word, and photos for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lisa_tool.engine.call import Call
from lisa_tool.errors import OutOfMemory
from lisa_tool.images import LoadedImage
from lisa_tool.pipeline import LocalSegmenter, PredictedMask, Prediction, Question
from lisa_tool.settings import Settings
from tests.red import RedBackend, red_photo

WORDS = ("Sure, ", "the red thing ", "[SEG].")


class TalkingRed(RedBackend):
    """Tells its words one by one, as LISA does. Asked to think it goes on until it is stopped.

    first: what a test wants to happen in the middle of an answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = WORDS
        self.first: Callable[[], None] = lambda: None

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        self.first()
        for n, word in enumerate(self.words, 1):
            call.tell(f"answering, token {n}", 0.1, text=word)
        if "think" in question.text:
            # In short waits: Python runs a signal's handler only between two of them.
            assert any(call.cancel.wait(0.05) for _ in range(600)), "nobody set the cancel event"
            call.check()
        prediction = super().predict(image, question, call)
        if "fail" not in question.text:
            return prediction
        broken = PredictedMask("red thing", 0.9, no_memory)
        return Prediction("found", "", "", (*prediction.masks, broken), prediction.evidence)


def no_memory() -> NoReturn:
    raise OutOfMemory("no memory for this mask")


def open_talking(settings: Settings) -> LocalSegmenter:
    return LocalSegmenter(TalkingRed(), settings)


def save(path: Path, *boxes: tuple[int, int, int, int]) -> Path:
    """Write a photo with red rectangles (x, y, width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red_photo(*boxes).save(path)
    return path


def save_photo(folder: Path) -> Path:
    """A photo, `two.png`, of two red things."""
    return save(folder / "two.png", (10, 10, 20, 20), (60, 40, 30, 10))
