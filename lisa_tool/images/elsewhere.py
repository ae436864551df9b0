"""References that mean something in a chat app or on another machine, and nothing here.

Models often pass the path that their own app shows them. The error says so, because "no such file" makes
them try again.
"""

from __future__ import annotations

import re

from lisa_tool.errors import ImageNotFound
from lisa_tool.images.naming import shown

_SCHEMES = ("sandbox:", "attachment:", "blob:", "cid:")
_SANDBOX_PATH = re.compile(
    r"/mnt/(user-data|data|outputs|file_upload)/|/home/(oai|claude|sandbox)/|/tmp/(inputs|outputs)/"
    r"|/sessions/[^/]+/mnt/"
)
_FILE_ID = re.compile(r"file-[A-Za-z0-9]{6,}|file-service://.*|file_[0-9a-f]{16,}|file_[A-Za-z0-9]{20,}")


def elsewhere_scheme(reference: str) -> ImageNotFound | None:
    """The error for a scheme that only a chat app understands, or None."""
    return _explain(reference) if reference.lower().startswith((*_SCHEMES, "file-service:")) else None


def elsewhere_path(reference: str) -> ImageNotFound | None:
    """The error for a path or id that looks like a chat app's; asked only when there is no such file here."""
    path = reference[len("file://") :] if reference.lower().startswith("file://") else reference
    return _explain(reference) if _SANDBOX_PATH.match(path) or _FILE_ID.fullmatch(path) else None


def _explain(reference: str) -> ImageNotFound:
    return ImageNotFound(
        f"{shown(reference, 120)!r} lives in the chat app's own sandbox; "
        "this tool runs on another machine and cannot see it",
        "Give a path on the computer that this tool runs on, or a data URI (data:image/png;base64,...).",
    )
