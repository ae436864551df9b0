"""The images that can be read, newest first."""

from __future__ import annotations

import fnmatch
import os
from collections import deque
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from lisa_tool.errors import ImageError, ImageNotFound, PathNotAllowed
from lisa_tool.images.decode import read_size
from lisa_tool.images.naming import shown
from lisa_tool.images.roots import Roots, absolute, open_folder_inside, open_inside
from lisa_tool.images.suggest import looks_like_image
from lisa_tool.settings import Settings
from lisa_tool.store import RESULT_ID

_MAX_PATTERN = 200


# A file name need not be UTF-8, but JSON is: there, bytes that are not become '?'.
_Path = Annotated[
    str, PlainSerializer(lambda p: p.encode("utf-8", "replace").decode(), return_type=str, when_used="json")
]


class ListedImage(BaseModel):
    """An image that `load_image` accepts, as far as its header tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: _Path = Field(description="absolute path")
    width: int = Field(description="pixels, upright")
    height: int = Field(description="pixels, upright")
    bytes: int = Field(description="size of the file")
    modified: str = Field(description="ISO 8601, UTC")


def list_images(
    settings: Settings,
    folder: str | os.PathLike[str] | None = None,
    pattern: str | None = None,
    limit: int | None = None,
) -> tuple[ListedImage, ...]:
    """List images in the allowed folders, or in `folder` inside them, with their subfolders; newest first.

    pattern: a glob such as '*.png', or a part of the file's name; case does not matter.
    limit: at most so many, and never more than `limits.max_listed_images`; at most
      `limits.max_scanned_files` entries are looked at.

    Hidden files and folders, symlinks that lead out, files that cannot be read and lisa-tool's own results
    (unless `folder` is where they are) are left out. Raises PathNotAllowed or ImageNotFound for a `folder`
    that cannot be listed.
    """
    roots = Roots.of(settings.roots)
    starts = (
        [str(root) for root in roots.folders]
        if folder is None
        else [_checked_folder(os.fspath(folder), roots)]
    )
    wanted = (
        settings.limits.max_listed_images if limit is None else min(limit, settings.limits.max_listed_images)
    )
    found: list[ListedImage] = []
    for _, path in sorted(_walk(starts, pattern, roots, settings), reverse=True):
        if len(found) >= wanted:
            break
        image = _look(path, roots, settings)
        if image:
            found.append(image)
    return tuple(found)


def _checked_folder(folder: str, roots: Roots) -> str:
    real = os.path.realpath(absolute(folder))
    if not roots.contain(real):
        raise roots.refusal(folder)
    if not os.path.isdir(real):
        raise ImageNotFound(f"there is no folder {shown(folder)!r}", "Name a folder inside the allowed ones.")
    return real


def _walk(
    starts: list[str], pattern: str | None, roots: Roots, settings: Settings
) -> list[tuple[float, str]]:
    """(modification time, path) of files named like images, breadth first, within the budget of entries."""
    results = os.path.realpath(settings.output_dir)
    waiting = deque(starts)
    done: set[str] = set()
    files: set[tuple[float, str]] = set()
    budget = settings.limits.max_scanned_files
    while waiting and budget > 0:
        folder = waiting.popleft()
        if folder in done:
            continue
        done.add(folder)
        try:
            with open_folder_inside(folder, roots) as opened, os.scandir(opened) as entries:
                for entry in entries:
                    budget -= 1
                    if budget < 0:
                        break
                    path = os.path.join(folder, entry.name)
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if path != results and not RESULT_ID.fullmatch(entry.name):
                            waiting.append(path)
                    elif looks_like_image(entry.name) and _matches(entry.name, pattern):
                        files.add((_modified(entry), path))
        except (OSError, PathNotAllowed):
            continue
    return list(files)


def _modified(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # a symlink to nowhere: opening it will say so
        return 0.0


def _matches(name: str, pattern: str | None) -> bool:
    if not pattern:
        return True
    name, pattern = name.casefold(), pattern.casefold()[:_MAX_PATTERN]
    return fnmatch.fnmatchcase(name, pattern) if any(c in pattern for c in "*?[") else pattern in name


def _look(path: str, roots: Roots, settings: Settings) -> ListedImage | None:
    try:
        with open_inside(path, roots, settings.limits) as (file, info):
            width, height = read_size(file, settings.limits)
            modified = datetime.fromtimestamp(info.st_mtime, UTC).isoformat(timespec="seconds")
            return ListedImage(path=path, width=width, height=height, bytes=info.st_size, modified=modified)
    except (ImageError, OSError, OverflowError, ValueError):
        return None
