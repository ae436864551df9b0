"""Turn a checkpoint of pickled `.bin` files into safetensors with a manifest. The only reader of pickles.

Nothing is taken on trust: the pickles call nothing (`pickle_guard`, then torch's `weights_only=True`, and
never anything else), and the tensors are those that the checkpoint's own sizes call for. They stay mapped
files until they are written, one output file at a time: a 13B takes the memory of one such file.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lisa_tool import __version__
from lisa_tool.errors import (
    CheckpointInvalid,
    CheckpointNotFound,
    OutputNotWritable,
    UnsafeWeights,
    WeightsCorrupt,
)
from lisa_tool.lisa.checkpoint.building import alone, building
from lisa_tool.lisa.checkpoint.expected import Tensors, check_clip, check_lisa, clip_tensors, lisa_tensors
from lisa_tool.lisa.checkpoint.files import (
    CLIP_SMALL_FILES,
    DOWNLOAD_AGAIN,
    LISA_SMALL_FILES,
    WeightFiles,
    has,
    inside,
    recorded_sha256,
    weight_files,
)
from lisa_tool.lisa.checkpoint.find import TOKENIZER
from lisa_tool.lisa.checkpoint.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    check_sha256,
    read_manifest,
    sha256_of,
)
from lisa_tool.lisa.checkpoint.pickle_guard import check_pickle, check_sums
from lisa_tool.lisa.checkpoint.safetensors_header import TensorInfo, read_header
from lisa_tool.lisa.checkpoint.work import ByteCount, Work
from lisa_tool.lisa.config import MAX_JSON_BYTES, read_config_json

MAX_SHARD_BYTES = 2 * 10**9
"""The size of one output file, unless a single tensor is larger."""

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class _Kind:
    """What is converted: the tensors to keep, what they must be, and the files to copy."""

    keep: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    check: Callable[[Mapping[str, Any], Tensors], object]
    copied: tuple[str, ...]
    needed: tuple[str, ...]


_LISA = _Kind(
    lisa_tensors,
    check_lisa,
    LISA_SMALL_FILES,
    ("config.json", TOKENIZER),
)
_CLIP = _Kind(clip_tensors, check_clip, CLIP_SMALL_FILES, ("config.json",))


def convert_checkpoint(
    source: Path,
    target: Path,
    *,
    work: Work,
    name: str | None = None,
    revision: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Manifest:
    """Write the LISA checkpoint in `source` to the folder `target`, whole or not at all.

    name: what the manifest calls the source, its folder's name when None. revision: the hub's commit.

    The types of the tensors are kept, `inv_freq` is dropped. A folder that is already the converted form of
    the same source stays as it is. Raises a BackendError for what is wrong with the source, OutputFull or
    OutputNotWritable, and what `work.check` raises.
    """
    return _convert(_LISA, source, target, work, name or source.name, revision, max_shard_bytes)


def convert_clip(
    source: Path, target: Path, *, work: Work, name: str | None = None, revision: str | None = None
) -> Manifest:
    """`convert_checkpoint` for the vision tower in a CLIP folder, which may hold the whole CLIP."""
    return _convert(_CLIP, source, target, work, name or source.name, revision, MAX_SHARD_BYTES)


def _convert(
    kind: _Kind,
    source: Path,
    target: Path,
    work: Work,
    name: str,
    revision: str | None,
    max_shard_bytes: int,
) -> Manifest:
    with alone(target, work):
        files = weight_files(source)
        if made := read_manifest(target):
            if (made.source, made.revision) == (name, revision) and (
                revision or _made_from(files, made, work)
            ):
                return made
            raise OutputNotWritable(f"{str(target)!r} holds {made.source} already", "Choose another folder.")
        for needed in kind.needed:
            if not has(source, needed):
                raise CheckpointNotFound(f"the checkpoint has no {needed}")
        tensors = kind.keep(_open_all(files))
        kind.check(read_config_json(inside(source, "config.json")), _infos(tensors))
        n_bytes = sum(tensor.nbytes for tensor in tensors.values())
        n_source = sum(path.stat().st_size for path in files.paths)
        passes = 2 if files.pickled else 1
        count = ByteCount(work, "converting the weights", passes * n_source + 2 * n_bytes)
        with building(target, n_bytes) as part:
            source_files = {path.name: _verified(path, count, pickled=files.pickled) for path in files.paths}
            written = _write_shards(part, tensors, max_shard_bytes, count)
            written |= {file: _copy(source, part, file, count) for file in kind.copied if has(source, file)}
            manifest = Manifest(
                source=name,
                revision=revision,
                tool_version=__version__,
                n_tensors=len(tensors),
                files=written,
                source_files=source_files,
            )
            (part / MANIFEST).write_bytes(manifest.to_json())
    return manifest


def _made_from(files: WeightFiles, made: Manifest, work: Work) -> bool:
    """Whether the manifest is of these files. A folder's name does not tell, a commit of the hub does."""
    count = ByteCount(work, "comparing with what is there", sum(path.stat().st_size for path in files.paths))
    return made.source_files == {path.name: sha256_of(path, count) for path in files.paths}


def _open_all(files: WeightFiles) -> dict[str, Tensor]:
    """Every tensor of the source, as mapped memory: nothing but names and shapes has been read."""
    opened = [(path, read_pickled(path) if files.pickled else _map(path)) for path in files.paths]
    files.merge(opened)
    return {key: tensor for _, tensors in opened for key, tensor in tensors.items()}


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` file, mapped. Raises UnsafeWeights, WeightsCorrupt or CheckpointInvalid."""
    check_pickle(path)
    try:
        # The one place where a pickle is read; the guard has just looked through it.
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)  # noqa: TID251
    except pickle.UnpicklingError as e:
        raise UnsafeWeights(f"{path.name} holds more than tensors; nothing of it was run") from e
    except Exception as e:  # a crafted file can make torch fail in any way
        raise WeightsCorrupt(f"{path.name} is damaged: torch cannot read it", DOWNLOAD_AGAIN) from e
    if not isinstance(found, dict) or not all(isinstance(k, str) and _is_plain(v) for k, v in found.items()):
        raise CheckpointInvalid(f"{path.name} is not one dict of tensors; it may be the state of a training")
    return {key: tensor.detach() for key, tensor in found.items()}


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _map(path: Path) -> dict[str, Tensor]:
    read_header(path)  # has the clearer errors
    return load_file(path)


def _infos(tensors: Mapping[str, Tensor]) -> dict[str, TensorInfo]:
    return {
        key: TensorInfo(_DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape), tensor.nbytes)
        for key, tensor in tensors.items()
    }


def _verified(path: Path, count: ByteCount, *, pickled: bool) -> str:
    """The sha256 of a source file, whose check sums are right, and the hub's hash when that is known."""
    if pickled:
        check_sums(path, count)
    return check_sha256(path, recorded_sha256(path), count)


def _write_shards(
    folder: Path, tensors: Mapping[str, Tensor], max_bytes: int, count: ByteCount
) -> dict[str, FileEntry]:
    """Write the tensors and their index; returns what was written."""
    shards = _shards(tensors, max_bytes)
    names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    written: dict[str, FileEntry] = {}
    for name, keys in zip(names, shards, strict=True):
        _write_shard(folder / name, [(key, tensors[key]) for key in keys])
        count.add(sum(tensors[key].nbytes for key in keys))
        written[name] = _entry(folder / name, count)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {key: name for name, keys in zip(names, shards, strict=True) for key in keys},
    }
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index, indent=2, sort_keys=True), "utf-8")
    return written | {path.name: _entry(path, count)}


def _write_shard(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    # Copies: neither a view nor one tensor under two names can be saved.
    copies = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors}
    save_file(copies, path, metadata={"format": "pt"})
    # safetensors writes for the owner alone; a weights folder may be shared.
    path.chmod(path.parent.stat().st_mode & 0o666)


def _shards(tensors: Mapping[str, Tensor], max_bytes: int) -> list[list[str]]:
    """The keys of each output file."""
    shards: list[list[str]] = [[]]
    room = max_bytes
    for key, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append([])
            room = max_bytes
        shards[-1].append(key)
        room -= tensor.nbytes
    return shards


def _copy(source: Path, folder: Path, name: str, count: ByteCount) -> FileEntry:
    path = inside(source, name)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CheckpointInvalid(f"{name} of the checkpoint is larger than {MAX_JSON_BYTES} bytes")
    shutil.copyfile(path, folder / name)
    return _entry(folder / name, count)


def _entry(path: Path, count: ByteCount) -> FileEntry:
    return FileEntry(sha256=sha256_of(path, count), bytes=path.stat().st_size)
