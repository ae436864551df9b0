"""Find the CLIP that a LISA checkpoint needs: a folder of its own, never in the checkpoint."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lisa_tool.errors import CheckpointInvalid, CheckpointNotFound
from lisa_tool.lisa.checkpoint.files import PLAIN_NAME, has, weight_files
from lisa_tool.lisa.checkpoint.find import Checkpoint
from lisa_tool.lisa.checkpoint.library import CONFIG, Library
from lisa_tool.lisa.checkpoint.manifest import MANIFEST, as_downloaded, read_manifest, verify_once
from lisa_tool.lisa.checkpoint.work import Part, Work
from lisa_tool.lisa.hub_name import HUB_NAME

HOW_TO_GIVE = "Download it on another machine and name its folder: LISA_CLIP_PATH."


def ready_clip(checkpoint: Checkpoint, clip_path: Path | None, library: Library, work: Work) -> Path:
    """The folder, in safetensors, of the CLIP that a checkpoint needs: the whole CLIP or its vision tower.

    It is looked for in `clip_path` and nowhere else when that is given, else under the last part of its name
    beside the checkpoint and up to two folders above it, else on the hub. Pickled weights are converted.

    Raises CheckpointNotFound, CheckpointInvalid, and as `Library.find` and `convert_clip` do.
    """
    folder, name, revision = _find(checkpoint, clip_path, library, Part(work, 0.0, 0.5))
    if weight_files(folder).pickled:
        from lisa_tool.lisa.checkpoint.convert import convert_clip

        target = library.home_of(folder, name, revision)
        if not has(target, MANIFEST):
            source, part = folder, Part(work, 0.5, 0.8)
            library.fill(
                target, lambda home: convert_clip(source, home, name=name, revision=revision, work=part)
            )
        folder = target
    manifest = read_manifest(folder)
    files = manifest.files if manifest else as_downloaded(weight_files(folder).paths)
    verify_once(folder, files, library.stamps, Part(work, 0.8, 1.0))
    return folder


def _find(
    checkpoint: Checkpoint, clip_path: Path | None, library: Library, work: Work
) -> tuple[Path, str, str | None]:
    """The folder, its name, and its commit when it comes from the hub."""
    if clip_path is not None:
        if not has(clip_path, CONFIG):
            raise CheckpointNotFound(f"{str(clip_path)!r} holds no CLIP: it has no {CONFIG}")
        return clip_path, clip_path.resolve().name, None
    name = str(checkpoint.config.get("mm_vision_tower") or checkpoint.config.get("vision_tower") or "")
    last = name.rpartition("/")[2]
    if not PLAIN_NAME.fullmatch(last):
        raise CheckpointInvalid(f"config.json names no CLIP: {reprlib.repr(name)}")
    home = checkpoint.origin.resolve()
    for folder in (home, *home.parents[:2]):
        if has(folder / last, CONFIG):
            return folder / last, last, None
    if not HUB_NAME.fullmatch(name):
        raise CheckpointNotFound(f"the checkpoint needs the CLIP {name!r}, which is not here", HOW_TO_GIVE)
    try:
        found = library.find(name, None, check=weight_files, refuse=_refuse, work=work)
    except CheckpointNotFound as e:
        raise CheckpointNotFound(f"the checkpoint needs a CLIP: {e.message}", HOW_TO_GIVE) from e
    return found.folder, name, found.revision


def _refuse(names: Collection[str], config: Mapping[str, Any] | None) -> None:
    if config is None:
        raise CheckpointNotFound(f"there is no {CONFIG}: this is no CLIP")
