"""All cases of a recording as one JSON document: what was compared, and the worst difference of each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lisa_tool.eval.parity.compare import TOLERANCES, CaseReport, Difference

CHECKPOINT = "checkpoint"
"""The name of the case that is there for every recording, even an empty one."""


def passed(reports: Sequence[CaseReport]) -> bool:
    """Whether something was compared besides the checkpoint's own facts, and nothing exceeds."""
    compared = [report for report in reports if not report.skipped]
    return any(report.name != CHECKPOINT for report in compared) and all(report.passed for report in compared)


def document(reports: Sequence[CaseReport]) -> dict[str, Any]:
    """The whole of it; a value is null where two things could not be compared."""
    compared = [report for report in reports if not report.skipped]
    return {
        "passed": passed(reports),
        "cases": len(compared),
        "comparisons": sum(len(report.differences) for report in compared),
        "failed": [report.name for report in compared if not report.passed],
        "skipped": {report.name: report.skipped for report in reports if report.skipped},
        "not_compared": [f"{report.name}: {name}" for report in reports for name in report.unknown],
        "worst": {kind: _worst(kind, compared) for kind in TOLERANCES if _of_kind(kind, compared)},
        "parameters": {r.name: r.n_parameters for r in compared if r.n_parameters is not None},
        "precision": "fp32",
        "device": "cpu",
    }


def _of_kind(kind: str, reports: Sequence[CaseReport]) -> list[tuple[CaseReport, Difference]]:
    return [(report, d) for report in reports for d in report.differences if d.kind == kind]


def _worst(kind: str, reports: Sequence[CaseReport]) -> dict[str, Any]:
    report, difference = max(_of_kind(kind, reports), key=lambda pair: pair[1].value)
    return {
        "value": difference.value if math.isfinite(difference.value) else None,
        "tolerance": TOLERANCES[kind],
        "exceeds": difference.exceeds,
        "case": report.name,
        "name": str(difference),
    }
