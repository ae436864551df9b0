"""Where checkpoints lie on this machine.

    <weights_dir>/<owner>--<name>/<commit>/   a converted checkpoint of the hub
    <weights_dir>/<owner>--<name>/pinned      the commit that is meant when nobody names one
    <weights_dir>/folders/<name>-<16 hex>-<16 hex>/
                                              a converted folder (the first hash is of where it lies), as its
                                              files were then (the second); it replaces older ones
    <weights_dir>/verified/                   which folders have been verified (`manifest.verify_once`)
    the hub's cache                           downloads as they are

The commits of the released checkpoints are not known to this program. So the first one that is downloaded
under a name is pinned: later starts mean it, and do not ask the hub. Naming another revision leaves the pin
alone; remove the file to pin anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_tool.errors import CheckpointNotFound, OutputFull, OutputNotWritable, WeightsCorrupt
from lisa_tool.lisa.checkpoint.files import CLIP_SMALL_FILES, LISA_SMALL_FILES, has, inside, weight_files
from lisa_tool.lisa.checkpoint.manifest import MANIFEST
from lisa_tool.lisa.checkpoint.work import Part, Work
from lisa_tool.lisa.config import read_config_json

CONFIG = "config.json"

_SMALL = {*LISA_SMALL_FILES, *CLIP_SMALL_FILES}

Refusal = Callable[[Collection[str], Mapping[str, Any] | None], None]
"""Raises when file names and config.json are not those of what is looked for."""


@dataclass(frozen=True)
class Found:
    """A folder with what the hub has under a name at a commit, converted or as downloaded."""

    folder: Path
    revision: str


@dataclass(frozen=True)
class Library:
    """The folders, and whether the hub may be asked for what they lack."""

    weights_dir: Path
    offline: bool = False

    @property
    def stamps(self) -> Path:
        """Where `verify_once` remembers."""
        return self.weights_dir / "verified"

    def home_of(self, folder: Path, name: str, revision: str | None) -> Path:
        """Where the converted form of a folder lies, or will.

        name, revision: of a commit on the hub; without a revision it is the folder as those of its files are
        now that are converted or copied.
        """
        if revision:
            return self._home(name) / revision
        real = folder.resolve()
        where = hashlib.sha256(os.fsencode(real)).hexdigest()
        files = hashlib.sha256()
        weights = {path.name for path in weight_files(folder).paths}
        for path in sorted(folder.iterdir()):
            if path.is_file() and (path.name in weights | _SMALL or path.name.endswith(".index.json")):
                stat = path.stat()
                files.update(os.fsencode(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
        return self._folders / f"{real.name[:64]}-{where[:16]}-{files.hexdigest()[:16]}"

    def fill(self, home: Path, convert: Callable[[Path], object]) -> None:
        """Let `convert` make one of this library's homes; older forms of the same folder go when it is made.

        Raises what `convert` raises; where the folder is to blame the hint says how to choose another.
        """
        from lisa_tool.lisa.checkpoint.building import remove

        try:
            convert(home)
        except (OutputFull, OutputNotWritable) as e:
            raise type(e)(e.message, f"{e.hint} LISA_WEIGHTS_DIR says where they lie.") from e
        if home.parent != self._folders:
            return
        same_folder = home.name.rpartition("-")[0]
        for other in list(self._folders.iterdir()):
            if other.name.rpartition("-")[0] == same_folder and other != home and has(other, MANIFEST):
                remove(other)

    def find(
        self,
        name: str,
        revision: str | None,
        *,
        check: Callable[[Path], object],
        refuse: Refusal,
        work: Work,
    ) -> Found:
        """A folder with what the hub has under `name`; downloaded when it is not here.

        revision: a commit or branch; the pinned commit when None, and the current one when none is pinned.
        check: raises CheckpointNotFound or WeightsCorrupt for a folder that is not whole.
        refuse: looks at the files' names and config.json before the weights are downloaded.

        Raises CheckpointNotFound, DownloadFailed, OutputFull, OutputNotWritable, and what these raise.
        """
        from lisa_tool.lisa.checkpoint import hub

        revision = revision or self._pinned(name)
        if revision and hub.COMMIT.fullmatch(revision) and (here := self._here(name, revision, check)):
            return here
        if self.offline or hub.is_offline():
            cached = hub.cached(name, revision)
            if cached is None:
                raise hub.not_cached(name, revision)
            return self._here(name, cached.name, check) or Found(cached, cached.name)
        repository = hub.look_up(name, revision)
        here = self._here(name, repository.revision, check)
        if here is None:
            config = None
            if CONFIG in repository.files:
                first = hub.fetch(repository, [CONFIG], Part(work, 0.0, 0.01))
                config = read_config_json(inside(first, CONFIG))
            refuse(repository.files, config)
            folder = hub.fetch(repository, hub.wanted(repository.files), Part(work, 0.01, 1.0))
            here = Found(folder, repository.revision)
        self._pin(name, here.revision)
        return here

    def _here(self, name: str, revision: str, check: Callable[[Path], object]) -> Found | None:
        """The converted form of a commit, or its download when that is whole."""
        from lisa_tool.lisa.checkpoint import hub

        converted = self._home(name) / revision
        if has(converted, MANIFEST):
            return Found(converted, revision)
        downloaded = hub.cached(name, revision)
        if downloaded is None:
            return None
        try:
            check(downloaded)
        except (CheckpointNotFound, WeightsCorrupt):
            return None
        return Found(downloaded, revision)

    @property
    def _folders(self) -> Path:
        return self.weights_dir / "folders"

    def _home(self, name: str) -> Path:
        return self.weights_dir / name.replace("/", "--")

    def _pinned(self, name: str) -> str | None:
        try:
            return (self._home(name) / "pinned").read_text("ascii").strip() or None
        except (OSError, ValueError):
            return None

    def _pin(self, name: str, revision: str) -> None:
        with suppress(OSError):  # it is pinned already, or must be looked up again next time
            self._home(name).mkdir(parents=True, exist_ok=True)
            with (self._home(name) / "pinned").open("x", encoding="ascii") as file:
                file.write(f"{revision}\n")
