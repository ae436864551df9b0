"""Copy an answer out of the result store, where the oldest make room, to a folder that a person chose."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lisa_tool.errors import OutputNotWritable, ResultNotFound
from lisa_tool.results import Segmentation


def save_answer(result: Segmentation, target: Path) -> Path:
    """Copy masks, overlay and result.json to the new folder `target/<result_id>`, which is returned.

    result.json names the copies. A folder that is there already holds this answer, and stays as it is.
    Raises ResultNotFound when the files are gone, OutputNotWritable.
    """
    folder = target / result.result_id
    try:
        if not folder.exists():
            target.mkdir(parents=True, exist_ok=True)
            _write_new(folder, _contents(result, folder))
    except (OSError, ValueError) as e:  # ValueError: a name that no folder can have
        reason = os.strerror(e.errno) if isinstance(e, OSError) and e.errno else str(e)
        raise OutputNotWritable(
            f"{str(target)!r} cannot be written: {reason}", "Choose another folder."
        ) from e
    return folder


def _contents(result: Segmentation, folder: Path) -> dict[str, bytes]:
    """Each file's name and bytes, with the paths in result.json as they are in `folder`."""

    def copied(path: str) -> str:
        name = Path(path).name
        try:
            contents[name] = Path(path).read_bytes()
        except OSError as e:
            raise ResultNotFound(f"the files of result {result.result_id} are gone") from e
        return str(folder / name)

    contents: dict[str, bytes] = {}
    masks = tuple(mask.model_copy(update={"path": copied(mask.path)}) for mask in result.masks)
    overlay = copied(result.overlay_path) if result.overlay_path else None
    copy = result.model_copy(update={"masks": masks, "overlay_path": overlay})
    return contents | {"result.json": copy.model_dump_json(indent=2).encode()}


def _write_new(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all, or leave nothing."""
    folder.mkdir()
    try:
        for name, data in contents.items():
            with (folder / name).open("xb") as file:
                file.write(data)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
