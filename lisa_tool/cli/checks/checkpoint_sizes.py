"""The sizes of a checkpoint that somebody names: a published one, or a folder.

Reads headers, never weights.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lisa_tool.errors import CheckpointInvalid, UnknownModel
from lisa_tool.lisa.checkpoint.expected import check_lisa
from lisa_tool.lisa.checkpoint.files import has, weight_files
from lisa_tool.lisa.checkpoint.find import Checkpoint, open_checkpoint
from lisa_tool.lisa.checkpoint.library import CONFIG
from lisa_tool.lisa.checkpoint.safetensors_header import read_header
from lisa_tool.lisa.clip_sizes import ClipSizes, clip_sizes
from lisa_tool.lisa.config import LisaConfig, lisa_config, read_config_json
from lisa_tool.lisa.published import CLIP_NAME, CLIP_VIT_L_14, LISA_7B, PUBLISHED
from lisa_tool.lisa.tensors import checkpoint_shapes

FAMILIES = {"7b": "xinlai/LISA-7B-v1", "13b": "xinlai/LISA-13B-llama2-v1"}
"""Short name -> the published checkpoint that stands for its family."""


@dataclass(frozen=True)
class CheckpointSizes:
    """`assumed` says what the files did not tell, or is empty."""

    name: str
    config: LisaConfig
    clip: ClipSizes
    assumed: str = ""


def checkpoint_sizes(name: str, clip_path: Path | None = None) -> CheckpointSizes:
    """The sizes of `7b`, `13b`, a published checkpoint, or the one in a folder.

    clip_path: folder of the CLIP to use instead of the one that the checkpoint names.

    Raises UnknownModel for a name whose sizes are not known here, another BackendError for a folder without a
    checkpoint, or with one that is broken or not supported.
    """
    name = FAMILIES.get(name.lower(), name)
    if name in PUBLISHED:
        return CheckpointSizes(name, PUBLISHED[name], CLIP_VIT_L_14)
    folder = os.path.expanduser(name)
    if not os.path.isdir(folder):
        raise UnknownModel(
            f"{name!r} is no folder and no LISA checkpoint whose sizes are known here",
            f"Name {' or '.join(FAMILIES)}, a folder, or one of {', '.join(PUBLISHED)}.",
        )
    checkpoint = open_checkpoint(Path(folder))
    config, assumed_sam = _config(checkpoint)
    clip, assumed_clip = _clip(clip_path, checkpoint, config.clip_name)
    return CheckpointSizes(name, config, clip, " and ".join(filter(None, [assumed_sam, assumed_clip])))


def _config(checkpoint: Checkpoint) -> tuple[LisaConfig, str]:
    """The sizes, and what was assumed to get them."""
    fields = checkpoint.config
    if not checkpoint.needs_conversion:
        paths = weight_files(checkpoint.folder).paths
        return check_lisa(
            fields, {key: info for path in paths for key, info in read_header(path).items()}
        ), ""
    # Pickles tell their shapes only to code that reads all of them; config.json tells the language model's.
    llama = replace(
        LISA_7B.llama,
        vocab_size=_number(fields, "vocab_size"),
        hidden_size=_number(fields, "hidden_size"),
        intermediate_size=_number(fields, "intermediate_size"),
        n_layers=_number(fields, "num_hidden_layers"),
    )
    sam = replace(LISA_7B.sam, embed_width=_number(fields, "out_dim"))
    likely = replace(LISA_7B, llama=llama, sam=sam, clip_width=_number(fields, "mm_hidden_size"))
    return lisa_config(fields, checkpoint_shapes(likely)), "SAM is taken to be ViT-H"


def _clip(clip_path: Path | None, checkpoint: Checkpoint, name: str) -> tuple[ClipSizes, str]:
    """The sizes of the CLIP in `clip_path`, else of the one near the checkpoint, else the usual ones."""
    home = checkpoint.origin.resolve()
    last = name.rpartition("/")[2]
    near = [folder / last for folder in (home, *home.parents[:2])] if last else []
    for folder in [clip_path] if clip_path else near:
        if has(folder, CONFIG):
            return clip_sizes(read_config_json(folder / CONFIG)), ""
    return CLIP_VIT_L_14, "" if name == CLIP_NAME else "CLIP is taken to be ViT-L/14"


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or value <= 0:
        raise CheckpointInvalid(f"config.json has {name} = {reprlib.repr(value)}, expected a number above 0")
    return value
