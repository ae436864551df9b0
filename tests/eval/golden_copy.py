"""Copies of the committed recording that a test may change: a few cases of it, and a few files beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden"
CASE = "evaluate_n3_tiny_v1"
IMAGE = "tiny"
CLIP = "clip-vit-tiny-patch14"


def golden_copy(root: Path, cases: Sequence[str] = (CASE,), beside: Sequence[str] = ()) -> Path:
    """Copy these cases, the images they need and these files and folders; returns the recording's folder."""
    folder = root / "nano"
    shutil.copytree(GOLDEN / "nano" / "checkpoint", folder / "checkpoint")
    meta = json.loads((GOLDEN / "nano" / "meta.json").read_text("utf-8"))
    meta["cases"] = {name: meta["cases"][name] for name in cases}
    used = {image for case in meta["cases"].values() for image in case.get("images", [case.get("image")])}
    meta["images"] = {image: facts for image, facts in meta["images"].items() if image in used}
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")
    for name in (*(f"nano/{case}.safetensors" for case in cases), *(f"images/{image}.png" for image in used)):
        _copy(root, name)
    for name in (CLIP, *beside):
        _copy(root, name)
    return folder


def rewrite_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds in place."""
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def rewrite_tensors(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change what a safetensors file holds in place."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def _copy(root: Path, name: str) -> None:
    source, target = GOLDEN / name, root / name
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
