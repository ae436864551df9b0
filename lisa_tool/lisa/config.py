"""The sizes of a LISA checkpoint, read from its config.json and its tensors.

Nothing is assumed that the checkpoint says: widths and depths come from the tensors' shapes, head counts and
epsilons from config.json. Reading a config builds nothing and imports no torch.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_tool.errors import CheckpointInvalid, CheckpointUnsupported

Shapes = Mapping[str, tuple[int, ...]]
"""Checkpoint key -> shape of its tensor."""

MAX_JSON_BYTES = 16 * 2**20
"""The largest file of a checkpoint that is read and holds no weights; real ones stay below 3 MiB."""

MASKS_AT_ONCE = 8
"""Masks that SAM's decoder makes at a time; each takes about 20 MiB in its transformer."""

SAM = "model.visual_model."
_ENCODER = f"{SAM}image_encoder."
_DECODER = f"{SAM}mask_decoder."


@dataclass(frozen=True)
class LlamaSizes:
    """The language model. In all LISA models attention is full: `n_kv_heads` equals `n_heads`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    rms_norm_eps: float
    rope_theta: float
    max_positions: int


@dataclass(frozen=True)
class SamSizes:
    """Segment Anything. `image_size` is the padded square's side, `grid` its side in patches."""

    image_size: int
    patch_size: int
    grid: int
    width: int
    depth: int
    n_heads: int
    mlp_width: int
    window: int
    global_blocks: tuple[int, ...]
    embed_width: int
    mask_in_chans: int
    decoder_depth: int
    decoder_mlp_width: int
    decoder_downsample: int
    n_multimask: int
    iou_head_depth: int
    iou_head_width: int
    decoder_n_heads: int = 8  # not in any shape; the reference builds all its decoders with 8


@dataclass(frozen=True)
class LisaConfig:
    """All sizes of one checkpoint, and the name of the CLIP folder or hub repository it wants."""

    llama: LlamaSizes
    sam: SamSizes
    clip_width: int
    clip_layer: int
    clip_name: str
    bos_token_id: int
    eos_token_id: int


def read_small(path: Path) -> bytes:
    """A file of the checkpoint that holds no weights. Raises CheckpointInvalid above MAX_JSON_BYTES."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except OSError as e:
        raise CheckpointInvalid(f"{path.name} of the checkpoint cannot be read: {e.strerror}") from e
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointInvalid(f"{path.name} of the checkpoint is larger than {MAX_JSON_BYTES} bytes")
    return data


def read_config_json(path: Path) -> dict[str, Any]:
    """config.json, or another JSON file of the checkpoint, as a mapping. Raises CheckpointInvalid."""
    try:
        value = json.loads(read_small(path))
    except (ValueError, RecursionError) as e:
        raise CheckpointInvalid(f"{path.name} of the checkpoint is not JSON: {e}") from e
    if not isinstance(value, dict):
        raise CheckpointInvalid(f"{path.name} of the checkpoint is not a JSON object")
    return value


def lisa_config(config: Mapping[str, Any], shapes: Shapes) -> LisaConfig:
    """The sizes, from config.json and the shapes of all tensors.

    Raises CheckpointInvalid where a tensor or a field that the sizes rest on is missing or the two disagree
    (a whole layer that is missing shows nowhere else), CheckpointUnsupported where the checkpoint wants
    something that is not built here.
    """
    if config.get("rope_scaling"):
        raise CheckpointUnsupported(
            f"the checkpoint scales its positions: {reprlib.repr(config['rope_scaling'])}"
        )
    if config.get("mm_vision_select_feature", "patch") != "patch":
        raise CheckpointUnsupported("the checkpoint uses CLIP's class token")
    it = LisaConfig(
        llama=_llama_sizes(config, shapes),
        sam=_sam_sizes(shapes),
        clip_width=_shape(shapes, "model.mm_projector.weight", 2)[1],
        clip_layer=_number(config, "mm_vision_select_layer"),
        clip_name=str(config.get("mm_vision_tower") or config.get("vision_tower") or ""),
        bos_token_id=_number(config, "bos_token_id", 1),
        eos_token_id=_number(config, "eos_token_id", 2),
    )
    _check_agreement(config, it)
    return it


def _check_agreement(config: Mapping[str, Any], it: LisaConfig) -> None:
    in_tensors = {
        "vocab_size": it.llama.vocab_size,
        "hidden_size": it.llama.hidden_size,
        "intermediate_size": it.llama.intermediate_size,
        "num_hidden_layers": it.llama.n_layers,
        "mm_hidden_size": it.clip_width,
        "out_dim": it.sam.embed_width,
    }
    for field, size in in_tensors.items():
        if config.get(field, size) != size:
            raise CheckpointInvalid(
                f"config.json has {field} = {reprlib.repr(config[field])}, the tensors have {size}"
            )
    if it.llama.n_heads < 1 or it.llama.hidden_size % (2 * it.llama.n_heads):  # positions turn pairs
        raise CheckpointInvalid(
            f"{it.llama.n_heads} heads do not divide a width of {it.llama.hidden_size} into even ones"
        )
    if it.llama.n_kv_heads < 1 or it.llama.n_heads % it.llama.n_kv_heads:
        raise CheckpointInvalid(
            f"config.json has num_key_value_heads = {it.llama.n_kv_heads}, which does not divide "
            f"num_attention_heads = {it.llama.n_heads}"
        )
    if it.sam.depth - 1 not in it.sam.global_blocks:
        raise CheckpointInvalid("SAM's last block is not a global one: blocks are missing")


def _llama_sizes(config: Mapping[str, Any], shapes: Shapes) -> LlamaSizes:
    vocab_size, hidden_size = _shape(shapes, "model.embed_tokens.weight", 2)
    n_heads = _number(config, "num_attention_heads")
    return LlamaSizes(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=_shape(shapes, "model.layers.0.mlp.gate_proj.weight", 2)[0],
        n_layers=_count(shapes, "model.layers."),
        n_heads=n_heads,
        n_kv_heads=_number(config, "num_key_value_heads", n_heads),
        rms_norm_eps=_real(config, "rms_norm_eps", 1e-6),
        rope_theta=_real(config, "rope_theta", 10_000.0),
        max_positions=_number(config, "max_position_embeddings", 2048),
    )


def _sam_sizes(shapes: Shapes) -> SamSizes:
    _, grid, grid_width, width = _shape(shapes, f"{_ENCODER}pos_embed", 4)
    patch_size = _shape(shapes, f"{_ENCODER}patch_embed.proj.weight", 4)[2]
    if grid != grid_width:
        raise CheckpointUnsupported(f"SAM's grid is {grid}x{grid_width}, not a square")
    depth = _count(shapes, f"{_ENCODER}blocks.")
    # A block's relative positions span its window: 2 * side - 1 rows of one head's width.
    spans = [_shape(shapes, f"{_ENCODER}blocks.{i}.attn.rel_pos_h", 2) for i in range(depth)]
    windows = {(rows + 1) // 2 for rows, _ in spans}
    embed_width = _shape(shapes, f"{_DECODER}iou_token.weight", 2)[1]
    attention = f"{_DECODER}transformer.layers.0.cross_attn_token_to_image.q_proj.weight"
    iou_head = f"{_DECODER}iou_prediction_head.layers."
    return SamSizes(
        image_size=grid * patch_size,
        patch_size=patch_size,
        grid=grid,
        width=width,
        depth=depth,
        n_heads=width // spans[0][1],
        mlp_width=_shape(shapes, f"{_ENCODER}blocks.0.mlp.lin1.weight", 2)[0],
        window=min(windows),
        global_blocks=tuple(i for i, (rows, _) in enumerate(spans) if (rows + 1) // 2 == grid),
        embed_width=embed_width,
        mask_in_chans=_shape(shapes, f"{SAM}prompt_encoder.mask_downscaling.3.weight", 4)[0],
        decoder_depth=_count(shapes, f"{_DECODER}transformer.layers."),
        decoder_mlp_width=_shape(shapes, f"{_DECODER}transformer.layers.0.mlp.lin1.weight", 2)[0],
        decoder_downsample=embed_width // _shape(shapes, attention, 2)[0],
        n_multimask=_shape(shapes, f"{_DECODER}mask_tokens.weight", 2)[0] - 1,
        iou_head_depth=_count(shapes, iou_head),
        iou_head_width=_shape(shapes, f"{iou_head}0.weight", 2)[0],
    )


def _shape(shapes: Shapes, key: str, n_dims: int) -> tuple[int, ...]:
    shape = shapes.get(key)
    if shape is None:
        raise CheckpointInvalid(f"the checkpoint has no tensor {key!r}")
    if len(shape) != n_dims or 0 in shape:
        raise CheckpointInvalid(f"tensor {key!r} has shape {shape}, expected {n_dims} sizes above 0")
    return shape


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered modules stand below `prefix`."""
    numbers = {key[len(prefix) :].partition(".")[0] for key in shapes if key.startswith(prefix)}
    if not numbers or numbers != {str(i) for i in range(len(numbers))}:
        raise CheckpointInvalid(f"the modules below {prefix!r} are not numbered from 0 on")
    return len(numbers)


def _number(config: Mapping[str, Any], field: str, default: int | None = None) -> int:
    value = config.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointInvalid(f"config.json has {field} = {reprlib.repr(value)}, expected a whole number")
    return value


def _real(config: Mapping[str, Any], field: str, default: float) -> float:
    value = config.get(field)
    if value is None:
        return default
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise CheckpointInvalid(f"config.json has {field} = {reprlib.repr(value)}, expected a number above 0")
    return float(value)
