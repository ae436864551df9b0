"""Compare the tensors that a checkpoint holds with those that its own sizes call for, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from lisa_tool.errors import CheckpointInvalid
from lisa_tool.lisa.checkpoint.files import some
from lisa_tool.lisa.checkpoint.keymap import to_module_key
from lisa_tool.lisa.checkpoint.safetensors_header import TensorInfo
from lisa_tool.lisa.clip_sizes import ClipSizes, clip_sizes
from lisa_tool.lisa.config import LisaConfig, Shapes, lisa_config
from lisa_tool.lisa.tensors import checkpoint_shapes

FLOATS = frozenset({"F32", "F16", "BF16"})
"""The types that weights may have."""

VISION = "vision_model."
"""Begins the keys of the vision tower in most CLIP folders; a tower saved alone may leave it out."""

_TOWER = (VISION, "embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.")

Tensors = Mapping[str, TensorInfo]
T = TypeVar("T")


def check_lisa(config: Mapping[str, Any], tensors: Tensors) -> LisaConfig:
    """The sizes of a LISA checkpoint, when it holds every tensor of its kind, and no other that is read.

    config: its config.json. Raises CheckpointInvalid, or CheckpointUnsupported as `lisa_config` does.
    """
    read = lisa_tensors(tensors)
    sizes = lisa_config(config, {key: tensor.shape for key, tensor in read.items()})
    _compare(read, checkpoint_shapes(sizes))
    return sizes


def check_clip(config: Mapping[str, Any], tensors: Tensors) -> ClipSizes:
    """The sizes of a CLIP vision tower, when the folder holds every tensor of it.

    config: its config.json. Raises CheckpointInvalid.
    """
    sizes = clip_sizes(config)
    read = {key.removeprefix(VISION): tensor for key, tensor in clip_tensors(tensors).items()}
    if sizes.depth > len(read):  # or the list of what is expected could be without end
        raise CheckpointInvalid(
            f"CLIP's config.json has {sizes.depth} layers, the folder {len(read)} tensors"
        )
    _compare(read, clip_shapes(sizes))
    return sizes


def lisa_tensors(tensors: Mapping[str, T]) -> dict[str, T]:
    """Those of a LISA checkpoint that the model reads, and those that nobody knows."""

    def is_read(key: str) -> bool:
        try:
            return to_module_key(key) is not None
        except KeyError:
            return True

    return {key: tensor for key, tensor in tensors.items() if is_read(key)}


def clip_tensors(tensors: Mapping[str, T]) -> dict[str, T]:
    """Those of the vision tower in a folder that may hold the whole CLIP."""
    tower = {key: tensor for key, tensor in tensors.items() if key.startswith(_TOWER)}
    return {key: tensor for key, tensor in tower.items() if not key.endswith(".position_ids")}


def clip_shapes(sizes: ClipSizes) -> dict[str, tuple[int, ...]]:
    """Key, without `vision_model.` -> shape of all that a CLIP vision tower of these sizes holds."""
    width, patch = sizes.width, sizes.patch_size
    linear = {
        **{f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")},
        "mlp.fc1": (sizes.mlp_width, width),
        "mlp.fc2": (width, sizes.mlp_width),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "embeddings.position_embedding.weight": (sizes.n_patches + 1, width),
    }
    for i in range(sizes.depth):
        layer = f"encoder.layers.{i}."
        for name, (n_out, n_in) in linear.items():
            shapes |= {f"{layer}{name}.weight": (n_out, n_in), f"{layer}{name}.bias": (n_out,)}
        shapes |= _norm(f"{layer}layer_norm1", width) | _norm(f"{layer}layer_norm2", width)
    return shapes | _norm("pre_layrnorm", width) | _norm("post_layernorm", width)  # CLIP spells it so


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _compare(tensors: Tensors, expected: Shapes) -> None:
    if missing := [key for key in expected if key not in tensors]:
        raise CheckpointInvalid(f"{_n_tensors(missing)} missing from the checkpoint: {some(missing)}")
    if unexpected := [key for key in tensors if key not in expected]:
        raise CheckpointInvalid(f"{_n_tensors(unexpected)} of an unknown name: {some(unexpected)}")
    wrong = [
        f"{key} is {tensor.shape}, expected {expected[key]}"
        for key, tensor in tensors.items()
        if tensor.shape != expected[key]
    ]
    if wrong:
        raise CheckpointInvalid(f"{_n_tensors(wrong)} of a wrong shape: {some(wrong)}")
    if odd := [f"{key} ({tensor.dtype})" for key, tensor in tensors.items() if tensor.dtype not in FLOATS]:
        raise CheckpointInvalid(f"{_n_tensors(odd)} not of 16 or 32 bit floats: {some(odd)}")


def _n_tensors(keys: list[str]) -> str:
    return f"{len(keys)} tensor{'s are' if len(keys) > 1 else ' is'}"
