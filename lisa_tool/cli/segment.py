"""`lisa-tool segment IMAGE QUERY`: answer a question about an image with masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lisa_tool.cli.answer import answer_text
from lisa_tool.cli.arguments import Parser, UsageError, add_allow, add_model, positive_seconds
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.named_folder import also_allow, folder_of
from lisa_tool.cli.output import Reply
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.errors import ImageTooLarge
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import load_settings

EPILOG = """\
examples:
  lisa-tool segment photo.jpg "what would you drink from?"
  lisa-tool segment photo.jpg the man on the left --json
  lisa-tool segment - "what is dangerous here?" < photo.jpg

Without --allow and LISA_ROOTS, images may be read from the working directory and the folder of IMAGE.
Results go to --out, LISA_OUTPUT_DIR or ~/.lisa-tool/results; the oldest make room for the new."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser("segment", "IMAGE QUERY", "Answer a question about an image with masks.", EPILOG)
    it.add_argument(
        "image", metavar="IMAGE", help="path, file://, data: or https:// reference, or - for standard input"
    )
    it.add_argument("query", metavar="QUERY", nargs="+", help="the question in plain words, quoted or not")
    it.add_argument("--out", metavar="DIR", type=Path, help="where the result folder goes (LISA_OUTPUT_DIR)")
    it.add_argument("--conv", metavar="CONVERSATION", help="go on with the conversation of an earlier answer")
    add_model(it)
    it.add_argument(
        "--mask-only",
        action="store_const",
        const="mask_only",
        help="a mask without words: the shortest way to it (LISA_ANSWER_MODE)",
    )
    add_allow(it)
    it.add_argument(
        "--open-url-hosts",
        metavar="HOST[,HOST...]",
        help="hosts that an https:// image may come from; '*' is any public host (LISA_URL_HOSTS)",
    )
    it.add_argument("--deadline", metavar="SECONDS", type=positive_seconds, help="give up after this time")
    return it


def run(args: argparse.Namespace) -> Reply:
    """Answer; raises LisaError."""
    settings = also_allow(
        folder_of(args.image),
        load_settings(
            model=args.model,
            precision=args.precision,
            device=args.device,
            output_dir=args.out,
            roots=args.allow,
            url_hosts=args.open_url_hosts,
        ),
    )
    image = _read_stdin(settings.limits.max_file_bytes) if args.image == "-" else args.image
    with (
        cancel_on_ctrl_c() as cancel,
        ProgressLine(sys.stderr) as line,
        open_segmenter(settings) as segmenter,
    ):
        result = segmenter.segment(
            image,
            " ".join(args.query),
            conversation_id=args.conv,
            mode=args.mask_only,
            progress=line.update,
            cancel=cancel,
            deadline_s=args.deadline,
        )
    return Reply(result.model_dump(mode="json"), answer_text(result))


def _read_stdin(max_bytes: int) -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "IMAGE is - but nothing is piped in", "Pipe a file in: lisa-tool segment - QUERY < photo.jpg"
        )
    data = sys.stdin.buffer.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ImageTooLarge(f"standard input holds more than {max_bytes} bytes, the limit of one image file")
    return data
