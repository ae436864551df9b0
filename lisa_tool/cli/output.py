"""Print one reply: as text for a person, or as one JSON document.

With `--json` standard output holds exactly one document whatever happens, an error included. Without it an
answer goes to standard output and an error to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from lisa_tool.cli.exit_codes import exit_code
from lisa_tool.errors import LisaError, OutputNotWritable


@dataclass(frozen=True)
class Reply:
    """What a command has to say, in both forms."""

    document: Any
    text: str
    exit_code: int = 0
    is_error: bool = False


def error_reply(error: LisaError) -> Reply:
    """The reply that tells of an error."""
    sentence = error.message if error.message.endswith((".", "?", "!")) else f"{error.message}."
    hint = "".join(f"\n  {line}" for line in error.hint.splitlines())
    return Reply({"error": error.to_dict()}, f"lisa-tool: {sentence}{hint}", exit_code(error), is_error=True)


def show(reply: Reply, *, as_json: bool) -> int:
    """Print the reply; returns the exit code of the process."""
    if reply.is_error and not as_json:
        _complain(reply.text)
        return reply.exit_code
    try:
        _print(_json(reply.document) if as_json else reply.text)
    except BrokenPipeError:
        _let_go_of_stdout()  # the reader has seen enough (`| head`)
    except OSError as e:
        _let_go_of_stdout()
        failure = error_reply(OutputNotWritable(f"standard output cannot be written: {e.strerror}", ""))
        _complain(failure.text)
        return failure.exit_code
    return reply.exit_code


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


def _print(text: str) -> None:
    if sys.stdout is None or not text:  # None: started with standard output closed
        return
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _let_go_of_stdout() -> None:
    """Keep the interpreter from writing what is left in the buffer when it ends."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
