"""The names of a tensor in a checkpoint and in our model, both ways.

    checkpoint                      LisaModel
    model.visual_model.*            sam.*
    model.mm_projector.*            mm_projector.*
    model.text_hidden_fcs.0.*       text_hidden_fcs.*
    model.*                         llm.model.*
    lm_head.*                       llm.lm_head.*

CLIP comes from a folder of its own; `lisa_tool.lisa.clip.clip_module_key` knows its names.
"""

from __future__ import annotations

_PREFIXES = (  # checkpoint, model; the first that fits
    ("model.visual_model.", "sam."),
    ("model.mm_projector.", "mm_projector."),
    ("model.text_hidden_fcs.0.", "text_hidden_fcs."),
    ("model.", "llm.model."),
    ("lm_head.", "llm.lm_head."),
)


def to_module_key(key: str) -> str | None:
    """The model's name for a checkpoint's tensor; None when the model does not read it.

    Not read are `rotary_emb.inv_freq`, which the model computes, and a copy of CLIP. KeyError for a name that
    no checkpoint has.
    """
    if key.endswith(".rotary_emb.inv_freq") or key.startswith("model.vision_tower."):
        return None
    for theirs, ours in _PREFIXES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    raise KeyError(key)


def to_checkpoint_key(key: str) -> str:
    """The checkpoint's name for a tensor of the model. KeyError for one that it does not hold, as CLIP's."""
    for theirs, ours in _PREFIXES:
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    raise KeyError(key)
