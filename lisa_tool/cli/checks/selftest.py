"""The self-test: a known photo, a known question, and the mask that should come out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lisa_tool.engine.call import ProgressCallback
from lisa_tool.errors import LisaError
from lisa_tool.eval.lite import Benchmark, Case
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import Settings

QUERY = "what would you drink from?"
CASE = Case("self-test", "coffee", QUERY, "implicit", "dev", (("cup",),))
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
        benchmark = Benchmark()
        photo = benchmark.folder / "photos" / f"{CASE.photo}.jpg"
        photo.stat()
        with tempfile.TemporaryDirectory(prefix="lisa-tool-") as folder:
            changes = {"roots": (photo.parent,), "output_dir": Path(folder)}
            with open_segmenter(settings.model_copy(update=changes)) as segmenter:
                result = segmenter.segment(str(photo), QUERY, progress=progress)
            agreement = benchmark.grade(CASE, result).iou or 0.0
    except LisaError as e:
        return SelfTest(False, f"failed: {e.to_text()}")
    except (OSError, KeyError, ValueError) as e:
        return SelfTest(
            False, f"cannot run: its photo or expected mask is missing from the installation ({e})"
        )
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
