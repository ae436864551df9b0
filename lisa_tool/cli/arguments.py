"""Reading the command line: argparse whose mistakes are errors like any other, and shared options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lisa_tool.cli.output import Reply
from lisa_tool.errors import BadSettings


class UsageError(BadSettings):
    """The command line cannot be understood."""

    code = "usage"
    default_hint = "See: lisa-tool --help"


class Shown(Exception):
    """The command line asked for a text, such as the help, and not for work."""

    def __init__(self, document: dict[str, str], text: str) -> None:
        super().__init__(text)
        self.reply = Reply(document, text)


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would print and exit, and Shown where it would print the help."""

    def __init__(self, command: str, operands: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"lisa-tool {command}",
            usage=" ".join(filter(None, ["lisa-tool", command, operands, "[options]"])),
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.add_argument("-h", "--help", action=_ShowHelp, nargs=0, help="show this help and end")
        self.add_argument("--json", action="store_true", help="print one JSON document, also for an error")

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.format_usage().strip()}\nSee: {self.prog} --help")


class _ShowHelp(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text = parser.format_help().rstrip()
        raise Shown({"help": text}, text)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether `--json` is among the options; known before parsing, so that usage errors are JSON too."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in options


def add_allow(parser: Parser) -> None:
    """Add `--allow DIR`, which replaces the folders that images are read from."""
    parser.add_argument(
        "--allow",
        metavar="DIR",
        type=folder,
        action="append",
        help="read images from this folder only; may be given more than once (LISA_ROOTS)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add `--model`, `--precision` and `--device`."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="lite, or a LISA checkpoint: a hub name such as xinlai/LISA-7B-v1, or a folder (LISA_MODEL)",
    )
    parser.add_argument(
        "--precision",
        metavar="P",
        help="fp32, bf16, fp16, int8 or nf4, of a LISA checkpoint (LISA_PRECISION)",
    )
    parser.add_argument(
        "--device", metavar="D", help="cpu, cuda or cuda:N, of a LISA checkpoint (LISA_DEVICE)"
    )


def folder(text: str) -> Path:
    """An existing folder."""
    path = Path(text).expanduser()
    if "\0" in text or not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return path


def positive_seconds(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def positive_count(text: str) -> int:
    """A whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value
