"""`lisa-tool eval lite`: measure a model on known photos and questions; lisa_tool.eval prints the report."""

from __future__ import annotations

import argparse
import contextlib
import io
import json

from lisa_tool.cli.arguments import Parser
from lisa_tool.cli.output import Reply


def parser() -> Parser:
    """The options of this command."""
    it = Parser(
        "eval", "lite", "Measure a model on known photos and questions. The last line of the report is JSON."
    )
    it.add_argument("model", choices=["lite"], help="the model to measure")
    it.add_argument(
        "--split",
        choices=["dev", "held", "all"],
        default="all",
        help="the cases used while writing the knowledge, those that were not, or all (default)",
    )
    it.add_argument("--wrong", action="store_true", help="also print each case that was answered wrong")
    return it


def run(args: argparse.Namespace) -> Reply:
    """Measure. The report is printed while it is made; with --json only its last line, which is JSON."""
    from lisa_tool.eval import lite

    if not args.json:
        return Reply(None, "", lite.main(args))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = lite.main(args)
    return Reply(json.loads(printed.getvalue().splitlines()[-1]), "", code)
