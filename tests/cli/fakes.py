"""A segmenter that does what a test tells it, for what a real one does not do on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

from lisa_tool.results import Box, ImageInfo, Mask, ModelInfo, Point, Segmentation, Timings

MODEL = ModelInfo(name="fake", backend="fake", revision="1")


class FakeSegmenter:
    """Calls `behave(**arguments of segment)`, which answers or raises."""

    model = MODEL

    def __init__(self, behave: Callable[..., Segmentation]) -> None:
        self._behave = behave
        self.closed = False

    def segment(self, image: Any, query: str, **options: Any) -> Segmentation:
        return self._behave(image=image, query=query, **options)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def install(monkeypatch: pytest.MonkeyPatch, behave: Callable[..., Segmentation]) -> FakeSegmenter:
    """Let `lisa-tool segment` use a fake."""
    fake = FakeSegmenter(behave)
    monkeypatch.setattr("lisa_tool.cli.segment.open_segmenter", lambda settings: fake)
    return fake


def raising(error: BaseException) -> Callable[..., Segmentation]:
    """A behaviour that raises."""

    def behave(**options: object) -> Segmentation:
        raise error

    return behave


def answering(**changes: Any) -> Callable[..., Segmentation]:
    """A behaviour that answers with `answer(**changes)`."""
    return lambda **options: answer(**changes)


def waits_for_cancel(cancel: threading.Event) -> None:
    """Fails the test instead of hanging when nobody cancels."""
    assert cancel.wait(5), "nobody set the cancel event"


def answer(**changes: Any) -> Segmentation:
    """An answer with one mask."""
    mask = Mask(
        mask_id="res_0/0",
        label="cup",
        path="/results/res_0/mask_0.png",
        box=Box(x=10, y=20, width=30, height=40),
        area_px=900,
        area_fraction=0.124,
        centroid=Point(x=25, y=40),
        position="upper left",
        components=1,
        score=0.9,
        stability=0.9,
    )
    fields: dict[str, Any] = {
        "result_id": "res_0",
        "outcome": "found",
        "query": "what would you drink from?",
        "answer": "a cup",
        "reasoning": "people drink coffee from a cup",
        "masks": (mask,),
        "overlay_path": "/results/res_0/overlay.jpg",
        "image": ImageInfo(source="photo.jpg", sha256="0" * 64, width=600, height=400),
        "model": MODEL,
        "timings": Timings(total_s=1.94),
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return Segmentation(**{**fields, **changes})
