from __future__ import annotations

import json

import pytest

from lisa_tool.lisa.checkpoint.keymap import to_checkpoint_key, to_module_key
from tests.lisa.checkpoint.checkpoints import GOLDEN


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("model.layers.3.mlp.up_proj.weight", "llm.model.layers.3.mlp.up_proj.weight"),
        ("model.norm.weight", "llm.model.norm.weight"),
        ("model.embed_tokens.weight", "llm.model.embed_tokens.weight"),
        ("lm_head.weight", "llm.lm_head.weight"),
        ("model.mm_projector.bias", "mm_projector.bias"),
        ("model.text_hidden_fcs.0.2.weight", "text_hidden_fcs.2.weight"),
        ("model.visual_model.mask_decoder.iou_token.weight", "sam.mask_decoder.iou_token.weight"),
    ],
)
def test_each_part_of_a_checkpoint_has_its_place_in_the_model(theirs: str, ours: str) -> None:
    assert to_module_key(theirs) == ours
    assert to_checkpoint_key(ours) == theirs


@pytest.mark.parametrize("size", ["7b", "13b"])
def test_every_recorded_key_comes_back_from_the_way_through_the_model(size: str) -> None:
    keys = list(json.loads((GOLDEN / f"full_size_keys_{size}.json").read_text("utf-8")))
    ours = {key: name for key in keys if (name := to_module_key(key)) is not None}
    assert {key for key in keys if key not in ours} == {key for key in keys if key.endswith("inv_freq")}
    assert len(set(ours.values())) == len(ours)
    assert all(to_checkpoint_key(name) == key for key, name in ours.items())


def test_a_copy_of_clip_in_the_checkpoint_is_not_read() -> None:
    assert to_module_key("model.vision_tower.vision_tower.vision_model.post_layernorm.bias") is None


@pytest.mark.parametrize("key", ["base_model.model.lm_head.weight", "visual_model.x", "", "lm_headx"])
def test_a_key_that_no_checkpoint_has_is_an_error(key: str) -> None:
    with pytest.raises(KeyError):
        to_module_key(key)


@pytest.mark.parametrize("key", ["clip.pre_layrnorm.bias", "model.norm.weight"])
def test_what_a_checkpoint_does_not_hold_has_no_key_in_it(key: str) -> None:
    with pytest.raises(KeyError):
        to_checkpoint_key(key)
