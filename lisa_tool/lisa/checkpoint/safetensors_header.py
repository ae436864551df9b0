"""What a safetensors file holds, read from its header alone: names, types and shapes, without torch.

A safetensors file is a length (8 bytes, little endian), so many bytes of JSON, and the data without gaps.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lisa_tool.errors import WeightsCorrupt
from lisa_tool.lisa.checkpoint.files import DOWNLOAD_AGAIN

MAX_HEADER_BYTES = 16 * 2**20
"""The largest header that is read; a LISA 13B in one file has 130 kB."""

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor on disk; `dtype` as safetensors names it, such as BF16."""

    dtype: str
    shape: tuple[int, ...]
    n_bytes: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Name -> type and shape of every tensor in the file. Raises WeightsCorrupt.

    The sizes add up to the file's, so one that is cut off is found here.
    """
    size = os.stat(path).st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, MAX_HEADER_BYTES):
            raise _corrupt(path, f"its header claims {length} bytes of {size}")
        header = file.read(length)
    try:
        entries = json.loads(header)
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise _corrupt(path, f"its header cannot be read: {reprlib.repr(str(e))}") from e
    n_bytes = sum(tensor.n_bytes for tensor in tensors.values())
    if 8 + length + n_bytes != size:
        raise _corrupt(path, f"it has {size} bytes where its header calls for {8 + length + n_bytes}")
    return tensors


def _tensor(entry: Mapping[str, Any]) -> TensorInfo:
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, end)):
        raise ValueError("a size is not a whole number")
    n_bytes = math.prod(shape) * _BYTES[dtype]
    if end - start != n_bytes:
        raise ValueError(f"{dtype} {shape} does not take {end - start} bytes")
    return TensorInfo(dtype, tuple(shape), n_bytes)


def _corrupt(path: Path, why: str) -> WeightsCorrupt:
    return WeightsCorrupt(f"{path.name} is cut off or damaged: {why}", DOWNLOAD_AGAIN)
