"""`lisa-tool images [FOLDER]`: the images that can be read, newest first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lisa_tool.cli.arguments import Parser, add_allow, positive_count
from lisa_tool.cli.named_folder import also_allow
from lisa_tool.cli.output import Reply, printable
from lisa_tool.images import ListedImage, list_images
from lisa_tool.settings import load_settings

EPILOG = """\
examples:
  lisa-tool images
  lisa-tool images ~/Pictures --limit 10 --pattern "*.png"

Without --allow and LISA_ROOTS, FOLDER and the working directory may be listed, with their subfolders."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser("images", "[FOLDER]", "List the images that can be read, newest first.", EPILOG)
    it.add_argument("folder", metavar="FOLDER", nargs="?", help="list this folder (the allowed folders)")
    it.add_argument("--limit", metavar="N", type=positive_count, help="list at most so many")
    it.add_argument("--pattern", metavar="GLOB", help="only names like this: '*.png', or a part of the name")
    add_allow(it)
    return it


def run(args: argparse.Namespace) -> Reply:
    """List; raises LisaError."""
    named = Path(args.folder).expanduser().absolute() if args.folder else None
    settings = also_allow(named, load_settings(roots=args.allow))
    images = list_images(settings, args.folder, args.pattern, args.limit)
    document = [image.model_dump(mode="json") for image in images]
    return Reply(document, _table(images, datetime.now(UTC)) if images else _nothing(args))


def _table(images: Sequence[ListedImage], now: datetime) -> str:
    rows = [
        (
            printable(image.path),
            f"{image.width}x{image.height}",
            _size(image.bytes),
            _age(image.modified, now),
        )
        for image in images
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{path:<{widths[0]}}  {pixels:>{widths[1]}}  {size:>{widths[2]}}  {age:>{widths[3]}}"
        for path, pixels, size, age in rows
    )


def _nothing(args: argparse.Namespace) -> str:
    where = f"in {printable(args.folder)}" if args.folder else "in the allowed folders"
    like = f" with names like {printable(args.pattern)}" if args.pattern else ""
    return f"No images {where}{like} (JPEG, PNG, WebP, GIF and BMP are read)."


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB" if n_bytes >= 2**20 else f"{n_bytes / 1024:.0f} KiB"


def _age(modified: str, now: datetime) -> str:
    """How long ago, in the largest unit that fits at least once; the future (a wrong clock) is now."""
    seconds = (now - datetime.fromisoformat(modified)).total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
