"""The model has the keys and shapes of the released checkpoints, without their weights."""

from __future__ import annotations

import json

import pytest
import torch

from lisa_tool.lisa.checkpoint.keymap import to_checkpoint_key, to_module_key
from lisa_tool.lisa.config import LisaConfig
from lisa_tool.lisa.loading import Loaded
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.published import LISA_7B, LISA_13B
from lisa_tool.lisa.tensors import checkpoint_shapes
from tests.lisa.conftest import GOLDEN

CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}


@pytest.mark.parametrize(
    ("file", "config", "millions"), [("7b", LISA_7B, 7401.6), ("13b", LISA_13B, 13689.8)], ids=["7b", "13b"]
)
def test_the_full_size_model_matches_every_recorded_key_both_ways(
    file: str, config: LisaConfig, millions: float
) -> None:
    recorded = json.loads((GOLDEN / f"full_size_keys_{file}.json").read_text("utf-8"))
    with torch.device("meta"):
        model = LisaModel(config, CLIP_L)
    ours = {key: list(t.shape) for key, t in model.state_dict().items() if not key.startswith("clip.")}
    theirs = {key: shape for key, shape in recorded.items() if to_module_key(key) is not None}
    assert {to_module_key(key): shape for key, shape in theirs.items()} == ours
    assert {to_checkpoint_key(key): shape for key, shape in ours.items()} == theirs
    assert {key: tuple(shape) for key, shape in theirs.items()} == dict(checkpoint_shapes(config))
    assert recorded.keys() - theirs.keys() == {key for key in recorded if key.endswith("rotary_emb.inv_freq")}
    total = sum(t.numel() for key, t in model.state_dict().items() if not key.startswith("clip."))
    assert total / 1e6 == pytest.approx(millions, abs=0.1)


def test_clip_is_built_only_as_deep_as_it_is_read() -> None:
    with torch.device("meta"):
        model = LisaModel(LISA_7B, CLIP_L)
    assert (
        len({key.split(".")[2] for key in model.clip.state_dict() if key.startswith("encoder.layers.")}) == 23
    )
    assert model.n_image_tokens == 256


def test_sizes_are_read_from_the_checkpoint_and_not_from_constants(nano: Loaded) -> None:
    config = nano.model.config
    assert (config.sam.width, config.sam.embed_width, config.sam.decoder_mlp_width) == (32, 32, 64)
    assert (config.llama.hidden_size, config.llama.n_layers, config.llama.vocab_size) == (64, 3, 1003)


def test_a_prompt_without_an_image_has_one_position_a_token(nano: Loaded) -> None:
    assert nano.model.embed_prompt([1, 5, 6], None).shape == (1, 3, 64)


def test_image_tokens_stand_where_their_placeholder_was(nano: Loaded) -> None:
    tokens = torch.arange(256.0)[None, :, None].expand(1, 256, 64)
    embedded = nano.model.embed_prompt([1, -200, 6], tokens)
    assert embedded.shape == (1, 258, 64)
    assert torch.equal(embedded[:, 1:257], tokens)
    assert torch.equal(embedded[:, [0, 257]], nano.model.embed_prompt([1, 6], None))
