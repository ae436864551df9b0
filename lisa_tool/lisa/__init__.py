"""LISA itself: the released checkpoints, on torch. It needs `pip install 'lisa-tool[lisa]'`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lisa_tool.engine.parts import parts_of

if TYPE_CHECKING:
    from lisa_tool.pipeline import LocalSegmenter
    from lisa_tool.settings import Settings


def open_lisa(settings: Settings) -> LocalSegmenter:
    """A segmenter on the checkpoint that `settings.model` names, which its first question loads.

    Raises MissingExtra when a part is not installed.
    """
    with parts_of("lisa"):
        from lisa_tool.lisa.backend import LisaBackend
        from lisa_tool.pipeline import LocalSegmenter

        return LocalSegmenter(LisaBackend(settings), settings)
