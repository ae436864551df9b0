"""What the `lisa` backend needs beside the base install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lisa_tool.errors import MissingExtra


@contextmanager
def parts_of_lisa() -> Iterator[None]:
    """Importing a part that is not installed becomes MissingExtra, with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "lisa_tool":
            raise  # a mistake of ours: no command installs it
        raise MissingExtra(f"the `lisa` backend needs {e.name}: pip install 'lisa-tool[lisa]'") from e
