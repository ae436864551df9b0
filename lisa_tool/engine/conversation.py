"""Conversations: several questions about one image, under a handle that only we give out.

A handle names the image and the turns so far. Each conversation is also a small private file, so that another
process with the same output folder (the next command) can go on with it; when two do so at once, a turn may
be lost. What a model keeps beyond the text lies in the backend's caches: losing it costs time only.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import TypeAdapter, ValidationError

from lisa_tool.engine.cache import ByteBoundedCache
from lisa_tool.errors import ConversationNotFound, ImageNotFound
from lisa_tool.images import ImageReference
from lisa_tool.settings import Limits

CONVERSATION_ID = re.compile(r"conv_[0-9a-f]{32}")
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Turn:
    """One question that was answered, both as they go back to the model."""

    query: str
    answer: str


@dataclass(frozen=True)
class _Record:
    """A conversation as it is written to its file: `image` is a path or URL, or None."""

    image: str | None
    image_sha256: str
    turns: tuple[Turn, ...]


_RECORD = TypeAdapter(_Record)


@dataclass(frozen=True)
class Conversation:
    """What is known under one handle.

    image: the reference of the last turn; None before the first, and where it could not be kept.
    """

    id: str
    image: ImageReference | None = None
    image_sha256: str | None = None
    turns: tuple[Turn, ...] = ()

    def reference(self, given: ImageReference | None) -> ImageReference:
        """The image to look at: the one given now, else the one of the last turn. Raises ImageNotFound."""
        reference = self.image if given is None else given
        if reference is None:
            raise ImageNotFound("no image was given", "Give the image with the question.")
        return reference

    def check_unchanged(self, image_sha256: str) -> None:
        """The image under the kept reference is still the same. Raises ImageNotFound."""
        if image_sha256 != self.image_sha256:
            raise ImageNotFound(
                "the image of this conversation has changed",
                "Give the image with the question, to begin anew.",
            )

    def about(self, image_sha256: str) -> tuple[Turn, ...]:
        """The turns about this image; none when it is another image than before."""
        return self.turns if image_sha256 == self.image_sha256 else ()


class Conversations:
    """All conversations under one folder: bounded in number, in bytes and in time without a question."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._files = threading.Lock()
        # Images given as bytes or pixels, which no file of ours should hold.
        self._images: ByteBoundedCache[ImageReference] = ByteBoundedCache(limits.conversation_bytes)

    def resume(self, conversation_id: str | None) -> Conversation:
        """The conversation under a handle; a new one for None.

        Raises ConversationNotFound for a handle that was not given out here or has expired.
        """
        if conversation_id is None:
            return Conversation(f"conv_{secrets.token_hex(16)}")
        record = self._read(conversation_id) if CONVERSATION_ID.fullmatch(conversation_id) else None
        if record is None:
            raise ConversationNotFound(f"there is no conversation {conversation_id[:80]!r} here (any more)")
        image = record.image or self._images.get(conversation_id)
        return Conversation(conversation_id, image, record.image_sha256, record.turns)

    def add(self, conversation_id: str, reference: ImageReference, image_sha256: str, turn: Turn) -> None:
        """Keep one more turn; the oldest turns go when there are too many.

        Where the file cannot be written the conversation ends here: the answer is not lost for it.
        """
        name = _name(reference)
        if name is None:
            self._images.put(conversation_id, reference, _held_bytes(reference))
        with self._files, suppress(OSError):
            before = self._read(conversation_id)  # now: another call may have added a turn meanwhile
            turns = before.turns if before and before.image_sha256 == image_sha256 else ()
            turns = (*turns, turn)[-self._limits.max_history_turns :]
            self._write(conversation_id, _Record(name, image_sha256, turns))

    def clear(self) -> None:
        """Let go of what is held in memory."""
        self._images.clear()

    def _read(self, conversation_id: str) -> _Record | None:
        path = self._folder / f"{conversation_id}.json"
        with suppress(OSError, ValidationError):
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(path, flags), "rb") as file:
                idle_s = time.time() - os.fstat(file.fileno()).st_mtime
                if idle_s <= self._limits.conversation_idle_s:
                    return _RECORD.validate_json(file.read(_MAX_FILE_BYTES))
        return None

    def _write(self, conversation_id: str, record: _Record) -> None:
        path = self._folder / f"{conversation_id}.json"
        part = self._folder / f".{conversation_id}.{secrets.token_hex(4)}.part"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                file.write(_RECORD.dump_json(record))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        with os.scandir(self._folder) as entries:
            ours = [e for e in entries if CONVERSATION_ID.fullmatch(e.name.removesuffix(".json"))]
        ages = []
        for entry in ours:
            with suppress(OSError):  # another process may have removed it just now
                ages.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
        for _, path in sorted(ages)[: -self._limits.max_conversations]:
            with suppress(OSError):
                os.unlink(path)


def _name(reference: ImageReference) -> str | None:
    """The reference as text where it is a path or a URL; None where it is the image itself."""
    if isinstance(reference, bytes | Image.Image):
        return None
    text = os.fsdecode(reference)
    if not text.startswith("~") and ":" not in text[:6]:
        text = os.path.abspath(text)  # another process may have another working directory
    with suppress(UnicodeEncodeError):
        text.encode()
        return None if text[:5].lower() == "data:" else text
    return None


def _held_bytes(reference: ImageReference) -> int:
    if isinstance(reference, Image.Image):
        return reference.width * reference.height * len(reference.getbands())
    return len(reference) if isinstance(reference, bytes | str) else 0
