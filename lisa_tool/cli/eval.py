"""`lisa-tool eval lite|speed|parity|published`: measure lite, or compare LISA with the reference."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import sys

from lisa_tool.cli.arguments import Parser, UsageError, add_model, folder, positive_count
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.output import Reply, printable, write
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.engine.parts import parts_of
from lisa_tool.segmenter import open_segmenter

EXIT_DIFFERS = 1
_OPERANDS = "lite|speed|parity FOLDER|published CLONE"
_FOLDERS = {"parity": "FOLDER", "published": "CLONE"}

EPILOG = """\
examples:
  lisa-tool eval lite --split held
  lisa-tool eval parity tests/golden/nano
  lisa-tool eval published LISA --model xinlai/LISA-13B-llama2-v1 --precision nf4

`parity` loads the checkpoint in FOLDER in float32 on the CPU and compares all it computes with what the
reference computed: token ids, hidden states, mask logits and masks, losses, pixels, prompts, scores. A line a
case; the last line is JSON. Exit code 1 when a difference is above its tolerance, or nothing was compared.

`published` asks the ten questions that LISA's authors show, about their pictures, and compares the masks with
theirs. CLONE is a clone of github.com/dvlab-research/LISA. Without --model it asks LISA_MODEL, or else
xinlai/LISA-13B-llama2-v1. A line an answer; the last line is JSON. Exit code 1 when the mean IoU is below 0.6
or fewer than 8 answers have a mask: probably the weights are wrong, or the way they are run."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser(
        "eval",
        _OPERANDS,
        "Measure the embedded default on known photos and questions, or compare LISA with numbers recorded\n"
        "from the reference or with its published answers. The last line of the report is JSON.",
        EPILOG,
    )
    it.add_argument(
        "what",
        metavar="lite|speed|parity|published",
        choices=["lite", "speed", "parity", "published"],
        help="lite: right and wrong answers; speed: seconds and memory; parity: LISA against the reference; "
        "published: a checkpoint against answers that were published",
    )
    it.add_argument(
        "folder",
        metavar="FOLDER|CLONE",
        nargs="?",
        type=folder,
        help="of `parity`: meta.json, checkpoint/, recordings; of `published`: imgs/, vis_output/",
    )
    add_model(it)
    it.add_argument(
        "--split",
        choices=["dev", "held", "all"],
        default="all",
        help="the cases used while writing the knowledge, those that were not, or all (default)",
    )
    it.add_argument("--wrong", action="store_true", help="also print each case that was answered wrong")
    it.add_argument(
        "--repeat", type=positive_count, default=3, metavar="N", help="rounds of `eval speed` (default: 3)"
    )
    return it


def run(args: argparse.Namespace) -> Reply:
    """Measure or compare. The report is printed while it is made; with --json only its document."""
    operand = _FOLDERS.get(args.what)
    if (operand is None) != (args.folder is None):
        wanted = f"needs a {operand}" if operand else "takes no FOLDER"
        raise _usage(f"eval {args.what} {wanted}")
    if args.what != "published" and (args.model or args.precision or args.device):
        raise _usage("--model, --precision and --device are options of eval published")
    if args.what == "published":
        return _ask(args)
    return _compare(args) if args.what == "parity" else _measure(args)


def _usage(message: str) -> UsageError:
    return UsageError(message, f"usage: lisa-tool eval {_OPERANDS} [options]")


def _measure(args: argparse.Namespace) -> Reply:
    with parts_of("lite"):
        main = importlib.import_module(f"lisa_tool.eval.{args.what}").main
    if not args.json:
        return Reply(None, "", main(args))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(args)
    return Reply(json.loads(printed.getvalue().splitlines()[-1]), "", code)


def _compare(args: argparse.Namespace) -> Reply:
    with parts_of("lisa"):
        from lisa_tool.eval.parity.run import compare_recording
        from lisa_tool.eval.parity.summary import document

        reports = []
        for report in compare_recording(args.folder):
            reports.append(report)
            if not args.json:
                write(printable(report.line()) + "\n", sys.stdout)
    found = {"folder": str(args.folder)} | document(reports)
    return Reply(found, json.dumps(found), 0 if found["passed"] else EXIT_DIFFERS)


def _ask(args: argparse.Namespace) -> Reply:
    with parts_of("lisa"):
        from lisa_tool.eval.published import compare_published, document, published_settings, read_published
    settings = published_settings(args.folder, model=args.model, precision=args.precision, device=args.device)
    published = read_published(args.folder, settings)
    with (
        cancel_on_ctrl_c() as cancel,
        ProgressLine(sys.stderr) as line,
        open_segmenter(settings) as segmenter,
    ):
        comparisons = []
        for comparison in compare_published(published, segmenter, progress=line.update, cancel=cancel):
            comparisons.append(comparison)
            if not args.json:
                line.hold()
                write(printable(comparison.line()) + "\n", sys.stdout)
                line.release()
        found = {"clone": str(args.folder)} | document(comparisons, segmenter.model)
    return Reply(found, json.dumps(found), 0 if found["passed"] else EXIT_DIFFERS)
