"""From settings to a loaded checkpoint: what is refused before anything is loaded, and where weights go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lisa_tool.engine.call import Call, Progress
from lisa_tool.engine.machine import Memory
from lisa_tool.errors import BadSettings, Cancelled, CheckpointInvalid, DeadlineExceeded, ModelTooLarge
from lisa_tool.lisa.checkpoint.expected import clip_shapes
from lisa_tool.lisa.clip_sizes import clip_sizes
from lisa_tool.lisa.loading import Loaded, load_lisa, pick_device
from lisa_tool.lisa.spread import DeviceMap
from lisa_tool.pipeline import LocalSegmenter
from lisa_tool.segmenter import open_segmenter
from lisa_tool.settings import Settings
from tests.lisa.conftest import CLIP, GOLDEN

CPU = torch.device("cpu")


def call() -> Call:
    return Call.start(deadline_s=600)


def test_a_pickled_checkpoint_and_its_clip_are_found_converted_and_loaded(
    nano: Loaded, nano_settings: Settings
) -> None:
    settings = nano_settings.model_copy(
        update={"model": str(GOLDEN / "nano" / "checkpoint"), "clip_path": None}
    )
    loaded = load_lisa(settings, call())
    ours, theirs = loaded.model.state_dict(), nano.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert loaded.info.weights_sha256 == nano.info.weights_sha256


def test_what_has_no_room_is_refused_before_a_weight_is_read(
    nano_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lisa_tool.lisa.loading.memory", lambda: Memory(2**20, 2**20))
    monkeypatch.setattr("lisa_tool.lisa.loading.iter_weights", lambda *_: pytest.fail("a weight was read"))
    with pytest.raises(ModelTooLarge, match="main memory") as refused:
        load_lisa(nano_settings, call())
    assert refused.value.hint


@pytest.mark.parametrize("name", ["tpu:0", "cuda:99", "mps", "quantum"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(BadSettings) as refused:
        pick_device(name)
    assert refused.value.hint


def test_a_vocabulary_larger_than_the_embedding_is_refused(
    nano_folder: Path, nano_settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "grown"
    shutil.copytree(nano_folder, folder)
    (folder / "manifest.json").unlink()  # it would notice first
    tokens = {"[SEG]": 1000, "<im_start>": 1001, "<im_end>": 1002, "<more>": 1003}
    (folder / "added_tokens.json").write_text(json.dumps(tokens))
    with pytest.raises(CheckpointInvalid, match="1004 tokens"):
        load_lisa(nano_settings.model_copy(update={"model": str(folder)}), call())


def test_loading_tells_how_far_it_is_and_stops_when_asked(nano_settings: Settings) -> None:
    told: list[Progress] = []
    working = Call.start(deadline_s=600, progress=told.append)

    def stop(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "loading the weights":
            working.cancel.set()

    working.progress = stop
    with pytest.raises(Cancelled):
        load_lisa(nano_settings, working)
    assert told[-1].stage == "loading the weights"


def test_the_deadline_counts_from_when_the_model_is_loaded(
    nano: Loaded, nano_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def slow(settings: Settings, work: Call) -> Loaded:
        nonlocal now
        now += 1000  # a checkpoint of 13B from a slow disk
        work.check()
        return nano

    monkeypatch.setattr("lisa_tool.engine.call._now", lambda: now)
    monkeypatch.setattr("lisa_tool.lisa.backend.load_lisa", slow)
    with open_segmenter(nano_settings) as segmenter:
        photo = GOLDEN / "images" / "tiny.png"
        assert segmenter.segment(photo, "the cup", mode="mask_only", deadline_s=5).masks
        with pytest.raises(DeadlineExceeded):
            segmenter.segment(photo, "the cup", deadline_s=0)


def test_a_checkpoint_is_opened_by_its_folder_and_loaded_by_the_first_question(
    nano_settings: Settings,
) -> None:
    with open_segmenter(nano_settings) as segmenter:
        assert isinstance(segmenter, LocalSegmenter)
        assert segmenter.model.revision == "not loaded yet"
        result = segmenter.segment(GOLDEN / "images" / "tiny.png", "the cup", mode="mask_only")
        assert result.model == segmenter.model
        assert result.model.weights_sha256


@pytest.mark.parametrize(
    ("key", "device"),
    [
        ("llm.model.embed_tokens.weight", "cuda:0"),
        ("llm.model.layers.0.self_attn.q_proj.weight", "cuda:0"),
        ("llm.model.layers.1.mlp.up_proj.weight", "cuda:1"),
        ("llm.model.layers.10.mlp.up_proj.weight", "cuda:2"),
        ("llm.lm_head.weight", "cuda:2"),
        ("sam.mask_decoder.iou_token.weight", "cuda:0"),
        ("clip.pre_layrnorm.weight", "cuda:0"),
        ("mm_projector.bias", "cuda:0"),
    ],
)
def test_a_weight_goes_to_the_gpu_of_its_module(key: str, device: str) -> None:
    spread = DeviceMap(
        {
            "model.embed_tokens": 0,
            "model.layers.0": 0,
            "model.layers.1": 1,
            "model.layers.10": 2,
            "lm_head": 2,
        }
    )
    assert spread(key) == torch.device(device)


def test_a_map_of_the_whole_model_holds_for_every_weight() -> None:
    assert DeviceMap({"": 1})("llm.model.norm.weight") == torch.device("cuda:1")


def a_clip(folder: Path, **changed: int) -> Path:
    """A CLIP like the recorded one, but for these sizes, with zeros for weights."""
    config = json.loads((CLIP / "config.json").read_text("utf-8")) | changed
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    shapes = clip_shapes(clip_sizes(config))
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"hidden_size": 64}, "wants a CLIP of width 48, the one in 'clip' has 64"),
        ({"image_size": 336}, "256 patches of a picture, the one in 'clip' makes 576"),
    ],
)
def test_another_clip_than_the_checkpoints_is_refused_before_a_weight_is_read(
    nano_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, int],
    why: str,
) -> None:
    monkeypatch.setattr("lisa_tool.lisa.loading.iter_weights", lambda *_: pytest.fail("a weight was read"))
    other = a_clip(tmp_path / "clip", **changed)
    with pytest.raises(CheckpointInvalid, match=why) as refused:
        load_lisa(nano_settings.model_copy(update={"clip_path": other}), call())
    assert "LISA_CLIP_PATH" in refused.value.hint


def test_a_clip_of_the_right_sizes_is_loaded(nano_settings: Settings, tmp_path: Path) -> None:
    other = a_clip(tmp_path / "clip")
    assert load_lisa(nano_settings.model_copy(update={"clip_path": other}), call()).clip_size == 224
