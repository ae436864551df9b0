"""Write ONNX graphs by hand, with weights stored small and computed in float32.

A weight is kept as float16, or as int8 with a scale for every 32, followed by the `Cast` (and `Mul`) that turns it into
float32. onnxruntime folds these at load, so a stored-small model runs as fast as a float32 one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17  # has LayerNormalization; onnxruntime >= 1.12 reads it
IR_VERSION = 8
GROUP = 32  # int8 weights that share a scale
FLOAT = TensorProto.FLOAT

Array = NDArray[Any]


class Graph:
    """Collects nodes and constants; every method returns the name of the value that it made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        out = out or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def const(self, array: Array) -> str:
        """Keep `array` exactly as it is."""
        name = f"const_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def floats(self, values: Array | float) -> str:
        return self.const(np.asarray(values, np.float32))

    def ints(self, values: Sequence[int]) -> str:
        return self.const(np.asarray(values, np.int64))

    def half(self, array: Array) -> str:
        """Keep `array` as float16, give it as float32."""
        return self.op("Cast", self.const(array.astype(np.float16)), to=FLOAT)

    def int8(self, array: Array) -> str:
        """Keep `array` as int8 with a float16 scale for each group of weights (see `quantize`), give it as float32."""
        codes, scale = quantize(array)
        wide = self.op("Cast", self.const(codes), to=FLOAT)
        exact = self.op("Mul", wide, self.op("Cast", self.const(scale), to=FLOAT))
        return self.op("Reshape", exact, self.ints(array.shape))

    def model(
        self,
        inputs: dict[str, tuple[int, Sequence[int | str]]],
        outputs: dict[str, tuple[int, Sequence[int | str]]],
    ) -> onnx.ModelProto:
        """inputs, outputs: name -> (element type, shape); a string in a shape is a dynamic axis."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(k, kind, shape) for k, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(k, kind, shape) for k, (kind, shape) in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lisa-tool")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model


def quantize(array: Array) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Round `array` to int8, symmetric, in groups of at most 32 neighbours within one output channel (axis 0).

    Of 16 clipping points between 70% and 100% of the largest value, each group takes the one with the smallest squared
    error. Returns codes (channels, groups, group) and scale (channels, groups, 1).
    """
    a_channel = array.size // len(array)
    group = next(size for size in range(GROUP, 0, -1) if a_channel % size == 0)
    exact = array.astype(np.float64).reshape(len(array), -1, group)
    largest = np.maximum(np.abs(exact).max(2, keepdims=True), 1e-4)
    best_error = np.full(largest.shape, np.inf)
    best_scale = np.zeros_like(largest)
    for share in np.linspace(0.7, 1.0, 16):
        scale = (largest * share / 127).astype(np.float16).astype(np.float64)
        error = ((_round(exact, scale) * scale - exact) ** 2).sum(2, keepdims=True)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
    return _round(exact, best_scale).astype(np.int8), best_scale.astype(np.float16)


def _round(exact: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(exact / scale), -127, 127)


def fold_batch_norm(
    weight: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array]:
    """Merge a batch norm into the convolution before it.

    weight: (out, in, height, width). Returns the new weight and the bias (out,), float64.
    """
    factor = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return weight * factor[:, None, None, None], beta - mean * factor
