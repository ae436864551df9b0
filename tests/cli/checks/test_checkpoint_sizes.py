import json
import struct
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.cli.checks.checkpoint_sizes import checkpoint_sizes
from lisa_tool.errors import CheckpointInvalid, CheckpointNotFound, CheckpointUnsupported, UnknownModel
from lisa_tool.lisa.published import CLIP_VIT_L_14, LISA_7B, LISA_13B
from lisa_tool.lisa.tensors import checkpoint_shapes

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL = replace(
    LISA_7B,
    clip_width=48,
    clip_name="eye",
    llama=replace(
        LISA_7B.llama,
        vocab_size=99,
        hidden_size=64,
        intermediate_size=96,
        n_layers=2,
        n_heads=4,
        n_kv_heads=4,
    ),
    sam=replace(LISA_7B.sam, width=64, n_heads=2, depth=2, global_blocks=(1,), mlp_width=64, embed_width=32),
)
FIELDS = {
    "architectures": ["LISAForCausalLM"],
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "mm_hidden_size": 48,
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "eye",
    "out_dim": 32,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder, but for its weights."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(FIELDS))
    (made / "tokenizer.model").write_bytes(b"")
    return made


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        header[key] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


@pytest.mark.parametrize(
    ("name", "stands_for", "config"),
    [
        ("7b", "xinlai/LISA-7B-v1", LISA_7B),
        ("13B", "xinlai/LISA-13B-llama2-v1", LISA_13B),
        ("xinlai/LISA-13B-llama2-v1-explanatory", "xinlai/LISA-13B-llama2-v1-explanatory", LISA_13B),
    ],
)
def test_a_published_checkpoint_is_known_without_its_files(
    name: str, stands_for: str, config: object
) -> None:
    sizes = checkpoint_sizes(name)
    assert (sizes.name, sizes.config, sizes.assumed) == (stands_for, config, "")


@pytest.mark.parametrize("name", ["gpt", "someone/LISA-99B", "/no/such/folder", "a\0b", ""])
def test_another_name_is_unknown_and_the_known_ones_are_listed(name: str) -> None:
    with pytest.raises(UnknownModel) as unknown:
        checkpoint_sizes(name)
    assert "7b or 13b, a folder, or one of xinlai/LISA-7B-v1" in unknown.value.hint


def test_the_sizes_of_a_converted_folder_are_those_of_its_tensors(folder: Path) -> None:
    write_safetensors(folder / "model.safetensors", dict(checkpoint_shapes(SMALL)))
    sizes = checkpoint_sizes(str(folder))
    assert sizes.config == SMALL
    assert sizes.assumed == "CLIP is taken to be ViT-L/14"


def test_a_folder_of_pickles_is_measured_by_its_config_and_says_what_that_leaves_open(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    sizes = checkpoint_sizes(str(folder))
    assert sizes.config.llama == SMALL.llama
    assert "SAM is taken to be ViT-H" in sizes.assumed


def test_clip_is_looked_up_where_the_checkpoint_or_the_settings_say(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    clip = GOLDEN / "clip-vit-tiny-patch14"
    assert checkpoint_sizes(str(folder)).clip == CLIP_VIT_L_14
    assert checkpoint_sizes(str(folder), clip).clip.width == 48
    (folder / "eye").symlink_to(clip)
    sizes = checkpoint_sizes(str(folder))
    assert (sizes.clip.width, sizes.assumed) == (48, "SAM is taken to be ViT-H")


def test_a_folder_that_is_no_checkpoint_or_a_broken_one_is_told_apart(folder: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        checkpoint_sizes(str(folder.parent))
    with pytest.raises(CheckpointNotFound):
        checkpoint_sizes(str(folder))
    shapes = dict(checkpoint_shapes(SMALL))
    del shapes["lm_head.weight"]
    write_safetensors(folder / "model.safetensors", shapes)
    with pytest.raises(CheckpointInvalid, match="lm_head"):
        checkpoint_sizes(str(folder))


@pytest.mark.parametrize(
    "broken", [{"hidden_size": "64"}, {"num_hidden_layers": 0}, {"num_attention_heads": 5}]
)
def test_a_config_that_makes_no_sense_is_invalid(folder: Path, broken: dict[str, object]) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    (folder / "config.json").write_text(json.dumps(FIELDS | broken))
    with pytest.raises(CheckpointInvalid):
        checkpoint_sizes(str(folder))


def test_a_checkpoint_of_another_model_is_refused_by_name(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(FIELDS | {"architectures": ["LlavaForCausalLM"]}))
    with pytest.raises(CheckpointUnsupported, match="LlavaForCausalLM"):
        checkpoint_sizes(str(folder))
