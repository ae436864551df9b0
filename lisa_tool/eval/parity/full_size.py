"""The keys of full-size checkpoints: a model of their size, built without memory, has those and no other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from lisa_tool.errors import CheckpointInvalid, CheckpointUnsupported
from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.recording import Recording, read_json
from lisa_tool.eval.random_model import clip_config
from lisa_tool.lisa.checkpoint.keymap import to_checkpoint_key, to_module_key
from lisa_tool.lisa.config import LisaConfig, lisa_config
from lisa_tool.lisa.model import LisaModel
from lisa_tool.lisa.published import CLIP_VIT_L_14
from lisa_tool.lisa.tensors import checkpoint_shapes

Shapes = Mapping[str, tuple[int, ...]]

_INV_FREQ = ".rotary_emb.inv_freq"
_PREFIX = "full_size_keys_"
_NAMED = 3


def full_size_cases(recording: Recording) -> Iterator[CaseReport]:
    """One case for each `full_size_keys_*.json` beside the folder."""
    paths = sorted(
        recording.folder.parent.glob(f"{_PREFIX}*.json"), key=lambda path: (len(path.name), path.name)
    )
    if not paths:
        yield CaseReport("full_size_keys", skipped=f"no {_PREFIX}*.json is beside the folder")
    for path in paths:
        yield _full_size(path)


def checkpoint_keys(model: LisaModel) -> dict[str, tuple[int, ...]]:
    """The shapes of what a checkpoint holds, by the model's own keys: all but CLIP."""
    state = model.state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.startswith("clip.")}


def n_checkpoint_parameters(model: LisaModel) -> int:
    """The numbers in those."""
    return sum(map(math.prod, checkpoint_keys(model).values()))


def _full_size(path: Path) -> CaseReport:
    report = CaseReport(path.stem)
    recorded = read_json(path, dict[str, tuple[int, ...]])
    computed = {key: shape for key, shape in recorded.items() if key.endswith(_INV_FREQ)}
    theirs = {key: shape for key, shape in recorded.items() if key not in computed}
    try:
        sizes = _sizes(theirs, computed)
    except (CheckpointInvalid, CheckpointUnsupported) as e:
        report.add("sizes", "keys", 1.0, e.message)
        return report
    with torch.device("meta"):
        model = LisaModel(sizes, clip_config(CLIP_VIT_L_14))
    ours = checkpoint_keys(model)
    _compare(report, "to the model's keys", ours, {_mapped(key): shape for key, shape in theirs.items()})
    _compare(report, "to the checkpoint's keys", {to_checkpoint_key(k): s for k, s in ours.items()}, theirs)
    _compare(report, "checkpoint_shapes", checkpoint_shapes(sizes), theirs)
    half_head = sizes.llama.hidden_size // sizes.llama.n_heads // 2
    layers = range(sizes.llama.n_layers)
    inv_freq = {f"model.layers.{i}.self_attn{_INV_FREQ}": (half_head,) for i in layers}
    _compare(report, "inv_freq", inv_freq, computed)
    report.n_parameters = n_checkpoint_parameters(model)
    return report


def _sizes(shapes: Shapes, computed: Shapes) -> LisaConfig:
    """As `lisa_config` reads them from a real checkpoint. Only inv_freq tells how wide a head is."""
    width = shapes.get("model.embed_tokens.weight", (0, 0))[-1]
    half_head = next(iter(computed.values()), (64,))[0]
    return lisa_config(
        {"num_attention_heads": width // (2 * half_head), "mm_vision_select_layer": -2}, shapes
    )


def _mapped(key: str) -> str:
    """The model's key; one that nobody knows stays, so that it is found to be too many."""
    try:
        return to_module_key(key) or key
    except KeyError:
        return key


def _compare(report: CaseReport, name: str, ours: Shapes, theirs: Shapes) -> None:
    wrong = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    shown = [f"{key} is {ours.get(key)}, recorded {theirs.get(key)}" for key in wrong[:_NAMED]]
    report.add(name, "keys", float(len(wrong)), "; ".join(shown))
