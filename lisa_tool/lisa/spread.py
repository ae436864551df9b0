"""Share a language model among several GPUs: its parts in a row, vision on the first.

How the parts are dealt out is counted from the checkpoint's sizes (`memory.bytes_by_key`); accelerate carries
the tensors from one device to the next. Not run on more than one GPU by us: the tests deal parts out to GPUs
that are made up, and let accelerate carry between two names of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from accelerate import dispatch_model  # type: ignore[import-untyped]

from lisa_tool.errors import ModelTooLarge
from lisa_tool.lisa.checkpoint.keymap import to_module_key
from lisa_tool.lisa.config import LisaConfig
from lisa_tool.lisa.memory import MemoryNeed, bytes_by_key, check_fits, in_gib
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.precision import Policy

_VISION_FIRST = 0  # the GPU that holds CLIP, SAM and the projections


class DeviceMap:
    """Module of the language model -> device; what is not in it is on the first GPU."""

    def __init__(self, modules: Mapping[str, int | str]) -> None:
        self.modules = dict(modules)

    def __call__(self, key: str) -> torch.device:
        """The device of the weight under a key of `LisaModel`."""
        inner = key.removeprefix("llm.")
        if inner == key:
            return torch.device("cuda", _VISION_FIRST)
        owner = max((m for m in self.modules if f"{inner}.".startswith(f"{m}." if m else "")), key=len)
        return torch.device(self.modules[owner])


def device_map(config: LisaConfig, policy: Policy, need: MemoryNeed) -> DeviceMap:
    """Spread the language model over all GPUs by their free memory, the first ones filled first.

    need: of the whole model on one GPU. Each GPU keeps room for what it computes, and for a layer's keys and
    values where the layer is. Raises ModelTooLarge when all GPUs are too small together, or when the parts do
    not fit them in a row: nothing ever goes to main memory or to a disk.
    """
    free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    check_fits({policy.kept: need}, policy.kept, sum(free), f"{len(free)} GPUs", running=True)
    parts = _part_bytes(config, policy)
    room = [n_bytes - need.activations - need.runtime for n_bytes in free]
    room[_VISION_FIRST] -= need.weights - sum(parts.values())
    kv = need.kv // config.llama.n_layers
    modules = _in_a_row({name: n + kv if ".layers." in name else n for name, n in parts.items()}, room)
    if modules is None or room[_VISION_FIRST] < 0:
        raise ModelTooLarge(
            f"in {policy.kept} the model needs {in_gib(need.total)}, and its parts do not fit {len(free)} "
            f"GPUs one after another, of which {', '.join(map(in_gib, free))} are free"
        )
    return DeviceMap(modules)


def dispatch(model: LisaModel, device_of: Callable[[str], torch.device]) -> None:
    """Let the tensors follow the weights from device to device, when the model was spread."""
    if isinstance(device_of, DeviceMap):
        dispatch_model(model.llm, device_map=device_of.modules)


def _in_a_row(parts: Mapping[str, int], room: Sequence[int]) -> dict[str, int] | None:
    """Part -> GPU, in bytes both. Never back to an earlier GPU, as the parts run in this order."""
    placed: dict[str, int] = {}
    gpu, used = 0, 0
    for part, n_bytes in parts.items():
        while gpu < len(room) and used + n_bytes > room[gpu]:
            gpu, used = gpu + 1, 0
        if gpu == len(room):
            return None
        placed[part] = gpu
        used += n_bytes
    return placed


def _part_bytes(config: LisaConfig, policy: Policy) -> dict[str, int]:
    """What is never divided, in the order in which it runs -> the bytes of its weights on a GPU."""
    layers = [f"model.layers.{i}" for i in range(config.llama.n_layers)]
    parts = dict.fromkeys(["model.embed_tokens", "model.rotary_emb", *layers, "model.norm", "lm_head"], 0)
    kept = bytes_by_key(config, policy.kept, device="cuda", quantize_all=policy.quantize_all)
    for key, n_bytes in kept.items():
        ours = to_module_key(key) or ""
        if ours.startswith("llm."):
            inner = ours.removeprefix("llm.")
            parts[next(part for part in parts if inner.startswith(f"{part}."))] += n_bytes
    return parts
