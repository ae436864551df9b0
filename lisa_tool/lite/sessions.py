"""Open a weight file of `lisa-tool-lite` as an onnxruntime session.

Files are checked by size here, which catches a cut download in no time; the sha256 is compared when a file
cannot be read, and by `lisa-tool doctor`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lisa_tool.errors import MissingExtra, WeightsCorrupt

try:
    import onnxruntime  # type: ignore[import-untyped]
except ImportError as e:
    raise MissingExtra("the `lite` backend needs onnxruntime: pip install 'lisa-tool[lite]'") from e

MAX_THREADS = 4

Array = NDArray[Any]


class Session:
    """A loaded network: named arrays in, arrays out. Safe to call from several threads."""

    def __init__(self, weights: str) -> None:
        """weights: name of a weight file, such as "detector.onnx"."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, MAX_THREADS)
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # gives 200 MB back after an image is encoded, and costs no time
        options.log_severity_level = 3  # errors only: stderr belongs to the caller
        # Several networks take turns on the same cores: spinning threads of one would slow the next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(weights_file(weights))
        with damage_reported(weights):
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, outputs: list[str], inputs: dict[str, Array]) -> list[Array]:
        """The values of `outputs`, in that order."""
        values: list[Array] = self._session.run(outputs, inputs)
        return values


def weights_file(name: str) -> Path:
    """The path of a weight file, after a look at its size."""
    try:
        import lisa_tool_lite
    except ImportError as e:
        raise MissingExtra("the `lite` backend needs its weights: pip install 'lisa-tool[lite]'") from e
    path = lisa_tool_lite.weight_path(name)
    expected = lisa_tool_lite.manifest()[name]["bytes"]
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise WeightsCorrupt(f"weight file {name!r} has {found} bytes instead of {expected}")
    return path


@contextmanager
def damage_reported(name: str) -> Iterator[None]:
    """Reading a weight file: what goes wrong is WeightsCorrupt when the file's sha256 is wrong."""
    try:
        yield
    except Exception as e:  # onnxruntime, tokenizers and zipfile have no error in common
        path = weights_file(name)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        import lisa_tool_lite

        if found == lisa_tool_lite.manifest()[name]["sha256"]:
            raise
        raise WeightsCorrupt(f"weight file {name!r} is damaged: it cannot be read") from e
