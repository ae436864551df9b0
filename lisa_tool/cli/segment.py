"""`lisa-tool segment IMAGE QUERY`: answer a question about an image with masks."""

from __future__ import annotations

import argparse
import sys

from lisa_tool.cli.answer import answer_text
from lisa_tool.cli.arguments import Parser, UsageError
from lisa_tool.cli.asking import add_asking, settings_of
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.named_folder import also_allow, folder_of
from lisa_tool.cli.output import Reply
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.errors import ImageTooLarge
from lisa_tool.segmenter import open_segmenter

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
    add_asking(it)
    return it


def run(args: argparse.Namespace) -> Reply:
    """Answer; raises LisaError."""
    settings = also_allow(folder_of(args.image), settings_of(args))
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
