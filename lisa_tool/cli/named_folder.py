"""The folder that a person named on the command line may be read, unless they said which folders are allowed.

Whoever types a path means that file. A link in its folder that leads out of it is still refused.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from lisa_tool.settings import Settings

_NOT_PATHS = ("data:", "https:", "http:")


def also_allow(folder: Path | None, settings: Settings) -> Settings:
    """Add an absolute folder to the roots when they are the default ones."""
    if folder is None or "roots" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"roots": tuple(dict.fromkeys((*settings.roots, folder)))})


def folder_of(reference: str) -> Path | None:
    """The folder of the file that a path or `file://` reference names; None for what is no file."""
    path = file_of(reference)
    return None if path is None else path.parent


def file_of(reference: str) -> Path | None:
    """The absolute path that a path or `file://` reference names; None for what is no file."""
    text = reference.strip()
    scheme = text[:8].lower()
    if text == "-" or scheme.startswith(_NOT_PATHS):
        return None
    if scheme.startswith("file:"):
        text = unquote(text[len("file:") :].removeprefix("//localhost").removeprefix("//"))
    try:
        return Path(text).expanduser().absolute()
    except (ValueError, RuntimeError):  # no path at all: what is wrong with it is said where it is read
        return None
