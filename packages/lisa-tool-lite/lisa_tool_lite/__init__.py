"""The weight files of lisa-tool's `lite` backend, and nothing else.

`weight_path("detector.onnx")` is the file; `manifest()` tells what it should be. The code that runs them is
`lisa_tool.lite`.
"""

import json
from functools import cache
from pathlib import Path
from typing import TypedDict

__all__ = ["Entry", "__version__", "manifest", "weight_path"]

__version__ = "0.1.0"

_HERE = Path(__file__).parent


class Entry(TypedDict):
    sha256: str
    bytes: int


@cache
def manifest() -> dict[str, Entry]:
    """File name -> sha256 (hex) and size of every weight file in this release."""
    entries: dict[str, Entry] = json.loads((_HERE / "manifest.json").read_text("utf-8"))
    return entries


def weight_path(name: str) -> Path:
    """Where the weight file `name` lies. KeyError when this release has no such file."""
    if name not in manifest():
        raise KeyError(f"no weight file {name!r}: there are {', '.join(sorted(manifest()))}")
    return _HERE / "weights" / name
