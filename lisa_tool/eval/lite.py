"""`lisa-tool eval lite`: how often the embedded default is right, and when it should have said no.

    lisa-tool eval lite                  all cases, a table per group, JSON on the last line
    lisa-tool eval lite --split held     only cases on photos that were not looked at while writing lite
    lisa-tool eval lite --wrong          also every wrong answer

A case is a photo, a question and the regions that answer it (drawn by hand, lite_regions.json). It is *right*
when the union of the masks has IoU >= 0.5 with the union of the true regions (or of an accepted alternative),
whether the outcome was `found` or `uncertain`; a case of something absent is right unless the outcome is
`found`. Photos of packages that are not installed are left out and counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lisa_tool.masks.geometry import BoolMask, iou
from lisa_tool.results import Segmentation
from lisa_tool.segmenter import Segmenter, open_segmenter
from lisa_tool.settings import load_settings
from lisa_tool.store import read_mask

RIGHT_IOU = 0.5
GROUPS = ("plain", "implicit", "negated", "relational", "absent")
OUTCOMES = ("found", "uncertain", "not_found")


@dataclass(frozen=True)
class Case:
    """One question about one photo.

    truths: sets of regions, any of which is right; empty when the picture holds nothing of the kind.
    """

    id: str
    photo: str
    query: str
    group: str
    split: str
    truths: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Graded:
    """A case with its answer. `iou` is with the best accepted truth, None for absent things."""

    case: Case
    result: Segmentation
    iou: float | None
    exact: bool

    @property
    def right(self) -> bool:
        return self.result.outcome != "found" if self.iou is None else self.iou >= RIGHT_IOU


class Benchmark:
    """The photos, their regions and the cases, as shipped in this folder."""

    def __init__(self) -> None:
        self.folder = Path(str(resources.files("lisa_tool.eval")))
        self.photos: dict[str, Any] = json.loads((self.folder / "lite_regions.json").read_text("utf-8"))
        self.cases = [
            Case(
                c["id"],
                c["photo"],
                c["query"],
                c["group"],
                c["split"],
                tuple(map(tuple, [c["truth"], *c.get("any", [])])) if c["truth"] else (),
            )
            for c in json.loads((self.folder / "lite_cases.json").read_text("utf-8"))
        ]

    def photo_path(self, photo: str) -> Path | None:
        """Where a photo lies; None when the package that carries it is not installed."""
        source = self.photos[photo].get("source")
        if source is None:
            return self.folder / "photos" / f"{photo}.jpg"
        spec = util.find_spec(source["package"].partition("==")[0])
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(spec.submodule_search_locations[0]).parent / source["file"]
        return path if path.is_file() else None

    def region(self, photo: str, names: Sequence[str]) -> tuple[BoolMask, bool]:
        """The union of regions as bool (height, width), and whether all were drawn exactly."""
        height, width = self.photos[photo]["size_hw"]
        image = Image.new("L", (width, height))
        draw = ImageDraw.Draw(image)
        regions = [self.photos[photo]["regions"][name] for name in names]
        for region in regions:
            for polygon in region["polygons"]:
                draw.polygon([(x, y) for x, y in polygon], fill=255)
        return np.asarray(image) > 127, all(region["exact"] for region in regions)

    def grade(self, case: Case, result: Segmentation) -> Graded:
        """Compare an answer with the truth."""
        if not case.truths:
            return Graded(case, result, None, exact=False)
        height, width = self.photos[case.photo]["size_hw"]
        answer = np.zeros((height, width), dtype=bool)
        for mask in result.masks:
            answer |= read_mask(mask.path)
        best = max(
            (
                (iou(answer, mask), exact)
                for names in case.truths
                for mask, exact in [self.region(case.photo, names)]
            )
        )
        return Graded(case, result, *best)


def run(
    benchmark: Benchmark, segmenter: Segmenter, cases: Sequence[Case], photos: dict[str, Path]
) -> Iterator[Graded]:
    """Ask every case, photo by photo."""
    for case in sorted(cases, key=lambda c: c.photo):
        yield benchmark.grade(case, segmenter.segment(photos[case.photo], case.query))


def report(graded: Sequence[Graded]) -> dict[str, Any]:
    """Per group: cases, right, mean IoU of right answers on exact regions, outcomes."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for g in graded:
        groups[g.case.group].append(g)
    table = {}
    for group in GROUPS:
        rows = groups[group]
        ious = [g.iou for g in rows if g.exact and g.iou is not None]
        found = [g for g in rows if g.result.outcome == "found"]
        table[group] = {
            "cases": len(rows),
            "right": sum(g.right for g in rows),
            "accuracy": round(sum(g.right for g in rows) / len(rows), 3) if rows else None,
            "mean_iou": round(float(np.mean(ious)), 3) if ious else None,
            "outcomes": {o: sum(g.result.outcome == o for g in rows) for o in OUTCOMES},
            "right_when_found": round(sum(g.right for g in found) / len(found), 3)
            if found and group != "absent"
            else None,
        }
    return table


def main(args: argparse.Namespace) -> int:
    """Run the benchmark and print it; the last line is JSON."""
    benchmark = Benchmark()
    photos = {photo: path for photo in benchmark.photos if (path := benchmark.photo_path(photo))}
    cases = [c for c in benchmark.cases if args.split in {"all", c.split}]
    asked = [c for c in cases if c.photo in photos]
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            model="lite", roots=tuple({path.parent for path in photos.values()}), output_dir=Path(folder)
        )
        with open_segmenter(settings) as segmenter:
            graded = []
            for g in run(benchmark, segmenter, asked, photos):
                graded.append(g)
                if sys.stderr.isatty():
                    print(f"\r{len(graded)}/{len(asked)}", end="", file=sys.stderr)
    if args.wrong:
        for g in graded:
            if not g.right:
                found = [m.label for m in g.result.masks]
                print(
                    f"{g.case.group:10} {g.case.photo:12} {g.case.query!r}: {g.result.outcome} {found}, "
                    f"wanted {g.case.truths[:1]}, IoU {g.iou}"
                )
    table = report(graded)
    print(
        f"{'group':10} {'cases':>5} {'right':>6} {'IoU':>6}   found  uncertain  not_found   right when found"
    )
    for group, row in table.items():
        if row["cases"]:
            o = row["outcomes"]
            print(
                f"{group:10} {row['cases']:5} {row['accuracy']:6.1%} "
                f"{row['mean_iou'] or float('nan'):6.3f}   "
                f"{o['found']:5}  {o['uncertain']:9}  {o['not_found']:9}   {row['right_when_found'] or ''}"
            )
    print(
        json.dumps(
            {"split": args.split, "cases": len(graded), "left_out": len(cases) - len(asked), "groups": table}
        )
    )
    return 0
