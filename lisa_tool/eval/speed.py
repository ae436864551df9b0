"""`lisa-tool eval speed`: what one question costs with the embedded default, on this machine.

    lisa-tool eval speed --repeat 5

Prints the seconds that loading takes, of a first question about a photo (every network looks at it) and of
a second one (the image is remembered), and the peak memory of the process. Photos are made larger to
1.5 Mpx, the size that phones send to chat apps.
Times are medians of wall-clock seconds; the last line is JSON. Reported, never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image

from lisa_tool.eval.lite import Benchmark
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import load_settings

PIXELS = 1_500_000
QUESTIONS = {
    "coffee": ("what would you drink from?", "the spoon"),
    "cat": ("which animal purrs?", "the cat on the left"),
    "motorcycle": ("what could I ride to work?", "the motorcycle"),
    "astronaut": ("who is smiling?", "what protects her head?"),
    "dogs": ("which animals bark?", "the largest dog"),
}  # photo -> a first and a second question


def main(args: argparse.Namespace) -> int:
    """Measure and print."""
    folder = Benchmark().folder / "photos"
    photos = {name: _enlarged(folder / f"{name}.jpg") for name in QUESTIONS}
    with tempfile.TemporaryDirectory() as out:
        first: list[float] = []
        second: list[float] = []
        encodes = 0
        settings = load_settings(model="lite", output_dir=Path(out))
        with open_segmenter(settings) as segmenter:
            started = time.perf_counter()
            loading = segmenter.segment(Image.new("RGB", (64, 64)), "the dog").timings.stages[
                "loading the models"
            ]
            opened = time.perf_counter() - started
            for round_ in range(args.repeat):
                for name, (one, two) in QUESTIONS.items():
                    photo = photos[name].copy()
                    photo.putpixel((0, 0), (round_, 0, 0))  # another image, so that nothing is remembered
                    first.append(segmenter.segment(photo, one).timings.total_s)
                    answer = segmenter.segment(photo, two)
                    second.append(answer.timings.total_s)
                    encodes += answer.timings.image_encodes
    report = {
        "loading_s": round(loading, 2),
        "first_answer_with_loading_s": round(opened, 2),
        "first_question_s": round(statistics.median(first), 2),
        "second_question_s": round(statistics.median(second), 2),
        "encodes_in_second_questions": encodes,
        "peak_memory_mib": _peak_memory_mib(),
        "questions": len(first) + len(second),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    for key, value in report.items():
        print(f"{key.replace('_', ' '):32} {value}")
    print(json.dumps(report))
    return 0


def _enlarged(path: Path) -> Image.Image:
    with Image.open(path) as image:
        scale = (PIXELS / (image.width * image.height)) ** 0.5
        return image.convert("RGB").resize((round(image.width * scale), round(image.height * scale)))


def _peak_memory_mib() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2**20 if platform.system() == "Darwin" else peak / 1024)
