"""Print one reply: as text for a person, or as one JSON document.

With `--json` standard output holds exactly one document whatever happens, an error included. Without it an
answer goes to standard output and an error to standard error. (`chat` has many replies, and writes each.)
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from lisa_tool.cli.exit_codes import exit_code
from lisa_tool.errors import LisaError, OutputNotWritable


@dataclass(frozen=True)
class Reply:
    """What a command has to say, in both forms; None and "" where it has said everything already."""

    document: Any
    text: str
    exit_code: int = 0
    is_error: bool = False


class Unwritable(Exception):
    """Standard output takes nothing any more. `error` says why; None when its reader has left (`| head`)."""

    def __init__(self, error: OutputNotWritable | None = None) -> None:
        super().__init__(error)
        self.error = error


def error_reply(error: LisaError) -> Reply:
    """The reply that tells of an error."""
    sentence = error.message if error.message.endswith((".", "?", "!")) else f"{error.message}."
    hint = "".join(f"\n  {line}" for line in error.hint.splitlines())
    return Reply({"error": error.to_dict()}, f"lisa-tool: {sentence}{hint}", exit_code(error), is_error=True)


def show(reply: Reply, *, as_json: bool) -> int:
    """Print the reply; returns the exit code of the process."""
    if reply.is_error and not as_json:
        complain(reply.text)
        return reply.exit_code
    if (reply.document is None) if as_json else (not reply.text):
        return reply.exit_code
    try:
        write((_json(reply.document) if as_json else reply.text) + "\n", sys.stdout)
    except Unwritable as e:
        if e.error:
            failure = error_reply(e.error)
            complain(failure.text)
            return failure.exit_code
    return reply.exit_code


def write(text: str, stream: TextIO | None) -> None:
    """Write to standard output at once, escaped where its encoding cannot hold it.

    stream: None when the program was started with standard output closed; then nothing is written.
    Raises Unwritable; what is written after that is dropped.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError as e:
        _let_go(stream)
        raise Unwritable from e
    except OSError as e:
        _let_go(stream)
        error = OutputNotWritable(f"standard output cannot be written: {e.strerror}", "")
        raise Unwritable(error) from e


def complain(text: str) -> None:
    """Print to standard error, as far as it can be written."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """One line without anything that a terminal obeys: file names may hold escape sequences."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def _json(document: Any) -> str:
    """One line, or indented when a person looks at it; ASCII only where the output cannot hold more."""
    indent = 2 if sys.stdout is not None and sys.stdout.isatty() else None
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding if sys.stdout is not None else "utf-8")
    except UnicodeEncodeError:
        return json.dumps(document, indent=indent)
    return text


def _let_go(stream: TextIO) -> None:
    """Keep the interpreter from writing what is left in the buffer when it ends."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
