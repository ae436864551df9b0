"""LISA itself: the released checkpoints, on torch. It needs `pip install 'lisa-tool[lisa]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lisa_tool.errors import MissingExtra

if TYPE_CHECKING:
    from lisa_tool.pipeline import LocalSegmenter
    from lisa_tool.settings import Settings


def open_lisa(settings: Settings) -> LocalSegmenter:
    """A segmenter on the checkpoint that `settings.model` names, which its first question loads.

    Raises MissingExtra when a part is not installed.
    """
    try:
        from lisa_tool.lisa.backend import LisaBackend
        from lisa_tool.pipeline import LocalSegmenter
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "lisa_tool":
            raise  # a mistake of ours: no command installs it
        raise MissingExtra(f"LISA checkpoints need {e.name}: pip install 'lisa-tool[lisa]'") from e
    return LocalSegmenter(LisaBackend(settings), settings)
