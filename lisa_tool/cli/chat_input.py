"""The lines of a chat: typed at a prompt by a person, or piped in by a program. Blank lines are left out."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator

PROMPT = "> "
_HOW_TO_END = "(Ctrl-C again, /quit or Ctrl-D ends the chat)"


def is_typed() -> bool:
    """Whether a person types: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def piped_lines() -> Iterator[str]:
    """Each line of standard input as soon as it is there; bytes that are no text become U+FFFD."""
    _accept_any_bytes()
    for line in sys.stdin or ():
        if line.strip():
            yield line.strip()


def typed_lines(*, prompt_on_stdout: bool) -> Iterator[str]:
    """What is typed, until Ctrl-D or two times Ctrl-C; one Ctrl-C drops the line that is being typed.

    prompt_on_stdout: else the prompt goes to standard error, and a line is edited as the terminal can.
    """
    _accept_any_bytes()
    if prompt_on_stdout:
        with contextlib.suppress(ImportError):  # not on every system
            import readline  # noqa: F401 - being imported makes input() keep a history, in memory only
    interrupted = False
    while True:
        try:
            line = _ask(prompt_on_stdout)
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            print(file=sys.stderr)
            if interrupted:
                return
            interrupted = True
            print(_HOW_TO_END, file=sys.stderr)
            continue
        interrupted = False
        if line.strip():
            yield line.strip()


def _ask(prompt_on_stdout: bool) -> str:
    if prompt_on_stdout:
        return input(PROMPT)
    print(PROMPT, end="", file=sys.stderr, flush=True)
    return input()


def _accept_any_bytes() -> None:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
