"""The way of every local answer: reference -> pixels -> model -> masks -> files -> Segmentation.

A backend only predicts; everything around it is here, once.
"""

from __future__ import annotations

import importlib.metadata
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lisa_tool.engine.call import Call, ProgressCallback
from lisa_tool.engine.conversation import Conversations, Turn
from lisa_tool.engine.queue import WorkQueue
from lisa_tool.errors import InternalError, InvalidQuery, LisaError, OutOfMemory
from lisa_tool.images import ImageReference, LoadedImage, load_image
from lisa_tool.masks.geometry import BoolMask, measure, stability
from lisa_tool.masks.render import OverlayPainter
from lisa_tool.results import Evidence, Mask, ModelInfo, Outcome, Segmentation
from lisa_tool.settings import Mode, Settings
from lisa_tool.store import ResultFolder, ResultStore

logger = logging.getLogger(__name__)

ROUGH = 0.5  # stability below which an outline is pointed out


@dataclass(frozen=True)
class Question:
    """What is asked of a backend.

    text: one clean line (see `clean_query`). history: earlier turns about the same image, oldest first.
    """

    text: str
    mode: Mode = "explain"
    history: tuple[Turn, ...] = ()
    conversation_id: str = ""


@dataclass(frozen=True)
class PredictedMask:
    """One mask before it is a file.

    score: the mask decoder's predicted IoU.
    logits: makes float32 (height, width), the upright image's size; threshold at 0.
    """

    label: str
    score: float | None
    logits: Callable[[], NDArray[np.float32]]


@dataclass(frozen=True)
class Prediction:
    """What a backend answers.

    asked, said: the turn as it goes into the history, where that is not the question and `answer`.
    left_out: objects that were found and got no mask.
    """

    outcome: Outcome
    answer: str
    reasoning: str
    masks: tuple[PredictedMask, ...]
    evidence: Evidence
    warnings: tuple[str, ...] = ()
    asked: str | None = None
    said: str | None = None
    left_out: int = 0


class Backend(Protocol):
    """A model. `predict` runs in one thread at a time; the `logits` of its masks in any, later."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions belong in the provenance."""
        ...

    def predict(self, image: LoadedImage, question: Question, call: Call) -> Prediction:
        """Answer; wrap steps in `call.stage()` (fractions 0.1 to 0.8), call `call.check()` in long ones."""
        ...

    def close(self) -> None:
        """Let go of the model; may be called twice."""
        ...


class LocalSegmenter:
    """A `Segmenter` around a backend in this process."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.settings = settings
        self.store = ResultStore(settings.output_dir, settings.limits)
        self._backend = backend
        self._queue = WorkQueue(settings.limits.max_waiting)
        self._conversations = Conversations(settings.output_dir / "conversations", settings.limits)

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._backend.model

    def segment(
        self,
        image: ImageReference | None,
        query: str,
        *,
        conversation_id: str | None = None,
        mode: Mode | None = None,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
        deadline_s: float | None = None,
    ) -> Segmentation:
        """See `Segmenter.segment`."""
        limit = self.settings.limits.deadline_s
        call = Call.start(
            deadline_s=min(deadline_s, limit) if deadline_s is not None else limit,
            cancel=cancel,
            progress=progress,
        )
        try:
            return self._answer(image, query, conversation_id, mode or self.settings.answer_mode, call)
        except LisaError:
            raise
        except MemoryError as e:
            raise OutOfMemory("there was not enough memory for this image") from e
        except Exception as e:  # its text may hold paths or pixels: that stays in the log
            error_id = secrets.token_hex(4)
            logger.exception("internal error %s", error_id)
            raise InternalError(f"internal error {error_id}") from e

    def _answer(
        self, given: ImageReference | None, query: str, conversation_id: str | None, mode: Mode, call: Call
    ) -> Segmentation:
        text = clean_query(query, self.settings.limits.max_query_chars)
        with self._queue.place():
            with call.stage("reading the image", 0.0):
                conversation = self._conversations.resume(conversation_id)
                reference = conversation.reference(given)
                image = load_image(reference, self.settings)
                if given is None:
                    conversation.check_unchanged(image.info.sha256)
            with self._queue.turn(call):
                # Looked up again: another call may have added a turn while this one waited.
                conversation = self._conversations.resume(conversation_id)
                history = conversation.about(image.info.sha256)
                question = Question(text, mode, history, conversation.id)
                prediction = self._backend.predict(image, question, call)
            with self.store.new_result() as folder:
                result = self._write(folder, image, question, prediction, call)
            said = prediction.answer if prediction.said is None else prediction.said
            turn = Turn(prediction.asked or text, said)
            self._conversations.add(conversation.id, reference, image.info.sha256, turn)
        call.tell("done", 1.0)
        return result

    def _write(
        self, folder: ResultFolder, image: LoadedImage, question: Question, prediction: Prediction, call: Call
    ) -> Segmentation:
        painter = OverlayPainter(image.rgb)
        masks: list[Mask] = []
        predicted = prediction.masks[: self.settings.limits.max_masks]
        for index, one in enumerate(predicted):
            with call.stage("writing the masks", 0.85 + 0.1 * index / len(predicted)):
                mask, pixels = _write_mask(folder, index, one, image.rgb.shape[:2])
                call.tell("writing the masks", 0.0, mask=mask)
                masks.append(mask)
                painter.add(pixels)
        overlay_path = None
        if masks:
            with call.stage("drawing the overlay", 0.95):
                overlay_path = folder.add_overlay(painter.image())
        call.check()
        outcome, warnings = _checked_outcome(prediction, masks)
        result = Segmentation(
            result_id=folder.result_id,
            outcome=outcome,
            query=question.text,
            answer=prediction.answer,
            reasoning=prediction.reasoning,
            masks=tuple(masks),
            overlay_path=overlay_path,
            image=image.info,
            evidence=_completed(prediction.evidence, masks, self._backend.model.name),
            warnings=warnings,
            model=self._backend.model,
            timings=call.timings(),
            conversation_id=question.conversation_id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=_versions(("lisa-tool", *self._backend.packages)),
        )
        folder.add_result(result)
        return result

    def close(self) -> None:
        """Let go of the model and of the images of conversations."""
        self._conversations.clear()
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def clean_query(query: str, max_chars: int) -> str:
    """The question on one line without control characters. Raises InvalidQuery when blank or too long."""
    if not isinstance(query, str):
        raise InvalidQuery(f"the question must be text, not {type(query).__name__}")
    if len(query) > max_chars:
        raise InvalidQuery(
            f"the question has {len(query)} characters, the limit is {max_chars}",
            "Ask in one or two sentences.",
        )
    line = " ".join("".join(c if c.isprintable() else " " for c in query).split())
    if not any(c.isalnum() for c in line):
        raise InvalidQuery("the question holds no words")
    return line


def _write_mask(
    folder: ResultFolder, index: int, predicted: PredictedMask, size_hw: tuple[int, ...]
) -> tuple[Mask, BoolMask]:
    """Threshold, measure and write one mask."""
    logits = predicted.logits()
    if logits.shape != size_hw:
        raise ValueError(f"mask logits are {logits.shape}, the image is {size_hw}")
    if not np.isfinite(logits).all():
        raise ValueError("mask logits are not finite")
    pixels = logits > 0
    geometry = measure(pixels)
    mask = Mask(
        mask_id=f"{folder.result_id}/{index}",
        label=predicted.label,
        path=folder.add_mask(index, pixels),
        box=geometry.box,
        area_px=geometry.area_px,
        area_fraction=geometry.area_fraction,
        centroid=geometry.centroid,
        position=geometry.position,
        components=geometry.components,
        # A regression head may predict an IoU slightly outside 0 to 1.
        score=None if predicted.score is None else min(max(predicted.score, 0.0), 1.0),
        stability=stability(logits),
    )
    return mask, pixels


def _checked_outcome(prediction: Prediction, masks: list[Mask]) -> tuple[Outcome, tuple[str, ...]]:
    """The outcome and warnings, made true: only black is never 'found', and no mask is left out silently."""
    outcome, warnings = prediction.outcome, prediction.warnings
    if (n := len(prediction.masks) + prediction.left_out) > len(masks):
        warnings = (f"{n} objects were found; only the first {len(masks)} have masks", *warnings)
    if outcome == "found" and not any(mask.area_px for mask in masks):
        outcome = "uncertain"
        warnings = ("the model says that it found this, but it marked no pixel", *warnings)
    rough = [
        n for n, m in enumerate(masks, 1) if m.area_px and m.stability is not None and m.stability < ROUGH
    ]
    if rough:
        numbers = ", ".join(map(str, rough))
        warnings = (f"the outline of mask {numbers} is rough: look at the overlay", *warnings)
    return outcome, warnings


def _completed(evidence: Evidence, masks: list[Mask], model: str) -> Evidence:
    """Evidence with the lowest scores of the masks, and a reason for every null."""
    scores = {
        "predicted_iou": [mask.score for mask in masks if mask.score is not None],
        "stability": [mask.stability for mask in masks if mask.stability is not None],
    }
    values = evidence.model_dump() | {name: min(found) for name, found in scores.items() if found}
    missing = {
        name: "no mask was made" if name in scores and not masks else f"{model} does not measure it"
        for name, value in values.items()
        if value is None
    }
    return Evidence.model_validate(values | {"missing": missing | evidence.missing})


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
