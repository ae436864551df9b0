"""The protocol that every backend meets, and the one function that picks a backend."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from lisa_tool.engine.call import ProgressCallback
from lisa_tool.errors import UnknownModel
from lisa_tool.images import ImageReference
from lisa_tool.lisa.hub_name import HUB_NAME
from lisa_tool.results import ModelInfo, Segmentation
from lisa_tool.settings import Mode, Settings, load_settings


@runtime_checkable
class Segmenter(Protocol):
    """Answers questions about images with masks. Safe to call from several threads."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        ...

    def segment(
        self,
        image: ImageReference | None,
        query: str,
        *,
        conversation_id: str | None = None,
        mode: Mode | None = None,
        progress: ProgressCallback | None = None,
        cancel: threading.Event | None = None,
        deadline_s: float | None = None,
    ) -> Segmentation:
        """Find what `query` asks for in `image`.

        image: path, `file://`, `data:` or (when enabled) `https://` reference, bytes of an image file, or a
            PIL image. None: the image of the conversation.
        query: plain words, often ones that need reasoning ("what keeps her dry?").
        conversation_id: the `conversation_id` of an earlier result, to ask more about its image; the turns
            so far are part of the question. Another image in it begins anew. None begins a conversation.
        mode: `explain` for the whole answer, `fast` to stop at the first mask, `mask_only` for a mask without
            words; None takes the setting. A backend that has no such choice ignores it.
        progress: called with the stage and a rising fraction, in the calling thread.
        cancel: set it from any thread to stop; the call raises Cancelled.
        deadline_s: seconds from now, at most the limit of the settings.

        "Nothing there" is a result with outcome `not_found`. Raises LisaError (see errors.py).
        """
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def names_a_checkpoint(model: str) -> bool:
    """Whether a model's name is that of a LISA checkpoint: a folder, or `owner/name` on the hub."""
    return HUB_NAME.fullmatch(model) is not None or os.path.isdir(os.path.expanduser(model))


def open_segmenter(settings: Settings | None = None) -> Segmenter:
    """Open the backend that `settings.model` names; the model itself is loaded by the first question.

    Raises UnknownModel, or MissingExtra with the command that installs what is missing.
    """
    settings = settings or load_settings()
    if settings.model == "lite":
        from lisa_tool.lite import open_lite

        return open_lite(settings)
    if names_a_checkpoint(settings.model):
        from lisa_tool.lisa import open_lisa

        return open_lisa(settings)
    raise UnknownModel(f"no backend is called {settings.model!r}")
