"""From settings to a model that is ready: find, convert, verify, check the room, build empty, fill, spread.

Each step is refused with a typed error before the next one costs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lisa_tool.engine.machine import memory
from lisa_tool.errors import BadSettings, CheckpointInvalid
from lisa_tool.lisa.checkpoint.clip_folder import ready_clip
from lisa_tool.lisa.checkpoint.find import Checkpoint, ready_checkpoint
from lisa_tool.lisa.checkpoint.library import Library
from lisa_tool.lisa.checkpoint.weights import (
    empty,
    iter_clip_weights,
    iter_weights,
    read_clip_sizes,
    read_sizes,
    set_weight,
)
from lisa_tool.lisa.checkpoint.work import Part, Work
from lisa_tool.lisa.clip import clip_image_size, clip_module_key
from lisa_tool.lisa.clip_sizes import LISA_N_PATCHES, ClipSizes
from lisa_tool.lisa.config import LisaConfig, read_config_json
from lisa_tool.lisa.memory import MemoryNeed, check_fits, memory_by_precision
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.precision import Policy, policy_for, quantized_linear
from lisa_tool.lisa.spread import device_map, dispatch
from lisa_tool.lisa.tokenizer import LisaTokenizer
from lisa_tool.results import ModelInfo
from lisa_tool.settings import Settings

DeviceOf = Callable[[str], torch.device]

_OTHER_CLIP = (
    "Name the folder of the CLIP that config.json of the checkpoint calls mm_vision_tower: LISA_CLIP_PATH."
)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that answers."""

    model: LisaModel
    tokenizer: LisaTokenizer
    policy: Policy
    info: ModelInfo

    @property
    def clip_size(self) -> int:
        """Side of the picture that CLIP looks at, in pixels."""
        return clip_image_size(self.model.clip)

    @property
    def sam_device(self) -> torch.device:
        """Where SAM's input goes."""
        weight: Tensor = self.model.sam.image_encoder.patch_embed.proj.weight
        return weight.device


def load_lisa(settings: Settings, work: Work) -> Loaded:
    """Load the checkpoint that `settings.model` names, a folder or a name on the hub.

    Raises a BackendError for what is wrong with it, ModelTooLarge before anything is loaded that would not
    fit, BadSettings, and what `work.check` raises.
    """
    library = Library(settings.weights_dir, settings.offline)
    checkpoint = ready_checkpoint(
        settings.model, library, revision=settings.revision, work=Part(work, 0.0, 0.4)
    )
    config, tokenizer = read_sizes(checkpoint.folder), LisaTokenizer.from_folder(checkpoint.folder)
    _check_vocabulary(tokenizer, config)
    clip_folder = ready_clip(checkpoint, settings.clip_path, library, Part(work, 0.4, 0.5))
    clip = read_clip_sizes(clip_folder)
    _check_clip(clip, config, clip_folder)
    device = pick_device(settings.device)
    policy = policy_for(settings.precision, device, quantize_all=settings.quantize_all)
    needs = memory_by_precision(
        config,
        clip,
        device="cuda" if device.type == "cuda" else "cpu",
        quantize_all=settings.quantize_all,
        limits=settings.limits,
    )
    clip_config = read_config_json(clip_folder / "config.json")
    model = empty(lambda: LisaModel(config, clip_config)).eval()
    where = _placed(config, needs, policy, device, spread=settings.device in ("auto", "cuda"))
    weights = chain(
        iter_weights(checkpoint.folder, Part(work, 0.5, 0.95)),
        iter_clip_weights(clip_folder, lambda key: clip_module_key(model.clip, key), Part(work, 0.95, 1.0)),
    )
    _fill(model, weights, policy, where)
    dispatch(model, where)
    return Loaded(model, tokenizer, policy, _info(settings, checkpoint, policy, device))


def pick_device(name: str) -> torch.device:
    """The device of a setting; `auto` is the first GPU, or the CPU. Raises BadSettings."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise BadSettings(
            f"there is no device {name!r}", "Set LISA_DEVICE to cpu, cuda, cuda:1 or auto."
        ) from e
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadSettings(
            "PyTorch sees no GPU here", "Set LISA_DEVICE=cpu, or install a CUDA build of torch and a driver."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadSettings(f"there is no device {name!r}, only {torch.cuda.device_count()} GPUs")
    if device.type not in ("cpu", "cuda"):
        raise BadSettings(f"lisa-tool does not run on {device.type!r}", "Set LISA_DEVICE to cpu or cuda.")
    return device


def _placed(
    config: LisaConfig, needs: Mapping[Any, MemoryNeed], policy: Policy, device: torch.device, *, spread: bool
) -> DeviceOf:
    """Where each weight goes. Several GPUs share the language model only when one has no room for it."""
    if device.type == "cpu":
        free = memory().available
        if free is not None:
            check_fits(needs, policy.kept, free, "main memory", running=True)
        return lambda key: device
    free, _ = torch.cuda.mem_get_info(device)
    need = needs[policy.kept]
    if spread and need.total - need.runtime > free and torch.cuda.device_count() > 1:
        return device_map(config, policy, need)
    check_fits(needs, policy.kept, free, torch.cuda.get_device_name(device), running=True)
    return lambda key: device


def _fill(
    model: LisaModel, weights: Iterator[tuple[str, Tensor]], policy: Policy, device_of: DeviceOf
) -> None:
    """Give the empty model all its weights, one at a time, in their type and place."""
    for key, tensor in weights:
        owner, _, name = key.rpartition(".")
        module, device = model.get_submodule(owner), device_of(key)
        if policy.quantizes(key, module, device):
            assert isinstance(module, nn.Linear)
            model.set_submodule(owner, quantized_linear(module, tensor, policy, device))
        else:
            set_weight(model, key, tensor.to(device, policy.dtype_of(key)))
    for key, buffer in list(model.named_buffers()):
        owner, _, name = key.rpartition(".")
        setattr(model.get_submodule(owner), name, buffer.to(device_of(key)))
    left = [name for name, tensor in model.state_dict().items() if tensor.is_meta]
    assert not left, f"no weight for {left[:3]}"


def _check_vocabulary(tokenizer: LisaTokenizer, config: LisaConfig) -> None:
    """Every id of the tokenizer has an embedding; there may be more, which training added as padding."""
    if tokenizer.vocab_size > config.llama.vocab_size:
        raise CheckpointInvalid(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {config.llama.vocab_size}"
        )


def _check_clip(clip: ClipSizes, config: LisaConfig, folder: Path) -> None:
    """It is the one that the checkpoint was trained with, as far as sizes tell.

    The model here would run with any number of patches. But the code that trains LISA counts on 256, so a
    CLIP with more (ViT-L/14 at 336 pixels has 576, and the same width) is another one: it would give masks,
    and wrong ones.
    """
    if clip.width != config.clip_width:
        raise CheckpointInvalid(
            f"the checkpoint wants a CLIP of width {config.clip_width}, the one in {folder.name!r} has "
            f"{clip.width}",
            _OTHER_CLIP,
        )
    if clip.n_patches != LISA_N_PATCHES:
        raise CheckpointInvalid(
            f"LISA wants a CLIP that makes {LISA_N_PATCHES} patches of a picture, the one in {folder.name!r} "
            f"makes {clip.n_patches}",
            _OTHER_CLIP,
        )
    if config.llama.max_positions <= clip.n_patches:
        raise CheckpointInvalid(
            f"config.json has max_position_embeddings = {config.llama.max_positions}, no room for the "
            f"{clip.n_patches} of a picture and a question"
        )


def _info(settings: Settings, checkpoint: Checkpoint, policy: Policy, device: torch.device) -> ModelInfo:
    on_gpu = device.type == "cuda"
    return ModelInfo(
        name=checkpoint.name,
        backend="lisa",
        revision=checkpoint.revision or "a folder, of no revision",
        weights_sha256=checkpoint.manifest.weights_sha256 if checkpoint.manifest else None,
        precision=policy.kept,
        device=f"{device} ({torch.cuda.get_device_name(device)})" if on_gpu else str(device),
        prompt_template=settings.prompt_template,
    )
