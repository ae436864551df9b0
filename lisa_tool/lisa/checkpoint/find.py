"""Find a LISA checkpoint by the name or folder that a caller gives, and make it ready to be loaded.

config.json is data: of its fields only those are used that are read in `config`, and none picks a class.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lisa_tool.errors import CheckpointNotFound
from lisa_tool.lisa.checkpoint.files import has, inside, weight_files
from lisa_tool.lisa.checkpoint.kinds import refuse_other_kinds
from lisa_tool.lisa.checkpoint.library import CONFIG, Library
from lisa_tool.lisa.checkpoint.manifest import MANIFEST, Manifest, as_downloaded, read_manifest, verify_once
from lisa_tool.lisa.checkpoint.work import Part, Work
from lisa_tool.lisa.config import read_config_json
from lisa_tool.lisa.hub_name import HUB_NAME

TOKENIZER = "tokenizer.model"


@dataclass(frozen=True)
class Checkpoint:
    """A LISA v1 checkpoint on this disk.

    name: on the hub, or the folder's. revision: the hub's commit; None for a folder of unknown origin.
    config: its config.json. manifest: None when it has not been converted here.
    needs_conversion: its weights are pickled, and only `convert` reads those.
    origin: the folder that it was converted from, or else its own; what lies beside that may belong to it.
    """

    folder: Path
    name: str
    revision: str | None
    config: Mapping[str, Any]
    manifest: Manifest | None
    needs_conversion: bool
    origin: Path


def open_checkpoint(folder: Path, *, name: str | None = None, revision: str | None = None) -> Checkpoint:
    """Look at a folder; no weight is read.

    Raises CheckpointNotFound when it is no checkpoint or a part is missing, CheckpointUnsupported with the
    reason for all kinds but LISA v1, CheckpointInvalid or WeightsCorrupt.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    config = read_config_json(inside(folder, CONFIG)) if has(folder, CONFIG) else None
    refuse_other_kinds(names, config)
    assert config is not None
    if TOKENIZER not in names:
        raise CheckpointNotFound(f"the checkpoint has no {TOKENIZER}")
    manifest = read_manifest(folder)
    return Checkpoint(
        folder=folder,
        name=name or (manifest.source if manifest else folder.resolve().name),
        revision=revision or (manifest.revision if manifest else None),
        config=config,
        manifest=manifest,
        needs_conversion=weight_files(folder).pickled,
        origin=folder,
    )


def find_checkpoint(name: str, library: Library, *, revision: str | None = None, work: Work) -> Checkpoint:
    """The checkpoint that a caller means by a folder or by a name on the hub, such as xinlai/LISA-7B-v1.

    It is downloaded when it is not here; see `Library.find` for `revision`, which a folder does not have.

    Raises as `open_checkpoint` and `Library.find` do.
    """
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return open_checkpoint(Path(folder))
    if not HUB_NAME.fullmatch(name):
        raise CheckpointNotFound(
            f"there is no folder {reprlib.repr(name)}, nor is that a name on the hub (owner/name)"
        )
    found = library.find(name, revision, check=open_checkpoint, refuse=refuse_other_kinds, work=work)
    return open_checkpoint(found.folder, name=name, revision=found.revision)


def ready_checkpoint(name: str, library: Library, *, revision: str | None = None, work: Work) -> Checkpoint:
    """`find_checkpoint`; it is converted into the library when it must be, and verified when it was not yet.

    Also raises as `convert_found` and `verify_once` do.
    """
    found = find_checkpoint(name, library, revision=revision, work=Part(work, 0.0, 0.5))
    if found.needs_conversion:
        found = convert_found(found, library, work=Part(work, 0.5, 0.8))
    files = found.manifest.files if found.manifest else as_downloaded(weight_files(found.folder).paths)
    verify_once(found.folder, files, library.stamps, Part(work, 0.8, 1.0))
    return found


def convert_found(
    found: Checkpoint, library: Library, target: Path | None = None, *, work: Work
) -> Checkpoint:
    """The converted form of a checkpoint, in `target` or else in the library.

    Raises as `convert_checkpoint` does.
    """
    from lisa_tool.lisa.checkpoint.convert import convert_checkpoint

    def convert(home: Path) -> Manifest:
        return convert_checkpoint(found.folder, home, name=found.name, revision=found.revision, work=work)

    if target is not None:
        convert(target)
    elif found.manifest:
        return found
    else:
        target = library.home_of(found.folder, found.name, found.revision)
        if not has(target, MANIFEST):
            library.fill(target, convert)
    return replace(open_checkpoint(target), origin=found.folder)
