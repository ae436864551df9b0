"""Folders: which kind they are, and how they become ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.errors import (
    BackendError,
    CheckpointInvalid,
    CheckpointNotFound,
    CheckpointUnsupported,
    OutputNotWritable,
    WeightsCorrupt,
)
from lisa_tool.lisa.checkpoint.clip_folder import ready_clip
from lisa_tool.lisa.checkpoint.find import find_checkpoint, open_checkpoint, ready_checkpoint
from lisa_tool.lisa.checkpoint.library import Library
from lisa_tool.segmenter import names_a_checkpoint
from tests.lisa.checkpoint.checkpoints import (
    BIN,
    CLIP,
    GOLDEN,
    NANO,
    Waiting,
    copy_of,
    edit_index,
    edit_json,
    flip_a_bit,
    recorded_state,
    with_state,
)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "weights", offline=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the recorded checkpoint, as it was released."""
    return copy_of(NANO, tmp_path / "nano")


def shown(folder: Path) -> list[str]:
    """What is below the folder, hidden names left out."""
    return sorted(path.name for path in folder.rglob("*") if not path.name.startswith("."))


def test_a_released_checkpoint_is_recognised_and_must_be_converted(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.name, checkpoint.revision, checkpoint.manifest) == ("nano", None, None)
    assert checkpoint.needs_conversion
    assert checkpoint.config["architectures"] == ["LISAForCausalLM"]


def test_ready_converts_once_into_the_library_and_finds_it_again(folder: Path, library: Library) -> None:
    one = ready_checkpoint(str(folder), library, work=Waiting())
    assert one.folder.parent == library.weights_dir / "folders"
    assert not one.needs_conversion and one.manifest
    assert one.origin == folder
    waiting = Waiting()
    assert ready_checkpoint(str(folder), library, work=waiting).folder == one.folder
    assert not waiting.stages & {"converting the weights", "verifying the weights"}


def test_a_folder_whose_files_changed_is_converted_anew(folder: Path, library: Library) -> None:
    one = ready_checkpoint(str(folder), library, work=Waiting())
    edit_json(folder / "config.json", lambda config: config.update(max_position_embeddings=4096))
    other = ready_checkpoint(str(folder), library, work=Waiting())
    assert other.folder != one.folder
    assert other.config["max_position_embeddings"] == 4096


def test_a_newer_conversion_takes_the_place_of_the_older_ones_of_the_same_folder(
    folder: Path, library: Library, tmp_path: Path
) -> None:
    beside = copy_of(folder, tmp_path / "beside" / "nano")
    others = ready_checkpoint(str(beside), library, work=Waiting()).folder
    one = ready_checkpoint(str(folder), library, work=Waiting()).folder
    edit_json(folder / "config.json", lambda config: config.update(max_position_embeddings=4096))
    other = ready_checkpoint(str(folder), library, work=Waiting()).folder
    assert not one.exists()
    assert sorted(path for path in other.parent.iterdir() if path.is_dir()) == sorted([other, others])


def test_an_older_conversion_that_is_locked_and_a_folder_of_somebody_else_stay(
    folder: Path, library: Library
) -> None:
    from lisa_tool.lisa.checkpoint.building import alone

    one = ready_checkpoint(str(folder), library, work=Waiting()).folder
    mine = one.with_name(f"{one.name.rpartition('-')[0]}-notes")
    mine.mkdir()
    edit_json(folder / "config.json", lambda config: config.update(max_position_embeddings=4096))
    with alone(one, Waiting()):
        other = ready_checkpoint(str(folder), library, work=Waiting()).folder
    assert all(path.is_dir() for path in (one, mine, other))


def test_what_is_neither_converted_nor_copied_changes_nothing(folder: Path, library: Library) -> None:
    one = ready_checkpoint(str(folder), library, work=Waiting()).folder
    (folder / "README.md").write_text("# LISA", "utf-8")
    (folder / "training_args.bin").write_bytes(b"")
    waiting = Waiting()
    assert ready_checkpoint(str(folder), library, work=waiting).folder == one
    assert "converting the weights" not in waiting.stages


@pytest.mark.parametrize("name", [BIN, "added_tokens.json"])
def test_a_file_that_was_touched_may_have_changed(folder: Path, library: Library, name: str) -> None:
    one = ready_checkpoint(str(folder), library, work=Waiting()).folder
    os.utime(folder / name, ns=(0, 0))
    assert ready_checkpoint(str(folder), library, work=Waiting()).folder != one


def test_a_library_that_cannot_be_written_says_how_to_choose_another(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputNotWritable, match="a file is in its way") as caught:
        ready_checkpoint(str(folder), Library(tmp_path / "file" / "weights", offline=True), work=Waiting())
    assert "LISA_WEIGHTS_DIR" in caught.value.hint


def test_a_converted_folder_is_used_where_it_lies_and_verified_once(folder: Path, library: Library) -> None:
    converted = ready_checkpoint(str(folder), library, work=Waiting()).folder
    elsewhere = copy_of(converted, folder.with_name("elsewhere"))
    waiting = Waiting()
    found = ready_checkpoint(str(elsewhere), library, work=waiting)
    assert (found.folder, found.name) == (elsewhere, "nano")
    assert waiting.stages == {"verifying the weights"}
    flip_a_bit(next(iter(elsewhere.glob("*.safetensors"))))
    with pytest.raises(WeightsCorrupt, match="sha256"):
        ready_checkpoint(str(elsewhere), library, work=Waiting())


def test_progress_of_all_steps_rises_once(folder: Path, library: Library) -> None:
    waiting = Waiting()
    ready_checkpoint(str(folder), library, work=waiting)
    fractions = [fraction for _, fraction in waiting.told]
    assert fractions == sorted(fractions)
    assert waiting.stages == {"converting the weights", "verifying the weights"}


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def add(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"")


def configure(**fields: Any) -> Callable[[Path], object]:
    return lambda folder: edit_json(folder / "config.json", lambda config: config.update(fields))


OTHER_KINDS: dict[str, tuple[Callable[[Path], object], type[BackendError], str]] = {
    "lora": (add("adapter_config.json"), CheckpointUnsupported, "LoRA adapter"),
    "training": (add("zero_to_fp32.py"), CheckpointUnsupported, "DeepSpeed training"),
    "v0": (add("pytorch_model-visual_model.bin"), CheckpointUnsupported, "LISA v0.*256 image tokens"),
    "lisa++": (configure(mm_projector_type="mlp2x_gelu"), CheckpointUnsupported, r"LISA\+\+"),
    "llava": (configure(architectures=["LlavaLlamaForCausalLM"]), CheckpointUnsupported, "mask decoder"),
    "llama": (configure(architectures=["LlamaForCausalLM"]), CheckpointUnsupported, "'LlamaForCausalLM'"),
    "quantised": (configure(quantization_config={"bits": 4}), CheckpointUnsupported, "quantised already"),
    "no config": (remove("config.json"), CheckpointNotFound, r"no config\.json"),
    "no tokenizer": (remove("tokenizer.model"), CheckpointNotFound, r"no tokenizer\.model"),
    "no weights": (remove(BIN), CheckpointNotFound, "no weights"),
}


@pytest.mark.parametrize(("change", "error", "why"), OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_what_is_no_lisa_v1_is_refused_with_the_reason(
    folder: Path, library: Library, change: Callable[[Path], object], error: type[BackendError], why: str
) -> None:
    change(folder)
    with pytest.raises(error, match=why):
        ready_checkpoint(str(folder), library, work=Waiting())
    assert not library.weights_dir.exists()


@pytest.mark.parametrize(
    ("fields", "error", "why"),
    [
        ({"rope_scaling": {"type": "linear"}}, CheckpointUnsupported, "scales its positions"),
        ({"mm_vision_select_feature": "cls_patch"}, CheckpointUnsupported, "class token"),
        ({"num_hidden_layers": 4}, CheckpointInvalid, "num_hidden_layers = 4, the tensors have 3"),
        ({"vocab_size": 32000}, CheckpointInvalid, "vocab_size = 32000, the tensors have 1003"),
        ({"num_attention_heads": 0}, CheckpointInvalid, "0 heads do not divide"),
        ({"num_attention_heads": "four"}, CheckpointInvalid, "expected a whole number"),
        ({"num_attention_heads": True}, CheckpointInvalid, "expected a whole number"),
        ({"rms_norm_eps": "1e-5"}, CheckpointInvalid, "expected a number above 0"),
        ({"eos_token_id": [2, 3]}, CheckpointInvalid, "expected a whole number"),
        ({"mm_vision_select_layer": None}, CheckpointInvalid, "expected a whole number"),
    ],
)
def test_a_config_that_does_not_fit_is_an_error_that_names_the_field(
    folder: Path, library: Library, fields: dict[str, Any], error: type[BackendError], why: str
) -> None:
    configure(**fields)(folder)
    with pytest.raises(error, match=why):
        ready_checkpoint(str(folder), library, work=Waiting())
    assert not shown(library.weights_dir / "folders")


@pytest.mark.parametrize(
    "name",
    [
        *("no/such/folder", "nano!", "a/b/c", "../x/y", "~nobody/x", "\0", "x" * 5000),
        *("a--b/c", "a..b/c", "a/b--c", "a/b.", "a-/b", "a/b.git", "a/b\n", "\u00e4/b", "a/" + "b" * 97),
    ],
)
def test_what_is_neither_a_folder_nor_a_hub_name_is_not_found(library: Library, name: str) -> None:
    with pytest.raises(CheckpointNotFound, match="there is no folder"):
        find_checkpoint(name, library, work=Waiting())
    assert not names_a_checkpoint(name)


def test_an_index_may_be_wrong_about_where_a_tensor_is(folder: Path, library: Library) -> None:
    with_state(folder, recorded_state(), n_shards=2)
    key, second = next(iter(recorded_state())), "pytorch_model-00002-of-00002.bin"
    edit_index(folder, lambda index: index["weight_map"].update({key: second}))
    with pytest.raises(CheckpointInvalid, match=f"index .* wrong about {key}"):
        ready_checkpoint(str(folder), library, work=Waiting())


def ready(name: str, library: Library) -> Path:
    """The CLIP of the checkpoint."""
    checkpoint = ready_checkpoint(name, library, work=Waiting())
    return ready_clip(checkpoint, None, library, Waiting())


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_clip_is_found_beside_the_checkpoint_that_was_converted(
    tmp_path: Path, library: Library, depth: int
) -> None:
    checkpoint = copy_of(NANO, tmp_path / "a" / "b" / "nano")
    copy_of(CLIP, (checkpoint, *checkpoint.parents)[depth] / CLIP.name)
    clip = ready(str(checkpoint), library)
    assert clip.parent == library.weights_dir / "folders"
    assert clip.name.startswith("clip-vit-tiny-patch14-")
    assert ready(str(checkpoint), library) == clip


def test_a_clip_that_is_named_wins_and_is_the_only_one_looked_at(library: Library, tmp_path: Path) -> None:
    checkpoint = ready_checkpoint(str(GOLDEN / "nano" / "checkpoint"), library, work=Waiting())
    named = copy_of(CLIP, tmp_path / "my-clip")
    assert ready_clip(checkpoint, named, library, Waiting()).name.startswith("my-clip-")
    with pytest.raises(CheckpointNotFound, match="holds no CLIP"):
        ready_clip(checkpoint, tmp_path, library, Waiting())


def test_a_checkpoint_without_its_clip_says_how_to_give_it(folder: Path, library: Library) -> None:
    with pytest.raises(CheckpointNotFound, match="clip-vit-tiny-patch14") as caught:
        ready(str(folder), library)
    assert "LISA_CLIP_PATH" in caught.value.hint


@pytest.mark.parametrize("name", ["", "..", "a/..", None, {"a": 1}])
def test_a_name_of_clip_that_is_none_is_refused(folder: Path, library: Library, name: object) -> None:
    configure(mm_vision_tower=name, vision_tower=name)(folder)
    with pytest.raises(CheckpointInvalid, match="names no CLIP"):
        ready(str(folder), library)


def test_a_path_in_the_config_is_only_a_name(folder: Path, library: Library, tmp_path: Path) -> None:
    far = copy_of(CLIP, tmp_path / "far" / "away" / CLIP.name)
    configure(mm_vision_tower=str(far))(folder)
    with pytest.raises(CheckpointNotFound):
        ready(str(folder), library)
