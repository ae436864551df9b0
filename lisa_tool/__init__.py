"""Reasoning segmentation as a tool: a photo and a question in plain words give masks and an explanation.

    import lisa_tool

    with lisa_tool.open_segmenter() as segmenter:
        result = segmenter.segment("photo.jpg", "what would you drink from?")
    print(result.to_text(), result.overlay_path)

Importing the package loads nothing else; each public name below is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lisa_tool.engine.call import Progress
    from lisa_tool.errors import (
        BackendError,
        BadSettings,
        CallError,
        Cancelled,
        CheckpointInvalid,
        CheckpointNotFound,
        CheckpointUnsupported,
        ConversationNotFound,
        DeadlineExceeded,
        DeviceFailed,
        DownloadFailed,
        ImageError,
        ImageNotFound,
        ImageShapeUnsupported,
        ImageTooLarge,
        ImageUnreadable,
        InternalError,
        InvalidQuery,
        LisaError,
        MissingExtra,
        ModelTooLarge,
        NotFinite,
        OutOfMemory,
        OutputError,
        OutputFull,
        OutputNotWritable,
        PathNotAllowed,
        ResultNotFound,
        ServerBusy,
        UnknownModel,
        UnsafeWeights,
        UrlFetchFailed,
        UrlNotAllowed,
        WeightsCorrupt,
    )
    from lisa_tool.images import list_images
    from lisa_tool.results import Box, Evidence, ImageInfo, Mask, ModelInfo, Point, Segmentation, Timings
    from lisa_tool.segmenter import Segmenter, open_segmenter
    from lisa_tool.settings import Limits, Settings, load_settings

    __version__: str

__all__ = [
    "BackendError",
    "BadSettings",
    "Box",
    "CallError",
    "Cancelled",
    "CheckpointInvalid",
    "CheckpointNotFound",
    "CheckpointUnsupported",
    "ConversationNotFound",
    "DeadlineExceeded",
    "DeviceFailed",
    "DownloadFailed",
    "Evidence",
    "ImageError",
    "ImageInfo",
    "ImageNotFound",
    "ImageShapeUnsupported",
    "ImageTooLarge",
    "ImageUnreadable",
    "InternalError",
    "InvalidQuery",
    "Limits",
    "LisaError",
    "Mask",
    "MissingExtra",
    "ModelInfo",
    "ModelTooLarge",
    "NotFinite",
    "OutOfMemory",
    "OutputError",
    "OutputFull",
    "OutputNotWritable",
    "PathNotAllowed",
    "Point",
    "Progress",
    "ResultNotFound",
    "Segmentation",
    "Segmenter",
    "ServerBusy",
    "Settings",
    "Timings",
    "UnknownModel",
    "UnsafeWeights",
    "UrlFetchFailed",
    "UrlNotAllowed",
    "WeightsCorrupt",
    "__version__",
    "list_images",
    "load_settings",
    "open_segmenter",
]

_HOMES = {
    "lisa_tool.engine.call": ("Progress",),
    "lisa_tool.images": ("list_images",),
    "lisa_tool.results": (
        "Box",
        "Evidence",
        "ImageInfo",
        "Mask",
        "ModelInfo",
        "Point",
        "Segmentation",
        "Timings",
    ),
    "lisa_tool.segmenter": ("Segmenter", "open_segmenter"),
    "lisa_tool.settings": ("Limits", "Settings", "load_settings"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for public

    def __getattr__(name: str) -> object:
        """Import a public name on first use and keep it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            value: object = _version()
        else:  # what has no other home is an error
            value = getattr(importlib.import_module(_HOME_OF.get(name, "lisa_tool.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lisa-tool")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0+unknown"
