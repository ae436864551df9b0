"""`lisa-tool convert SOURCE [TARGET]`: make a LISA checkpoint ready for use, once."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

from lisa_tool.cli.arguments import Parser
from lisa_tool.cli.interrupt import cancel_on_ctrl_c
from lisa_tool.cli.output import Reply, printable
from lisa_tool.cli.progress import ProgressLine
from lisa_tool.engine.call import Call
from lisa_tool.engine.parts import parts_of
from lisa_tool.settings import load_settings

EPILOG = """\
examples:
  lisa-tool convert xinlai/LISA-7B-v1
  lisa-tool convert ~/downloads/LISA-13B-llama2-v1 ~/models/lisa-13b

The released checkpoints are pickles, which can run code. What is converted here runs nothing: every tensor is
checked, and written as safetensors with a manifest of sha256. Without TARGET it goes where
`lisa-tool segment --model SOURCE` finds it, below LISA_WEIGHTS_DIR; segment converts by itself, too.
The download stays in the hub's cache, where it may be removed (hf cache)."""


def parser() -> Parser:
    """The options of this command."""
    it = Parser("convert", "SOURCE [TARGET]", "Convert a LISA checkpoint to safetensors, once.", EPILOG)
    it.add_argument("source", metavar="SOURCE", help="a hub name such as xinlai/LISA-7B-v1, or a folder")
    it.add_argument("target", metavar="TARGET", nargs="?", type=Path, help="where the converted folder goes")
    it.add_argument(
        "--revision",
        metavar="R",
        help="commit or branch on the hub; the first one downloaded is pinned (LISA_REVISION)",
    )
    return it


def run(args: argparse.Namespace) -> Reply:
    """Convert; raises LisaError."""
    settings = load_settings(revision=args.revision)
    started = time.monotonic()
    with parts_of("lisa"), cancel_on_ctrl_c() as cancel, ProgressLine(sys.stderr) as line:
        from lisa_tool.lisa.checkpoint.find import convert_found, find_checkpoint
        from lisa_tool.lisa.checkpoint.library import Library
        from lisa_tool.lisa.checkpoint.work import Part

        work = Call.start(deadline_s=math.inf, cancel=cancel, progress=line.update)
        library = Library(settings.weights_dir, settings.offline)
        found = find_checkpoint(args.source, library, revision=settings.revision, work=Part(work, 0.0, 0.5))
        target = args.target.expanduser().absolute() if args.target else None
        converted = convert_found(found, library, target, work=Part(work, 0.5, 1.0))
    assert converted.manifest
    document = {
        "folder": str(converted.folder),
        "source": converted.name,
        "revision": converted.revision,
        "tensors": converted.manifest.n_tensors,
        "bytes": converted.manifest.n_bytes,
        "weights_sha256": converted.manifest.weights_sha256,
        "seconds": round(time.monotonic() - started, 1),
    }
    return Reply(document, _text(document))


def _text(document: dict[str, Any]) -> str:
    revision = f" at {document['revision']}" if document["revision"] else ""
    return "\n".join(
        [
            f"{printable(document['source'])}{revision} is ready in {printable(document['folder'])}",
            f"  {document['tensors']} tensors, {document['bytes'] / 1e6:,.1f} MB, "
            f"{document['seconds']} s, sha256 {document['weights_sha256']}",
        ]
    )
