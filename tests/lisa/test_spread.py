"""A model for several GPUs, which are made up: where its parts go, and that they still work together."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from lisa_tool.engine.call import Call
from lisa_tool.errors import ModelTooLarge
from lisa_tool.lisa.clip_sizes import clip_sizes
from lisa_tool.lisa.config import read_config_json
from lisa_tool.lisa.loading import load_lisa
from lisa_tool.lisa.memory import GIB, MemoryNeed, Precision, memory_needed
from lisa_tool.lisa.precision import Policy
from lisa_tool.lisa.published import CLIP_VIT_L_14, LISA_13B
from lisa_tool.lisa.spread import DeviceMap, device_map, dispatch
from lisa_tool.settings import Settings
from tests.lisa.conftest import CLIP

LAYER_OF_13B = 4 * 5120**2 + 3 * 5120 * 13_824  # its matrices, in numbers


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The free bytes of each GPU, to be filled."""
    free: list[int] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(free))
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda i: (free[i], 80 * GIB))
    return free


def need_of_13b(precision: Precision) -> MemoryNeed:
    return memory_needed(LISA_13B, CLIP_VIT_L_14, precision)


def spread_13b(precision: Precision) -> DeviceMap:
    return device_map(LISA_13B, Policy(precision, torch.bfloat16), need_of_13b(precision))


def test_the_parts_lie_in_the_order_in_which_they_run_and_each_gpu_has_room_for_its_own(
    gpus: list[int],
) -> None:
    gpus += [22 * GIB, 12 * GIB]
    modules = spread_13b("bf16").modules
    layers = [modules[f"model.layers.{i}"] for i in range(40)]
    assert layers == sorted(layers)
    assert (modules["model.embed_tokens"], modules["lm_head"]) == (0, 1)
    for gpu, n_layers in Counter(layers).items():
        assert n_layers * LAYER_OF_13B * 2 < gpus[int(gpu)] - need_of_13b("bf16").activations
    assert layers.count(0) > layers.count(1)


def test_nf4_is_counted_as_half_a_byte_and_what_stays_in_16_bit_as_two(gpus: list[int]) -> None:
    gpus += [8 * GIB, 6 * GIB]  # all in int8 would need 13 GB for the language model alone
    modules = spread_13b("nf4").modules
    assert set(modules.values()) == {0, 1}
    need = need_of_13b("nf4")
    # The first GPU is full to less than a layer: vision, the embeddings in 16 bit, its layers in half a byte.
    on_first = [name for name, gpu in modules.items() if gpu == 0 and ".layers." in name]
    layers = len(on_first) * (LAYER_OF_13B * 0.516 + need.kv / 40)
    vision = need.weights - 40 * LAYER_OF_13B * 0.516 - 2 * 2 * 32_003 * 5120
    left = gpus[0] - need.activations - need.runtime - vision - 2 * 32_003 * 5120 - layers
    assert -0.02 * GIB < left < LAYER_OF_13B * 0.53 + need.kv / 40


@pytest.mark.parametrize(
    "free_of_need", [(0.9, 0.02, 0.02, 0.02, 0.02, 0.02), (0.02, 0.98)], ids=["crumbs", "vision homeless"]
)
def test_what_does_not_fit_in_a_row_is_refused_and_goes_to_no_disk(
    gpus: list[int], free_of_need: tuple[float, ...]
) -> None:
    gpus += [int(part * need_of_13b("bf16").total) for part in free_of_need]
    with pytest.raises(ModelTooLarge, match="one after another") as refused:
        spread_13b("bf16")
    assert refused.value.hint


def test_what_all_gpus_together_cannot_hold_is_refused(gpus: list[int]) -> None:
    gpus += [8 * GIB, 8 * GIB]
    with pytest.raises(ModelTooLarge, match="2 GPUs has room"):
        spread_13b("bf16")


@pytest.mark.parametrize("first", [1, 2, 3])
def test_parts_that_accelerate_joins_compute_what_the_whole_does(
    gpus: list[int], nano_settings: Settings, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    loaded = load_lisa(nano_settings, Call.start(deadline_s=600))
    model, config = loaded.model, loaded.model.config
    ids = loaded.tokenizer.encode("USER: What keeps her dry? ASSISTANT:")
    whole = model.step(model.embed_prompt(ids, None))
    need = memory_needed(config, clip_sizes(read_config_json(CLIP / "config.json")), "fp32")
    gpus += [need.total * 2] * 2
    modules = device_map(config, Policy("fp32", torch.float32), need).modules
    assert set(modules.values()) == {0}
    # Two names of the CPU stand for two GPUs, from layer `first` on the second. All weights lie where they
    # belong, as on GPUs, but a tensor of the CPU does not say so.
    monkeypatch.setattr("accelerate.hooks.set_module_tensor_to_device", lambda *_, **__: None)
    names = list(modules)
    second = names[names.index("model.layers.0") + first :]
    dispatch(model, DeviceMap({name: "cpu:1" if name in second else "cpu:0" for name in names}))
    assert str(model.llm.lm_head._hf_hook.execution_device) == "cpu:1"
    parts = model.step(model.embed_prompt(ids, None))
    assert torch.equal(parts.logits, whole.logits)
    assert torch.equal(parts.hidden, whole.hidden)
