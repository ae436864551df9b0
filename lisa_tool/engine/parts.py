"""What a backend needs beside the base install, and the command that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lisa_tool.errors import MissingExtra


@contextmanager
def parts_of(backend: str) -> Iterator[None]:
    """Importing a part that is not installed becomes MissingExtra; the extra is named like the backend."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] == "lisa_tool":
            raise  # a mistake of ours: no command installs it
        install = f"pip install 'lisa-tool[{backend}]'"
        raise MissingExtra(f"the `{backend}` backend needs {e.name}: {install}") from e
