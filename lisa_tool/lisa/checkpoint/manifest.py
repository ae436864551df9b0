"""The manifest of a converted checkpoint: what each file must be, and where it came from.

It guards against damage, not against someone who can write the folder: they can write the manifest too.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from lisa_tool.errors import CheckpointInvalid, WeightsCorrupt
from lisa_tool.lisa.checkpoint.files import DOWNLOAD_AGAIN, has, inside, recorded_sha256
from lisa_tool.lisa.checkpoint.work import ByteCount, Work
from lisa_tool.lisa.config import MAX_JSON_BYTES

MANIFEST = "manifest.json"
GET_AGAIN = "Remove what holds the file, then download or convert the checkpoint again."

_CHUNK_BYTES = 4 * 2**20

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class FileEntry(BaseModel):
    """What a file must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    bytes: int


Files = Mapping[str, FileEntry]


class Manifest(BaseModel):
    """The files of a converted checkpoint, and those that it was made from.

    source: the name on the hub, or the name of the folder. revision: the hub's commit, 40 hex digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    source: str
    revision: str | None
    tool_version: str
    n_tensors: int
    files: Files
    source_files: Mapping[str, Sha256]

    @property
    def weights_sha256(self) -> str:
        """One fingerprint for all files."""
        return _fingerprint(self.files)

    @property
    def n_bytes(self) -> int:
        """The size of all files."""
        return sum(entry.bytes for entry in self.files.values())

    def to_json(self) -> bytes:
        """The text of manifest.json."""
        return self.model_dump_json(indent=2).encode()


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None when it has none. Raises CheckpointInvalid when it cannot be read."""
    if not has(folder, MANIFEST):
        return None
    path = inside(folder, MANIFEST)
    try:
        with path.open("rb") as file:
            return Manifest.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValidationError) as e:
        raise CheckpointInvalid("manifest.json of the checkpoint cannot be read", GET_AGAIN) from e


def verify(folder: Path, files: Files, *, hashes: bool, work: Work) -> None:
    """Check that every file is there and has its size and, with `hashes`, its sha256.

    Hashing reads all of it: a minute or so for 27 GB. Raises WeightsCorrupt, with both hashes.
    """
    for name, entry in files.items():
        size = os.stat(inside(folder, name)).st_size
        if size != entry.bytes:
            raise WeightsCorrupt(f"{name} has {size} bytes, it should have {entry.bytes}", GET_AGAIN)
    if not hashes:
        return
    count = ByteCount(work, "verifying the weights", sum(entry.bytes for entry in files.values()))
    for name, entry in files.items():
        check_sha256(folder / name, entry.sha256, count)


def verify_once(folder: Path, files: Files, stamps: Path, work: Work) -> None:
    """`verify` with hashes the first time that this folder is opened here, then by sizes alone.

    What was verified is remembered in a small file in `stamps`, and holds as long as each file keeps its size
    and its times of change. Where `stamps` cannot be written, all is hashed each time. Raises WeightsCorrupt.
    """
    verify(folder, files, hashes=False, work=work)
    real = folder.resolve()
    stamp = stamps / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.json"
    now = {"weights_sha256": _fingerprint(files), "files": _file_times(real, files)}
    with suppress(OSError, ValueError):
        if json.loads(stamp.read_bytes()) == now:
            return
    verify(folder, files, hashes=True, work=work)
    with suppress(OSError):
        stamps.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(now), "utf-8")


def as_downloaded(paths: Iterable[Path]) -> Files:
    """What files in the hub's cache must be, as far as it says: it names large ones by their sha256."""
    recorded = {path: recorded_sha256(path) for path in paths}
    return {
        path.name: FileEntry(sha256=sha256, bytes=path.stat().st_size)
        for path, sha256 in recorded.items()
        if sha256
    }


def check_sha256(path: Path, expected: str | None, count: ByteCount) -> str:
    """The hash of a file, equal to `expected` when that is known. Raises WeightsCorrupt, with both."""
    found = sha256_of(path, count)
    if expected and found != expected:
        raise WeightsCorrupt(
            f"{path.name} is damaged: its sha256 is {found}, it should be {expected}", GET_AGAIN
        )
    return found


def sha256_of(path: Path, count: ByteCount) -> str:
    """The hash of a weight file in hex; `count` learns of each chunk. Raises WeightsCorrupt."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                count.add(len(chunk))
    except OSError as e:
        raise WeightsCorrupt(f"{path.name} cannot be read: {e.strerror}", DOWNLOAD_AGAIN) from e
    return digest.hexdigest()


def _fingerprint(files: Files) -> str:
    lines = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_times(folder: Path, files: Files) -> dict[str, list[int]]:
    stats = {name: os.stat(folder / name) for name in files}
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats.items()}
