"""Each backend: whether it can work here, and if not why and what to do. Loads nothing, only looks."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lisa_tool.segmenter import names_a_checkpoint

_LITE_MODULES = {
    "cv2": "opencv-python-headless",
    "lisa_tool_lite": "lisa-tool-lite",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
}
_LISA_MODULES = {
    "accelerate": "accelerate",
    "cv2": "opencv-python-headless",
    "filelock": "filelock",
    "huggingface_hub": "huggingface-hub",
    "safetensors": "safetensors",
    "segment_anything": "segment-anything",
    "sentencepiece": "sentencepiece",
    "torch": "torch",
    "torchvision": "torchvision",  # segment_anything imports it
    "transformers": "transformers",
}
_QUANT_MODULES = {"bitsandbytes": "bitsandbytes"}
_INSTALL_LITE = "pip install 'lisa-tool[lite]'"
_INSTALL_LISA = "pip install 'lisa-tool[lisa]'"
_INSTALL_QUANT = "pip install 'lisa-tool[quant]'"
_REPAIR_LITE = "pip install --force-reinstall --no-deps lisa-tool-lite"
_LATER = "not in this version"


@dataclass(frozen=True)
class BackendCheck:
    """`status` says why it works or not; `remedy` is the command that helps, or adds what is missing."""

    name: str
    works: bool
    status: str
    remedy: str = ""


def all_backends() -> list[BackendCheck]:
    """Every backend of the design, the default first."""
    return [check_lite(), check_lisa(), BackendCheck("remote", False, _LATER)]


def backend_of(model: str) -> str | None:
    """The backend that `LISA_MODEL` asks for; None when it is neither a backend, a folder nor a hub name."""
    if model in ("lite", "remote"):
        return model
    return "lisa" if names_a_checkpoint(model) else None


def check_lite() -> BackendCheck:
    """The embedded default: its packages are there and its weights are what they should be."""
    missing = _missing(_LITE_MODULES)
    if missing:
        return BackendCheck("lite", False, f"not installed: {', '.join(missing)}", _INSTALL_LITE)
    import lisa_tool_lite

    try:
        expected = {name: entry["sha256"] for name, entry in lisa_tool_lite.manifest().items()}
        paths = {name: lisa_tool_lite.weight_path(name) for name in expected}
    except (OSError, ValueError, KeyError, TypeError) as e:
        return BackendCheck("lite", False, f"the list of its weight files cannot be read: {e}", _REPAIR_LITE)
    problems = damaged_files(paths, expected)
    if problems:
        return BackendCheck("lite", False, "; ".join(problems), _REPAIR_LITE)
    return BackendCheck("lite", True, f"works: {len(expected)} weight files, all with the right sha256")


def check_lisa() -> BackendCheck:
    """LISA checkpoints: their packages are there. torch is not imported, and no checkpoint is looked for."""
    missing = _missing(_LISA_MODULES)
    if missing:
        return BackendCheck("lisa", False, f"not installed: {', '.join(missing)}", _INSTALL_LISA)
    if _missing(_QUANT_MODULES):
        return BackendCheck(
            "lisa", True, "works, but int8 and nf4 need bitsandbytes, which is not installed", _INSTALL_QUANT
        )
    return BackendCheck("lisa", True, "works: every package is installed, bitsandbytes for int8 and nf4 too")


def damaged_files(paths: Mapping[str, Path], expected: Mapping[str, str]) -> list[str]:
    """A phrase for each file that is missing or whose sha256 differs."""
    problems = []
    for name, path in paths.items():
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as e:
            problems.append(f"weight file {name} cannot be read: {e.strerror}")
            continue
        if found != expected[name]:
            problems.append(
                f"weight file {name} is damaged: its sha256 is {found[:12]}, not {expected[name][:12]}"
            )
    return problems


def _missing(modules: Mapping[str, str]) -> list[str]:
    """The packages whose module is not there."""
    return [package for module, package in modules.items() if importlib.util.find_spec(module) is None]
