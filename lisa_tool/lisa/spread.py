"""Share a language model among several GPUs, by accelerate: layers in a row, vision on the first.

Not run on more than one GPU by us; the tests spread a model over parts of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from accelerate import dispatch_model, infer_auto_device_map  # type: ignore[import-untyped]

from lisa_tool.lisa.memory import MemoryNeed, check_fits
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.precision import Policy

_VISION_FIRST = 0  # the GPU that holds CLIP, SAM and the projections
_BYTES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}


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


def device_map(model: LisaModel, policy: Policy, need: MemoryNeed) -> DeviceMap:
    """Spread the layers over all GPUs by their free memory. Raises ModelTooLarge when all are too small."""
    free = {i: torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())}
    check_fits({policy.kept: need}, policy.kept, sum(free.values()), f"{len(free)} GPUs", running=True)
    free[_VISION_FIRST] -= need.activations + 2 * 2**30  # SAM and CLIP in 16 bit, and what they compute
    modules = infer_auto_device_map(
        model.llm,
        max_memory={i: max(n_bytes - need.runtime, 0) for i, n_bytes in free.items()},
        no_split_module_classes=["LlamaDecoderLayer"],
        dtype=_BYTES.get(policy.kept, torch.int8),
    )
    return DeviceMap(modules)


def dispatch(model: LisaModel, device_of: Callable[[str], torch.device]) -> None:
    """Let the tensors follow the weights from device to device, when the model was spread."""
    if isinstance(device_of, DeviceMap):
        dispatch_model(model.llm, device_map=device_of.modules)
