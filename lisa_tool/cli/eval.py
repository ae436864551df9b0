"""`lisa-tool eval lite|speed`: measure the embedded default; lisa_tool.eval prints the report."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json

from lisa_tool.cli.arguments import Parser, positive_count
from lisa_tool.cli.output import Reply
from lisa_tool.lite import parts_of_lite


def parser() -> Parser:
    """The options of this command."""
    it = Parser(
        "eval",
        "lite|speed",
        "Measure the embedded default on known photos and questions. The last line of the report is JSON.",
    )
    it.add_argument(
        "what",
        metavar="lite|speed",
        choices=["lite", "speed"],
        help="lite: right and wrong answers; speed: seconds and memory",
    )
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
    """Measure. The report is printed while it is made; with --json only its last line, which is JSON."""
    with parts_of_lite():
        main = importlib.import_module(f"lisa_tool.eval.{args.what}").main
    if not args.json:
        return Reply(None, "", main(args))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(args)
    return Reply(json.loads(printed.getvalue().splitlines()[-1]), "", code)
