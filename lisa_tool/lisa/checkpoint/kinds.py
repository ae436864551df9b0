"""Which kind of checkpoint this is, told from its file names and config.json before any weight is read.

Only LISA v1 is supported. Everything else that people bring is refused by name with the reason.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from lisa_tool.errors import CheckpointInvalid, CheckpointNotFound, CheckpointUnsupported

_V0_FILES = {"pytorch_model-visual_model.bin", "pytorch_model-text_hidden_fcs.bin"}
_MERGE_FIRST = "Merge it into its base model with the training code that made it, and give the merged folder."


def refuse_other_kinds(names: Collection[str], config: Mapping[str, Any] | None) -> None:
    """Return when these may be a LISA v1 checkpoint; its tensors say the rest.

    names: the files of the folder or of the hub's repository. config: config.json, None when there is none.
    Raises CheckpointUnsupported with the reason, CheckpointNotFound when this is no checkpoint at all, or
    CheckpointInvalid.
    """
    if "adapter_config.json" in names:
        raise CheckpointUnsupported("this is a LoRA adapter, not a whole checkpoint", _MERGE_FIRST)
    if "zero_to_fp32.py" in names:
        raise CheckpointUnsupported(
            "this is the state of a DeepSpeed training, not a checkpoint", _MERGE_FIRST
        )
    if config is None:
        raise CheckpointNotFound("there is no config.json: this is no checkpoint")
    if _V0_FILES & set(names):
        raise CheckpointUnsupported(
            "this is a LISA v0 checkpoint: it wants its 256 image tokens written out, another template and "
            "another order of the added tokens than v1"
        )
    if config.get("quantization_config"):
        raise CheckpointUnsupported(
            "the checkpoint is quantised already", "Give the original one; --precision nf4 quantises it here."
        )
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list):
        raise CheckpointInvalid(
            f"config.json has architectures = {reprlib.repr(architectures)}, expected a list of names"
        )
    if architectures and "LISAForCausalLM" not in architectures:
        raise CheckpointUnsupported(
            f"config.json says {reprlib.repr(architectures)}: a model without LISA's mask decoder"
        )
    projector = config.get("mm_projector_type", "linear")
    if projector != "linear":
        raise CheckpointUnsupported(
            f"the checkpoint joins CLIP to the language model by {reprlib.repr(projector)}, as LISA++ on "
            "LLaVA-1.5 does; LISA v1 has one linear layer there"
        )
