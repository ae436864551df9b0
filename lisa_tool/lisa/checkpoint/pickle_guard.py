"""Look into a `.bin` file before torch reads it; nothing of it is run, and no torch is needed.

A `.bin` is a zip archive with one pickle, which names the tensors, and their data. A pickle is a program:
here it must be one that calls nothing but what puts tensors together. torch checks the same with
`weights_only=True`, which was got around twice (CVE-2025-32434, CVE-2026-24747), so both must agree.
"""

from __future__ import annotations

import pickletools
import reprlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lisa_tool.errors import CheckpointUnsupported, UnsafeWeights, WeightsCorrupt
from lisa_tool.lisa.checkpoint.files import DOWNLOAD_AGAIN
from lisa_tool.lisa.checkpoint.work import ByteCount

MAX_PICKLE_BYTES = 16 * 2**20
"""The largest pickle that is read; a LISA 13B has 0.1 MB in all its shards."""

_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_MAY_CALL = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}Storage" for name in _STORAGES),
}
# What else names or calls something; torch's own pickles hold none of them.
_REFUSED = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}
_BEFORE_2020 = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how torch files began before version 1.6
_CHUNK_BYTES = 4 * 2**20


def check_pickle(path: Path) -> None:
    """Return when the file is an archive whose pickle only puts tensors together.

    Raises UnsafeWeights, WeightsCorrupt when it is cut off or damaged, and CheckpointUnsupported for the
    format of torch before 1.6, which cannot be read without taking it all into memory.
    """
    with _archive(path) as archive:
        for opcode, argument, _ in pickletools.genops(_pickle_of(path, archive)):
            if opcode.name in _REFUSED or (opcode.name == "GLOBAL" and argument not in _MAY_CALL):
                what = argument if opcode.name == "GLOBAL" else opcode.name
                raise UnsafeWeights(f"{path.name} wants to use {reprlib.repr(what)}; nothing of it was run")


def check_sums(path: Path, count: ByteCount) -> None:
    """Read all of the file against its check sums; `count` learns of each byte. Raises WeightsCorrupt."""
    with _archive(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as record:
                while chunk := record.read(_CHUNK_BYTES):
                    count.add(len(chunk))


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    if not zipfile.is_zipfile(path):
        raise _no_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as e:
        raise WeightsCorrupt(f"{path.name} is damaged: {reprlib.repr(str(e))}", DOWNLOAD_AGAIN) from e


def _no_archive(path: Path) -> UnsafeWeights | WeightsCorrupt | CheckpointUnsupported:
    with path.open("rb") as file:
        start = file.read(len(_BEFORE_2020))
    if start == _BEFORE_2020:
        return CheckpointUnsupported(
            f"{path.name} was written by torch before 1.6; nothing of it was read",
            "Get a newer copy, or have someone who trusts it save it again.",
        )
    if start.startswith(b"\x80"):
        return UnsafeWeights(f"{path.name} is a bare pickle, which can run code; nothing of it was read")
    return WeightsCorrupt(f"{path.name} is cut off, or no weight file of torch", DOWNLOAD_AGAIN)


def _pickle_of(path: Path, archive: zipfile.ZipFile) -> bytes:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    pickles = [entry for entry in entries if entry.filename.endswith((".pkl", "/constants.pkl"))]
    if len(set(names)) < len(names) or len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
        raise UnsafeWeights(f"{path.name} is not the archive of one dict of tensors; nothing of it was run")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsCorrupt(
            f"{path.name} is a compressed archive, which torch does not write", DOWNLOAD_AGAIN
        )
    if pickles[0].file_size > MAX_PICKLE_BYTES:
        raise UnsafeWeights(
            f"{path.name} holds a pickle of {pickles[0].file_size} bytes; nothing of it was run"
        )
    return archive.read(pickles[0])
