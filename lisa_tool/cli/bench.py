"""`lisa-tool bench`: what LISA costs here against the reference's procedure, without a checkpoint."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from lisa_tool.cli.arguments import Parser, positive_count
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.output import Reply
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.engine.call import Call
from lisa_tool.engine.parts import parts_of
from lisa_tool.lisa.memory import PRECISIONS, Precision

if TYPE_CHECKING:
    from lisa_tool.eval.bench import Plan

EXIT_DIFFERENT = 1
EPILOG = """\
counted: floating-point operations of one question to LISA-7B and LISA-13B, on their real modules.
timed: a model of random weights answers by the reference's procedure (for every token CLIP and the whole
sequence again) and by ours, with the same tokens; then each stage, and the real bytes of the weights.

examples:
  lisa-tool bench counted
  lisa-tool bench timed --size small
  lisa-tool bench --tokens 8,64 --threads 2
  lisa-tool bench timed --device cuda --size 7b

On a CPU the whole takes minutes. The last line is JSON. Exit code 1 when the two answers differ."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser("bench", "[counted|timed]", "What LISA costs here against the reference's procedure.", EPILOG)
    it.add_argument(
        "what", metavar="counted|timed", nargs="?", choices=["counted", "timed"], help="one of the two only"
    )
    it.add_argument(
        "--size",
        choices=["small", "mid", "7b", "13b"],
        default="mid",
        help="of the model that is timed; mid (default): CLIP as published, a language model of 220 M "
        "parameters and a small SAM; 7b and 13b are all as published and for a GPU",
    )
    it.add_argument("--device", metavar="D", default="cpu", help="cpu (default), cuda, cuda:N or auto")
    it.add_argument(
        "--precision",
        choices=["auto", *PRECISIONS],
        default="auto",
        help="of the answers; auto (default): fp32 on a CPU, bf16 on a GPU",
    )
    it.add_argument(
        "--also",
        metavar="P,...",
        type=_precisions,
        default=("bf16", "int8", "nf4"),
        help="the stages and bytes in these precisions too, or none (default: bf16,int8,nf4)",
    )
    it.add_argument(
        "--tokens",
        metavar="N,...",
        type=_counts,
        default=(1, 8, 16, 32, 64),
        help="lengths of the answers (default: 1,8,16,32,64)",
    )
    it.add_argument(
        "--repeat",
        type=positive_count,
        metavar="N",
        help="rounds, of which the quickest counts (default: 1 on a CPU, 3 on a GPU)",
    )
    it.add_argument(
        "--threads", type=positive_count, metavar="N", help="of the CPU (default: 1; torch's own with a GPU)"
    )
    return it


def run(args: argparse.Namespace) -> Reply:
    """Measure; raises LisaError."""
    with parts_of("lisa"):
        from lisa_tool.eval.bench import COUNTED_SIZES, bench, document
        from lisa_tool.eval.bench_text import report_text
    with cancel_on_ctrl_c() as cancel, ProgressLine(sys.stderr) as line:
        report = bench(
            None if args.what == "counted" else _plan(args),
            () if args.what == "timed" else COUNTED_SIZES,
            Call.start(deadline_s=math.inf, cancel=cancel, progress=line.update),
        )
    answer = document(report)
    differs = report.timed is not None and not report.timed.same_answer
    return Reply(answer, f"{report_text(report)}\n\n{json.dumps(answer)}", EXIT_DIFFERENT if differs else 0)


def _plan(args: argparse.Namespace) -> Plan:
    from lisa_tool.eval.bench import Plan
    from lisa_tool.eval.random_model import SIZES
    from lisa_tool.lisa.loading import pick_device

    device = pick_device(args.device)
    on_gpu = device.type == "cuda"
    return Plan(
        size=SIZES[args.size],
        device=device,
        precision=args.precision,
        also=args.also,
        tokens=args.tokens,
        repeat=args.repeat or (3 if on_gpu else 1),
        threads=args.threads or (None if on_gpu else 1),
    )


def _precisions(text: str) -> tuple[Precision, ...]:
    """Names with commas between them, or `none`."""
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in PRECISIONS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(PRECISIONS)}")
    return tuple(precision for precision in PRECISIONS if precision in names)


def _counts(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them, each once and rising."""
    return tuple(sorted({positive_count(number) for number in text.split(",")}))
