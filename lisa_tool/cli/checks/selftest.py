"""The self-test: a known photo, a known question, and the mask that should come out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lisa_tool.engine.call import ProgressCallback
from lisa_tool.errors import LisaError
from lisa_tool.masks.geometry import BoolMask
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import Settings
from lisa_tool.store import read_mask

PHOTO, REGION = "coffee", "cup"
QUERY = "what would you drink from?"
PASS_IOU = 0.75


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found; `iou` is None when there was no mask to compare."""

    passed: bool
    summary: str
    query: str = QUERY
    outcome: str | None = None
    answer: str | None = None
    iou: float | None = None
    needed_iou: float = PASS_IOU
    seconds: float | None = None


def self_test(settings: Settings, progress: ProgressCallback | None = None) -> SelfTest:
    """Segment the photo with the settings in force; its files are removed again."""
    try:
        regions = known_regions()
        expected = fill(regions["regions"][REGION]["polygons"], regions["size_hw"])
        with (
            as_file(files("lisa_tool.eval") / "photos" / f"{PHOTO}.jpg") as photo,
            tempfile.TemporaryDirectory(prefix="lisa-tool-") as folder,
        ):
            photo.stat()
            changes = {"roots": (photo.parent,), "output_dir": Path(folder)}
            with open_segmenter(settings.model_copy(update=changes)) as segmenter:
                result = segmenter.segment(str(photo), QUERY, progress=progress)
            masks = [read_mask(mask.path) for mask in result.masks]
    except LisaError as e:
        return SelfTest(False, f"failed: {e.to_text()}")
    except (OSError, KeyError, ValueError) as e:
        return SelfTest(
            False, f"cannot run: its photo or expected mask is missing from the installation ({e})"
        )
    agreement = iou(masks, expected)
    passed = result.outcome == "found" and agreement >= PASS_IOU
    seconds = result.timings.total_s
    verdict = "passed" if passed else "FAILED"
    return SelfTest(
        passed,
        f"{verdict}: {QUERY!r} -> {result.outcome}, IoU {agreement:.2f} with the known mask "
        f"(needs {PASS_IOU}), {seconds:.1f} s with loading",
        outcome=result.outcome,
        answer=result.answer,
        iou=round(agreement, 4),
        seconds=seconds,
    )


def known_regions() -> dict[str, Any]:
    """What is known about the photo: `size_hw`, and `regions` with polygons in pixels."""
    everything = json.loads((files("lisa_tool.eval") / "lite_regions.json").read_text("utf-8"))
    regions: dict[str, Any] = everything[PHOTO]
    return regions


def fill(polygons: Sequence[Sequence[Sequence[float]]], size_hw: Sequence[int]) -> BoolMask:
    """The pixels inside any of the polygons, each a list of (x, y), as bool (height, width)."""
    height, width = size_hw
    canvas = Image.new("1", (width, height))
    for polygon in polygons:
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in polygon], fill=1)
    return np.asarray(canvas)


def iou(masks: Sequence[BoolMask], expected: BoolMask) -> float:
    """Intersection over union of all masks together with the expected one; 0 without a mask of its size."""
    if not masks or any(mask.shape != expected.shape for mask in masks):
        return 0.0
    together = np.logical_or.reduce(masks)
    return float((together & expected).sum() / max(1, (together | expected).sum()))
