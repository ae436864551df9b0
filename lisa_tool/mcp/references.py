"""What a client may put into `image`, before the pipeline reads it.

    /home/ada/cat.jpg   file:///...   ~/cat.jpg   img_<32 hex>   data:image/png;base64,...   https://...

Handles stand for a reference that this server has met: models copy them rightly where they mangle a path
("Screenshot at 3.04 PM.png" holds a space that no keyboard makes), and a picture sent as `data:` need not be
sent again. A handle is of use to its user only, and until the process ends.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from lisa_tool.engine.cache import ByteBoundedCache
from lisa_tool.errors import ImageNotFound, ImageTooLarge
from lisa_tool.images.elsewhere import elsewhere_path, elsewhere_scheme
from lisa_tool.images.naming import megabytes, shown
from lisa_tool.mcp.jobs import User
from lisa_tool.settings import Limits

HANDLE = re.compile(r"img_[0-9a-f]{32}")
_ABSOLUTE = re.compile(r"[/~\\]|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]+:")
_ENTRY_BYTES = 300
"""What a handle takes beside the reference itself."""


class References:
    """Turns `image` arguments into references, and references into handles."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._key = secrets.token_bytes(32)
        self._known: ByteBoundedCache[tuple[User, str]] = ByteBoundedCache(limits.conversation_bytes)

    def handle(self, user: User, reference: str) -> str:
        """A handle for a reference; the same one each time for the same user."""
        owned = repr((user, reference)).encode("utf-8", "surrogatepass")
        name = f"img_{hmac.new(self._key, owned, hashlib.sha256).hexdigest()[:32]}"
        self._known.put(name, (user, reference), len(reference) + _ENTRY_BYTES)
        return name

    def resolve(self, user: User, image: str) -> str | None:
        """The reference that `image` means; None when it is empty.

        What it leads to is checked where it is read. Raises ImageNotFound for a relative path and for a
        handle of nobody or of somebody else, ImageTooLarge for a long data URI.
        """
        text = image.strip()
        if not text:
            return None
        if HANDLE.fullmatch(text):
            owner, reference = self._known.get(text) or (None, None)
            if reference is None or owner != user:
                raise ImageNotFound(f"there is no picture under the handle {text!r} (any more)")
            return reference
        if text[:5].lower() == "data:":
            self._check_inline(text)
        elif not _ABSOLUTE.match(text):
            raise (
                elsewhere_scheme(text)
                or elsewhere_path(text)
                or ImageNotFound(f"{shown(text)!r} is not an absolute path")
            )
        return text

    def _check_inline(self, uri: str) -> None:
        limit = self._limits.max_inline_bytes
        if len(uri.partition(",")[2]) > -(-limit * 4 // 3) + 2:  # 4 characters make 3 bytes; 2 may be padding
            raise ImageTooLarge(
                f"the data URI is over the limit of {megabytes(limit)}",
                "Save the image to a file and pass its path.",
            )
