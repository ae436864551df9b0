"""How a reference is shown, in `ImageInfo.source` and in messages: short, printable, without secrets."""

from __future__ import annotations

import re

from lisa_tool.results import clean_text

_SHOWN_CHARS = 300
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<host>[^/?#\\]*)(?P<path>[^?#]*)")


def shown(text: str, limit: int = _SHOWN_CHARS) -> str:
    """`text` on one line, without control characters, cut."""
    return clean_text(text[: limit * 4], limit)


def shown_url(url: str) -> str:
    """A URL without user, password, query string and fragment: those carry tokens."""
    match = _URL.match(url)
    if not match:
        return shown(url)
    host = match["host"].rpartition("@")[2]
    return shown(f"{match['scheme']}{host}{match['path']}")


def shown_data_uri(header: str, n_bytes: int) -> str:
    """`header` is what stands before the comma: 'data:image/png;base64,… (12345 bytes)'."""
    return f"{shown(header, 60)},… ({n_bytes} bytes)"


def megabytes(n_bytes: int) -> str:
    """A size in words; what is just over a limit does not look equal to it."""
    mib = n_bytes / 2**20
    if mib < 0.1:
        return f"{n_bytes} bytes"
    return f"{mib:.0f} MiB" if mib == round(mib) else f"{mib:.1f} MiB"
