"""Read the constants and convolution strides of a frozen TensorFlow graph, without TensorFlow.

A frozen graph is a protobuf `GraphDef`; the few fields that matter here are read straight from the wire format.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# GraphDef.node = 1; NodeDef: name 1, op 2, input 3, attr 5 (a map: key 1, value 2).
# AttrValue: list 1 (its integers: 3), tensor 8. TensorProto: dtype 1, shape 2, content 4, float_val 5.
DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 3: np.dtype("<i4"), 9: np.dtype("<i8")}


@dataclass
class Node:
    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    attributes: dict[str, memoryview] = field(default_factory=dict)

    @property
    def strides(self) -> list[int]:
        """[1, vertical, horizontal, 1] of a convolution."""
        (integers,) = (value for number, value in _fields(self.attributes["strides"]) if number == 1)
        return list(next(value for number, value in _fields(integers) if number == 3))

    @property
    def tensor(self) -> NDArray[Any]:
        """The value of a Const."""
        (message,) = (value for number, value in _fields(self.attributes["value"]) if number == 8)
        dtype: np.dtype[Any] = np.dtype("<f4")
        shape: list[int] = []
        content, values = b"", []
        for number, value in _fields(message):
            if number == 1:
                dtype = DTYPES[value]
            elif number == 2:
                shape = [dict(_fields(dim)).get(1, 0) for n, dim in _fields(value) if n == 2]
            elif number == 4:
                content = bytes(value)
            elif number == 5:
                values.append(bytes(value))
        return np.frombuffer(content or b"".join(values), dtype).reshape(shape)


def read_graph(data: bytes) -> dict[str, Node]:
    """Every node of a serialised GraphDef by its name."""
    nodes = {}
    for number, message in _fields(memoryview(data)):
        if number != 1:
            continue
        node = Node()
        for part, value in _fields(message):
            if part == 1:
                node.name = bytes(value).decode()
            elif part == 2:
                node.op = bytes(value).decode()
            elif part == 3:
                node.inputs.append(bytes(value).decode())
            elif part == 5:
                entry = dict(_fields(value))
                node.attributes[bytes(entry[1]).decode()] = entry[2]
        nodes[node.name] = node
    return nodes


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a protobuf message: an int, or the bytes of everything else."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}[kind]
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
