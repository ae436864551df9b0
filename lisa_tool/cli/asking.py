"""What `segment` and `chat` have in common: how a question is to be answered, as options and as settings."""

from __future__ import annotations

import argparse
from pathlib import Path

from lisa_tool.cli.arguments import Parser, UsageError, add_allow, add_model, positive_seconds
from lisa_tool.settings import Settings, load_settings


def add_asking(parser: Parser) -> None:
    """Add the options that say how, with which model and within which bounds a question is answered."""
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where the result folder goes (LISA_OUTPUT_DIR)"
    )
    parser.add_argument(
        "--conv", metavar="CONVERSATION", help="go on with the conversation of an earlier answer"
    )
    add_model(parser)
    parser.add_argument(
        "--mask-only",
        action="store_const",
        const="mask_only",
        help="a mask without words: the shortest way to it (LISA_ANSWER_MODE)",
    )
    add_allow(parser)
    parser.add_argument(
        "--open-url-hosts",
        metavar="HOST[,HOST...]",
        help="hosts that an https:// image may come from; '*' is any public host (LISA_URL_HOSTS)",
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=positive_seconds, help="give up on an answer after this time"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings with those options. Raises BadSettings, also for an option that would do nothing."""
    settings = load_settings(
        model=args.model,
        precision=args.precision,
        device=args.device,
        output_dir=args.out,
        roots=args.allow,
        url_hosts=args.open_url_hosts,
    )
    if settings.model == "lite" and (args.precision or args.device):
        raise UsageError(
            "--precision and --device are for LISA checkpoints, not for lite", "Give --model too."
        )
    return settings
