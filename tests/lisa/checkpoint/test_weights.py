from __future__ import annotations

from pathlib import Path

import pytest

from lisa_tool.errors import Cancelled, CheckpointInvalid, WeightsCorrupt
from lisa_tool.lisa.checkpoint.convert import convert_checkpoint, convert_clip
from lisa_tool.lisa.checkpoint.keymap import to_checkpoint_key
from lisa_tool.lisa.checkpoint.weights import empty, iter_clip_weights, iter_weights, read_sizes, set_weight
from lisa_tool.lisa.clip import clip_module_key
from lisa_tool.lisa.config import read_config_json
from lisa_tool.lisa.model import LisaModel
from tests.lisa.checkpoint.checkpoints import (
    BIN,
    CLIP,
    NANO,
    Waiting,
    copy_of,
    edit_json,
    recorded_state,
    torch,
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted")
    convert_checkpoint(NANO, target / "nano", work=Waiting(), max_shard_bytes=600_000)
    convert_clip(CLIP, target / "clip", work=Waiting())
    return target


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    """A converted checkpoint in several files, to be damaged."""
    return copy_of(converted / "nano", tmp_path / "nano")


@pytest.fixture
def clip(converted: Path) -> Path:
    """A converted CLIP."""
    return converted / "clip"


def test_the_weights_of_a_checkpoint_come_under_the_models_keys_bit_by_bit(folder: Path) -> None:
    weights = dict(iter_weights(folder, Waiting()))
    recorded = recorded_state()
    assert len(weights) == 210
    for key, tensor in weights.items():
        expected = recorded[to_checkpoint_key(key)]
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected)


def test_an_empty_model_takes_no_memory_for_its_weights_and_has_its_buffers(folder: Path, clip: Path) -> None:
    model = empty(lambda: LisaModel(read_sizes(folder), read_config_json(clip / "config.json")))
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers())


def test_a_model_that_is_filled_holds_what_the_files_hold(folder: Path, clip: Path) -> None:
    model = empty(lambda: LisaModel(read_sizes(folder), read_config_json(clip / "config.json")))
    weights = dict(iter_weights(folder, Waiting()))
    weights |= iter_clip_weights(clip, lambda key: clip_module_key(model.clip, key), Waiting())
    for key, tensor in weights.items():
        set_weight(model, key, tensor)
    state = model.state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in weights.items())
    assert not any(parameter.is_meta or parameter.requires_grad for parameter in model.parameters())


def test_what_clip_has_no_use_for_is_left_out(clip: Path) -> None:
    weights = dict(iter_clip_weights(clip, lambda key: key if "layers.0" in key else None, Waiting()))
    assert len(weights) == 16
    assert all(key.startswith("clip.vision_model.encoder.layers.0.") for key in weights)


def test_the_types_of_the_files_stay_on_the_cpu_as_the_mapped_file(folder: Path) -> None:
    dtypes = {tensor.dtype for _, tensor in iter_weights(folder, Waiting())}
    assert dtypes == {torch.bfloat16, torch.float32}


def test_progress_reaches_the_end_and_a_cancel_is_heard_between_two_tensors(folder: Path) -> None:
    waiting = Waiting()
    list(iter_weights(folder, waiting))
    assert waiting.told[-1] == ("loading the weights", 1.0)
    waiting = Waiting(until=lambda stage, fraction: True)
    weights = iter_weights(folder, waiting)
    next(weights)
    next(weights)
    with pytest.raises(Cancelled):
        next(weights)


def test_pickled_weights_are_not_read_here() -> None:
    with pytest.raises(CheckpointInvalid, match="pickled"):
        next(iter_weights(NANO, Waiting()))


def test_a_file_that_the_manifest_does_not_list_is_not_read(folder: Path) -> None:
    name = "model-00001-of-00003.safetensors"
    (folder / "model.safetensors").write_bytes((folder / name).read_bytes())
    with pytest.raises(CheckpointInvalid, match=r"model\.safetensors is not in the manifest"):
        next(iter_weights(folder, Waiting()))


def test_nothing_is_given_before_all_headers_are_right(folder: Path) -> None:
    last = sorted(folder.glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    waiting = Waiting()
    with pytest.raises(WeightsCorrupt, match=f"{last.name} is cut off or damaged"):
        next(iter_weights(folder, waiting))
    assert not waiting.told


def test_a_width_that_is_not_the_tensors_is_refused(folder: Path) -> None:
    edit_json(folder / "config.json", lambda config: config.update(hidden_size=128))
    with pytest.raises(CheckpointInvalid, match="hidden_size = 128, the tensors have 64"):
        read_sizes(folder)


def test_a_clip_folder_in_safetensors_needs_no_manifest(tmp_path: Path, clip: Path) -> None:
    plain = copy_of(clip, tmp_path / "plain")
    (plain / "manifest.json").unlink()
    assert len(dict(iter_clip_weights(plain, lambda key: key, Waiting()))) == 55


def test_a_clip_whose_keys_lack_their_prefix_is_read_too(tmp_path: Path) -> None:
    source = copy_of(CLIP, tmp_path / "bare")
    state = torch.load(source / BIN, weights_only=True)
    torch.save({key.removeprefix("vision_model."): tensor for key, tensor in state.items()}, source / BIN)
    convert_clip(source, tmp_path / "out", work=Waiting())
    assert len(dict(iter_clip_weights(tmp_path / "out", lambda key: key, Waiting()))) == 55
