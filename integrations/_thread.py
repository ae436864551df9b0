"""What a LangGraph thread already holds: the images people attached, and the conversations of results.

A model cannot write an attached image into an argument, and forgets handles; both are in the messages. What
the messages no longer hold, because they were cut or never there, is remembered in `Handles`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from lisa_tool.engine.conversation import CONVERSATION_ID
from lisa_tool.errors import ImageNotFound

KEPT = 1024
"""Handles that one tool remembers; the one used longest ago goes first."""

_ATTACHED = re.compile(r"latest|image:(\d{1,6})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


class Handles:
    """(thread, image) -> handle of the last result, bounded. A pickled copy starts empty."""

    def __init__(self) -> None:
        self._handles: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._beginning: set[tuple[str, str]] = set()
        self._changed = threading.Condition()

    @contextmanager
    def conversation(self, thread: str, identity: str) -> Iterator[str]:
        """The handle. Where there is none yet, "" for one caller; the others wait for what it will keep."""
        key = thread, identity
        with self._changed:
            self._changed.wait_for(lambda: key in self._handles or key not in self._beginning)
            if handle := self._handles.get(key, ""):
                self._handles.move_to_end(key)
            else:
                self._beginning.add(key)
        try:
            yield handle
        finally:
            if not handle:
                with self._changed:
                    self._beginning.discard(key)
                    self._changed.notify_all()

    def keep(self, thread: str, identity: str, handle: str) -> None:
        """Remember it for this image, and as the thread's last."""
        with self._changed:
            for key in ((thread, identity), (thread, "")):
                self._handles[key] = handle
                self._handles.move_to_end(key)
            while len(self._handles) > KEPT:
                self._handles.popitem(last=False)

    def __reduce__(self) -> tuple[type[Handles], tuple[()]]:
        return Handles, ()


@dataclass(frozen=True)
class Subject:
    """What a question is about.

    image: a reference, or "" for the image of the conversation. again: in that case, how the image was named
    when its conversation began, or "": for when the conversation has ended.
    """

    image: str
    again: str = ""


@dataclass(frozen=True)
class Thread:
    """One thread as a tool call finds it.

    known_as: what its handles are looked up under, "" for nothing. kept_as: what they are kept under. pinned:
    the handle that the program named, or "". messages: oldest first.

    Two agents may have threads of one name and no word in common, so a name alone is believed where the
    program chose it, or where no beginning of the messages could tell the threads apart.
    """

    known_as: str
    kept_as: tuple[str, ...]
    pinned: str
    messages: Sequence[Any]
    handles: Handles

    @classmethod
    def of(cls, config: Mapping[str, Any] | None, runtime: Any, handles: Handles) -> Thread:
        """The thread of a call: `configurable.lisa_conversation_id`, else `configurable.thread_id`."""
        configurable = (config or {}).get("configurable") or {}
        messages = _messages(getattr(runtime, "state", None))
        if chosen := str(configurable.get("lisa_conversation_id") or ""):
            pinned = chosen if CONVERSATION_ID.fullmatch(chosen) else ""
            return cls(chosen, (chosen,), pinned, messages, handles)
        name = str(configurable.get("thread_id") or "")
        first = _first(messages)
        if not name or first is None:
            return cls(name, (name,) if name else (), "", messages, handles)
        known_as = f"{name}/{first.id}" if first.id else ""
        return cls(known_as, (known_as, name) if known_as else (name,), "", messages, handles)

    def subject(self, image: str, conversation: str, tool: str) -> Subject:
        """What a question is about.

        image: as the model wrote it: a reference, "latest", "image:N", or "" for the image of `conversation`,
          else for what the thread is about: the last result of `tool`, or an image attached since.
        """
        text = image.strip()
        if attached := _ATTACHED.fullmatch(text.lower()):
            return Subject(self._attached(attached[1]))
        if text or (text := self._attached_since(tool)):
            return Subject(text)
        named = conversation or self.pinned
        results = (_result(message, tool) for message in reversed(self.messages))
        last = next((r for r in results if r and named in ("", r.handle)), None)
        if not last:
            return Subject("")
        named_as = "" if last.source.lower().startswith("data:") else last.source
        return Subject(self._attachment(last.sha256), named_as)

    @contextmanager
    def conversation(self, image: str, named: str, tool: str) -> Iterator[str]:
        """The handle to ask about an image under: `named` by the model, else the thread's; "" for none.

        At a first question the others about the image wait, to go on with the conversation that it begins.
        """
        identity = _identity(image)
        handle = named or ("" if self.pinned else self._in_messages(identity, tool))
        if handle or not self.known_as:
            yield handle
        else:
            with self.handles.conversation(self.known_as, identity) as handle:
                yield handle or self.pinned

    def keep(self, image: str, handle: str) -> None:
        """Remember the handle that a question about `image` was answered under."""
        for name in self.kept_as:
            self.handles.keep(name, _identity(image), handle)

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

    def _attachment(self, sha256: str) -> str:
        """The attached image with these bytes; "" when there is none."""
        attached = (image for message in reversed(self.messages) for image in _images(message))
        return next((image for image in attached if image and _identity(image) == sha256), "")

    def _in_messages(self, identity: str, tool: str) -> str:
        """The handle of the last result about an image, or of the last one; "" when there is none."""
        for message in reversed(self.messages):
            result = _result(message, tool)
            if result and (not identity or identity in (_identity(result.source), result.sha256)):
                return result.handle
        return ""


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


def _first(messages: Sequence[Any]) -> Any:
    """The message that the thread began with; None where it is not here, because messages were cut or none
    are kept."""
    first = next((message for message in messages if getattr(message, "type", None) != "system"), None)
    if first is None or first.type != "human":
        return None
    return None if first.additional_kwargs.get("lc_source") == "summarization" else first


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
    """What tells an image apart: its absolute path or URL, or the sha256 of its bytes; "" for none."""
    header, comma, payload = image.partition(",")
    if not comma or not header.lower().startswith("data:"):
        is_path = image and not _SCHEME.match(image)
        return os.path.abspath(os.path.expanduser(image)) if is_path else image
    try:
        data = base64.b64decode(payload) if header.lower().endswith(";base64") else unquote_to_bytes(payload)
    except ValueError:  # a damaged one: the segmenter will say so
        return ""
    return hashlib.sha256(data).hexdigest()
