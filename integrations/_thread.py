"""What a LangGraph thread already holds: the images people attached, and the conversations of results.

A model cannot write an attached image into an argument, and forgets handles; both are in the messages. What
the messages no longer hold, because they were cut or never there, is remembered in `Handles`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from lisa_tool.engine.conversation import CONVERSATION_ID
from lisa_tool.errors import ImageNotFound

KEPT = 1024
"""Handles that one tool remembers; the one used longest ago goes first."""

_ATTACHED = re.compile(r"latest|image:(\d+)")


class Handles:
    """(thread, image) -> handle of the last result, bounded. A pickled copy starts empty."""

    def __init__(self) -> None:
        self._handles: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, thread: str, identity: str) -> str:
        """The handle, or ""."""
        with self._lock:
            if (thread, identity) not in self._handles:
                return ""
            self._handles.move_to_end((thread, identity))
            return self._handles[thread, identity]

    def keep(self, thread: str, identity: str, handle: str) -> None:
        """Remember it for this image, and as the thread's last."""
        with self._lock:
            for key in ((thread, identity), (thread, "")):
                self._handles[key] = handle
                self._handles.move_to_end(key)
            while len(self._handles) > KEPT:
                self._handles.popitem(last=False)

    def __reduce__(self) -> tuple[type[Handles], tuple[()]]:
        return Handles, ()


@dataclass(frozen=True)
class Thread:
    """One thread as a tool call finds it.

    name: what its handles are kept under, or "" when nobody named it. messages: oldest first.
    """

    name: str
    messages: Sequence[Any]
    handles: Handles

    @classmethod
    def of(cls, config: Mapping[str, Any] | None, runtime: Any, handles: Handles) -> Thread:
        """The thread of a call: `configurable.lisa_conversation_id`, else `configurable.thread_id`."""
        configurable = (config or {}).get("configurable") or {}
        name = configurable.get("lisa_conversation_id") or configurable.get("thread_id") or ""
        return cls(str(name), _messages(getattr(runtime, "state", None)), handles)

    def subject(self, image: str, tool: str) -> tuple[str, str]:
        """What a question is about: an image reference and the handle to ask it under, each "" for none.

        image: as the model wrote it: a reference, "latest", "image:N", or "" for what the thread is about:
          the last result of `tool`, or an image attached since.
        """
        text = image.strip()
        if attached := _ATTACHED.fullmatch(text.lower()):
            text = self._attached(attached[1])
        elif not text:
            text = self._attached_since(tool)
        return text, self._handle(text, tool)

    def keep(self, image: str, handle: str) -> None:
        """Remember the handle that a question about `image` was answered under."""
        if self.name:
            self.handles.keep(self.name, _identity(image), handle)

    def _attached(self, number: str | None) -> str:
        found = [image for message in self.messages for image in _images(message)]
        n = int(number) if number else len(found)
        if not 1 <= n <= len(found):
            count = f"{len(found)} image{'' if len(found) == 1 else 's'}"
            raise ImageNotFound(
                f"this conversation holds {count}" + (f", so there is no image {n}" if number else ""),
                "Pass a path, or ask the user to attach the image.",
            )
        return _readable(found[n - 1])

    def _attached_since(self, tool: str) -> str:
        """The image attached after the last result of `tool`; "" when there is none."""
        for message in reversed(self.messages):
            if _result(message, tool):
                break
            if found := _images(message):
                return _readable(found[-1])
        return ""

    def _handle(self, image: str, tool: str) -> str:
        if CONVERSATION_ID.fullmatch(self.name):
            return self.name
        identity = _identity(image)
        for message in reversed(self.messages):
            result = _result(message, tool)
            if result and (not identity or identity in (result.source, result.sha256)):
                return result.handle
        return self.handles.get(self.name, identity) if self.name else ""


@dataclass(frozen=True)
class _Result:
    handle: str
    source: str
    sha256: str


def _result(message: Any, tool: str) -> _Result | None:
    """What a message of `tool` says of its conversation."""
    artifact = getattr(message, "artifact", None)
    if getattr(message, "name", None) != tool or not isinstance(artifact, dict):
        return None
    handle, image = artifact.get("conversation_id"), artifact.get("image")
    if not handle or not isinstance(image, dict):
        return None
    return _Result(str(handle), str(image.get("source")), str(image.get("sha256")))


def _messages(state: Any) -> Sequence[Any]:
    """The messages of a graph's state, which may be a mapping, a list, or an object."""
    if isinstance(state, Mapping):
        state = state.get("messages")
    elif not isinstance(state, list):
        state = getattr(state, "messages", None)
    return state if isinstance(state, Sequence) else ()


def _images(message: Any) -> list[str | None]:
    """References to the images that a person attached; None for one whose bytes are with the provider."""
    if getattr(message, "type", None) != "human":  # pictures that tools made are no input
        return []
    return [_reference(block) for block in message.content_blocks if _is_image(block)]


def _is_image(block: Mapping[str, Any]) -> bool:
    return _plain(block).get("type") in ("image", "image_url", "input_image")


def _plain(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """A block without the wrapping that LangChain gives to forms it does not know."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block


def _reference(block: Mapping[str, Any]) -> str | None:
    block = _plain(block)
    if data := block.get("base64"):
        return f"data:{block.get('mime_type') or 'image/png'};base64,{data}"
    url = block.get("url") or block.get("image_url")
    return url if isinstance(url, str) else None


def _readable(reference: str | None) -> str:
    if reference is None:
        raise ImageNotFound(
            "that image was attached by a provider's file id, so its bytes are not here",
            "Ask the user for a path, or to attach the image itself.",
        )
    return reference


def _identity(image: str) -> str:
    """What tells an image apart: its reference, for an attached one the sha256 of its bytes; "" for none."""
    header, comma, payload = image.partition(",")
    if not comma or not header.lower().startswith("data:"):
        return image
    try:
        data = base64.b64decode(payload) if header.lower().endswith(";base64") else unquote_to_bytes(payload)
    except ValueError:  # a damaged one: the segmenter will say so
        return ""
    return hashlib.sha256(data).hexdigest()
