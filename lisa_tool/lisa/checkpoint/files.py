"""The weight files of a checkpoint folder. What is read lies in the folder, whatever its index says.

A download by huggingface_hub is a folder of links into the `blobs` beside it. Those are followed, others are
not: a checkpoint from elsewhere must not lead to the files of this machine.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lisa_tool.errors import CheckpointInvalid, CheckpointNotFound, WeightsCorrupt
from lisa_tool.lisa.config import read_config_json

DOWNLOAD_AGAIN = "Download the checkpoint again."

LISA_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""What belongs to a LISA checkpoint beside its weights."""

CLIP_SMALL_FILES = ("config.json", "preprocessor_config.json")
"""What belongs to a CLIP beside its weights."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class WeightFiles:
    """Where the weights of a checkpoint lie.

    pickled: the files are torch's `.bin`, which only `convert` reads; else safetensors.
    index: tensor -> file name; None when one file holds all.
    """

    pickled: bool
    paths: tuple[Path, ...]
    index: Mapping[str, str] | None

    def merge(self, found: Iterable[tuple[Path, Iterable[str]]]) -> None:
        """Check that each tensor lies in one file, the one where the index has it. Raises CheckpointInvalid.

        found: each of `paths` with the names of the tensors in it.
        """
        homes: dict[str, str] = {}
        for path, keys in found:
            for key in keys:
                if key in homes:
                    raise CheckpointInvalid(f"{key} is both in {homes[key]} and in {path.name}")
                homes[key] = path.name
        if self.index is not None and self.index != homes:
            wrong = sorted(k for k in homes.keys() | self.index.keys() if homes.get(k) != self.index.get(k))
            raise CheckpointInvalid(f"the index of the checkpoint is wrong about {some(wrong)}")


def weight_files(folder: Path) -> WeightFiles:
    """Find the weights; safetensors are preferred.

    Raises CheckpointNotFound when there are none, WeightsCorrupt when a part is missing, CheckpointInvalid
    when the index names what is no weight file of this folder.
    """
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        index_name = f"{stem}{suffix}.index.json"
        index: Mapping[str, str] | None = None
        if has(folder, stem + suffix):
            names = {stem + suffix}
        elif has(folder, index_name):
            index = _read_index(inside(folder, index_name), suffix)
            names = set(index.values())
        else:
            continue
        paths = tuple(inside(folder, name) for name in sorted(names))
        for path in paths:
            _refuse_pointer(path)
        return WeightFiles(suffix == ".bin", paths, index)
    raise CheckpointNotFound("the folder holds no weights: neither model.safetensors nor pytorch_model.bin")


def has(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of this name, a broken link included."""
    return (folder / name).exists() or (folder / name).is_symlink()


def inside(folder: Path, name: str) -> Path:
    """The path of a regular file of the folder.

    Raises WeightsCorrupt when it is missing, CheckpointInvalid when its name or a link leads elsewhere.
    """
    if not PLAIN_NAME.fullmatch(name):
        raise CheckpointInvalid(
            f"the checkpoint names a file that is not in its folder: {reprlib.repr(name)}"
        )
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as e:  # RuntimeError: links that lead to each other
        raise WeightsCorrupt(f"{name} is missing from the checkpoint", DOWNLOAD_AGAIN) from e
    home = folder.resolve()
    blobs = home.parent.parent / "blobs"
    if real.parent != home and not (home.parent.name == "snapshots" and real.is_relative_to(blobs)):
        raise CheckpointInvalid(f"{name} of the checkpoint is a link that leads out of its folder")
    if not real.is_file():
        raise CheckpointInvalid(f"{name} of the checkpoint is not a file")
    return path


def recorded_sha256(path: Path) -> str | None:
    """The hash of a file that was downloaded by huggingface_hub: its cache names large files by it."""
    real = path.resolve()
    return real.name if real.parent.name == "blobs" and _SHA256.fullmatch(real.name) else None


def some(names: Iterable[str]) -> str:
    """The first three, and how many more there are."""
    rest = iter(names)
    shown = ", ".join(islice(rest, 3))
    n_more = sum(1 for _ in rest)
    return f"{shown} and {n_more} more" if n_more else shown


def _read_index(path: Path, suffix: str) -> Mapping[str, str]:
    weight_map = read_config_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointInvalid(f"{path.name} has no weight_map")
    for name in weight_map.values():
        if not isinstance(name, str) or not name.endswith(suffix):
            raise CheckpointInvalid(f"{path.name} names {reprlib.repr(name)}, which is no {suffix} file")
    return weight_map


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise WeightsCorrupt(
                f"{path.name} is a Git LFS pointer, not the weights", "Run `git lfs pull` in its folder."
            )
