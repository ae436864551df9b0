"""Folders like those that people bring: the recorded checkpoint, and what can be wrong with one."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lisa_tool.errors import Cancelled

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'lisa-tool[lisa]'")

GOLDEN = Path(__file__).parents[2] / "golden"
NANO = GOLDEN / "nano" / "checkpoint"
CLIP = GOLDEN / "clip-vit-tiny-patch14"
BIN = "pytorch_model.bin"

State = dict[str, Any]


@dataclass
class Waiting:
    """Someone who waits for `Work`: remembers what is told, and cancels when `until` says so."""

    until: Callable[[str, float], bool] = lambda stage, fraction: False
    told: list[tuple[str, float]] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    def tell(self, stage: str, fraction: float) -> None:
        self.told.append((stage, fraction))
        if self.until(stage, fraction):
            self.cancel.set()

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("the call was cancelled")

    @property
    def stages(self) -> set[str]:
        return {stage for stage, _ in self.told}


def copy_of(source: Path, target: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return target


def recorded_state() -> State:
    """The tensors of the recorded checkpoint."""
    state: State = torch.load(NANO / BIN, weights_only=True)
    return state


def with_state(folder: Path, state: State, *, n_shards: int = 1) -> Path:
    """Write the weights of a copy of the checkpoint anew, in several files with an index if so asked."""
    (folder / BIN).unlink()
    if n_shards == 1:
        torch.save(state, folder / BIN)
        return folder
    weight_map: dict[str, str] = {}
    for i in range(n_shards):
        name = f"pytorch_model-{i + 1:05}-of-{n_shards:05}.bin"
        keys = list(state)[i::n_shards]
        torch.save({key: state[key] for key in keys}, folder / name)
        weight_map |= dict.fromkeys(keys, name)
    edit_index(folder, lambda index: index.update(weight_map=weight_map))
    return folder


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change pytorch_model.bin.index.json, an empty one when there is none."""
    edit_json(folder / f"{BIN}.index.json", change)


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    value = json.loads(path.read_text("utf-8")) if path.exists() else {}
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def flip_a_bit(path: Path, at: float = 0.5) -> None:
    """Damage one byte, at a fraction of the file's length."""
    data = bytearray(path.read_bytes())
    data[math.floor(len(data) * at)] ^= 1
    path.write_bytes(data)


def cut(path: Path, n_bytes: int = 1000) -> None:
    """Take bytes off the end."""
    path.write_bytes(path.read_bytes()[:-n_bytes])
