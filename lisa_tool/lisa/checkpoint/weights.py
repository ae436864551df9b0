"""Read the weights of a checkpoint, and put them into a model that was built empty.

Beside the model, one tensor is in memory at a time. On the CPU, one whose type and device stay as they are is
the mapped file itself: it takes memory only as it is used, and processes share it.

    model = empty(lambda: LisaModel(read_sizes(folder), clip_config))
    for key, tensor in iter_weights(folder, work):
        set_weight(model, key, tensor)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lisa_tool.errors import CheckpointInvalid, WeightsCorrupt
from lisa_tool.lisa.checkpoint.expected import Tensors, check_clip, check_lisa
from lisa_tool.lisa.checkpoint.files import DOWNLOAD_AGAIN, WeightFiles, inside, weight_files
from lisa_tool.lisa.checkpoint.keymap import to_module_key
from lisa_tool.lisa.checkpoint.library import CONFIG
from lisa_tool.lisa.checkpoint.manifest import read_manifest
from lisa_tool.lisa.checkpoint.safetensors_header import read_header
from lisa_tool.lisa.checkpoint.work import ByteCount, Work
from lisa_tool.lisa.clip_sizes import ClipSizes
from lisa_tool.lisa.config import LisaConfig, read_config_json

M = TypeVar("M", bound=nn.Module)


def empty(build: Callable[[], M]) -> M:
    """Build a model whose parameters take no memory until `set_weight` gives them theirs.

    Buffers are real from the start: those that no file holds, such as the frequencies of RoPE, are computed
    while the model is built, and would be lost on the meta device.
    """
    with init_empty_weights(include_buffers=False):
        return build()


def read_sizes(folder: Path) -> LisaConfig:
    """The sizes of a checkpoint in safetensors, whose every tensor is there and has its shape.

    Only headers are read. Raises CheckpointInvalid, CheckpointUnsupported, CheckpointNotFound or
    WeightsCorrupt.
    """
    return check_lisa(read_config_json(inside(folder, CONFIG)), _tensors(_headers(folder)))


def read_clip_sizes(folder: Path) -> ClipSizes:
    """`read_sizes` for a CLIP folder."""
    return check_clip(read_config_json(inside(folder, CONFIG)), _tensors(_headers(folder)))


def iter_weights(folder: Path, work: Work) -> Iterator[tuple[str, Tensor]]:
    """The weights of a LISA checkpoint: the model's key, and the tensor in the file's type, on the CPU.

    All is checked as by `read_sizes` before the first. Raises as that does, and what `work.check` raises.
    Hashes are `verify_once`'s to check.
    """
    headers = _headers(folder)
    check_lisa(read_config_json(inside(folder, CONFIG)), _tensors(headers))
    yield from _read(headers, to_module_key, "loading the weights", work)


def iter_clip_weights(
    folder: Path, module_key: Callable[[str], str | None], work: Work
) -> Iterator[tuple[str, Tensor]]:
    """The weights of a CLIP folder under `clip.*`; all is checked before the first.

    module_key: the key in the model's CLIP for one of the folder, None for what it has no use for.
    Raises CheckpointInvalid, CheckpointNotFound, WeightsCorrupt, and what `work.check` raises.
    """
    headers = _headers(folder)
    check_clip(read_config_json(inside(folder, CONFIG)), _tensors(headers))

    def below_clip(key: str) -> str | None:
        ours = module_key(key)
        return None if ours is None else f"clip.{ours}"

    yield from _read(headers, below_clip, "loading CLIP", work)


def set_weight(model: nn.Module, key: str, tensor: Tensor) -> None:
    """Put a tensor in the place of the parameter or buffer under this key."""
    owner, _, name = key.rpartition(".")
    module = model.get_submodule(owner)
    old = getattr(module, name)
    assert old.shape == tensor.shape, f"{key}: {tuple(old.shape)}, not {tuple(tensor.shape)}"
    is_parameter = isinstance(old, nn.Parameter)
    setattr(module, name, nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor)


_Headers = Mapping[Path, Tensors]


def _headers(folder: Path) -> _Headers:
    files = weight_files(folder)
    if files.pickled:
        raise CheckpointInvalid("the weights are pickled", "Convert them first: lisa-tool convert.")
    _check_listed(folder, files)
    headers = {path: read_header(path) for path in files.paths}
    files.merge(headers.items())
    return headers


def _check_listed(folder: Path, files: WeightFiles) -> None:
    """A converted folder has no other weights than its manifest's, which were verified."""
    manifest = read_manifest(folder)
    for path in files.paths:
        if manifest and path.name not in manifest.files:
            raise CheckpointInvalid(f"{path.name} is not in the manifest of the checkpoint")


def _tensors(headers: _Headers) -> Tensors:
    return {key: tensor for header in headers.values() for key, tensor in header.items()}


def _read(
    headers: _Headers, module_key: Callable[[str], str | None], stage: str, work: Work
) -> Iterator[tuple[str, Tensor]]:
    """The tensors that `module_key` does not leave out, by its names."""
    ours = {key: name for key in _tensors(headers) if (name := module_key(key)) is not None}
    count = ByteCount(work, stage, sum(_tensors(headers)[key].n_bytes for key in ours))
    for path, header in headers.items():
        try:
            with safe_open(path, framework="pt") as file:
                for key, info in header.items():
                    if key in ours:
                        yield ours[key], file.get_tensor(key)
                        count.add(info.n_bytes)
        except (SafetensorError, OSError) as e:
            raise WeightsCorrupt(f"{path.name} is damaged: {e}", DOWNLOAD_AGAIN) from e
