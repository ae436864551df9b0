"""What the exit code of `lisa-tool` says. "Nothing there" is an answer, so it is 0."""

from __future__ import annotations

from lisa_tool.errors import (
    BackendError,
    BadSettings,
    CallError,
    Cancelled,
    ConversationNotFound,
    DeviceFailed,
    ImageError,
    InternalError,
    InvalidQuery,
    LisaError,
    NotFinite,
    OutputError,
)

MEANINGS = {
    0: "an answer: found, uncertain and not_found are all answers",
    1: "internal error, a bug in lisa-tool",
    2: "wrong usage, a question that cannot be asked, an unknown conversation, or wrong settings",
    3: "the image cannot be read, is not allowed or is too large",
    4: "the result cannot be written",
    5: "the model cannot be opened or run: unknown, not installed, too large, damaged, or its GPU failed",
    6: "busy, out of time or out of memory: worth another try",
    130: "cancelled with Ctrl-C",
}

_BY_KIND: tuple[tuple[type[LisaError], int], ...] = (  # the first that fits
    (InternalError, 1),
    (Cancelled, 130),
    (InvalidQuery, 2),
    (ConversationNotFound, 2),
    (BadSettings, 2),
    (ImageError, 3),
    (OutputError, 4),
    (BackendError, 5),
    (DeviceFailed, 5),
    (NotFinite, 5),
    (CallError, 6),
)


def exit_code(error: LisaError) -> int:
    """The exit code for an error; 1 for a kind that is not in the table."""
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), 1)
