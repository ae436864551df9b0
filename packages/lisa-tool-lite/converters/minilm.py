"""all-MiniLM-L6-v2 (BERT, 6 layers, 384 wide) as one ONNX graph, mean pooling and unit length included."""

import numpy as np
import onnx
from onnx import TensorProto

from converters.graph import Array, Graph, quantize

LAYERS, WIDTH, HEADS = 6, 384, 12
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
MASKED = -10000.0  # added to the attention score of a padding token


def sentence_encoder(weights: dict[str, Array]) -> onnx.ModelProto:
    """In: input_ids, attention_mask (n, length) int64. Out: embedding (n, 384) float32, rows of length 1."""
    return _Builder(weights).build()


class _Builder:
    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self.g = Graph("all_minilm_l6_v2")

    def build(self) -> onnx.ModelProto:
        g = self.g
        mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)  # (n, length)
        x = self._embed()
        penalty = g.op("Mul", g.op("Sub", g.floats(1.0), mask), g.floats(MASKED))
        penalty = g.op("Unsqueeze", penalty, g.ints([1, 2]))  # (n, 1, 1, length)
        for layer in range(LAYERS):
            x = self._layer(x, penalty, f"encoder.layer.{layer}")
        weight = g.op("Unsqueeze", mask, g.ints([2]))  # (n, length, 1)
        total = g.op("ReduceSum", g.op("Mul", x, weight), g.ints([1]), keepdims=0)
        mean = g.op("Div", total, g.op("Max", g.op("ReduceSum", mask, g.ints([1]), keepdims=1), g.floats(1e-9)))
        length = g.op("ReduceL2", mean, axes=[1], keepdims=1)
        g.op("Div", mean, g.op("Max", length, g.floats(1e-12)), out="embedding")
        ids = (TensorProto.INT64, ["n", "length"])
        return g.model({"input_ids": ids, "attention_mask": ids}, {"embedding": (TensorProto.FLOAT, ["n", WIDTH])})

    def _embed(self) -> str:
        """Word, position and type embeddings, normalised. Every token is of type 0."""
        g = self.g
        words = self._rows("embeddings.word_embeddings.weight", "input_ids")
        start, one = g.const(np.array(0)), g.const(np.array(1))
        length = g.op("Gather", g.op("Shape", "input_ids"), g.const(np.array(1)), axis=0)
        positions = self._rows("embeddings.position_embeddings.weight", g.op("Range", start, length, one))
        kind = g.floats(self.weights["embeddings.token_type_embeddings.weight"][0])
        return self._norm(g.op("Add", words, g.op("Add", positions, kind)), "embeddings.LayerNorm")

    def _rows(self, name: str, ids: str) -> str:
        """Look up int8 rows and scale only those: the table is never widened to float32."""
        g = self.g
        codes, scale = quantize(self.weights[name])  # (rows, groups, 32), (rows, groups, 1)
        some_codes, some_scales = (
            g.op("Cast", g.op("Gather", g.const(table), ids, axis=0), to=TensorProto.FLOAT) for table in (codes, scale)
        )
        leading = g.op("Shape", ids)
        return g.op("Reshape", g.op("Mul", some_codes, some_scales), g.op("Concat", leading, g.ints([WIDTH]), axis=0))

    def _layer(self, x: str, penalty: str, name: str) -> str:
        g = self.g
        attention = f"{name}.attention"
        query, key, value = (self._heads(x, f"{attention}.self.{part}") for part in ("query", "key", "value"))
        scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))  # (n, heads, length, length)
        scores = g.op("Add", g.op("Mul", scores, g.floats(HEAD_WIDTH**-0.5)), penalty)
        mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), value)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints([0, 0, WIDTH]))
        mixed = self._linear(mixed, f"{attention}.output.dense")
        x = self._norm(g.op("Add", mixed, x), f"{attention}.output.LayerNorm")
        y = self._gelu(self._linear(x, f"{name}.intermediate.dense"))
        y = self._linear(y, f"{name}.output.dense")
        return self._norm(g.op("Add", y, x), f"{name}.output.LayerNorm")

    def _heads(self, x: str, name: str) -> str:
        """(n, length, 384) -> (n, heads, length, 32)."""
        split = self.g.op("Reshape", self._linear(x, name), self.g.ints([0, 0, HEADS, HEAD_WIDTH]))
        return self.g.op("Transpose", split, perm=[0, 2, 1, 3])

    def _linear(self, x: str, name: str) -> str:
        weight = self.g.op("Transpose", self.g.int8(self.weights[f"{name}.weight"]), perm=[1, 0])  # (in, out)
        return self.g.op("Add", self.g.op("MatMul", x, weight), self.g.floats(self.weights[f"{name}.bias"]))

    def _gelu(self, x: str) -> str:
        g = self.g
        erf = g.op("Erf", g.op("Div", x, g.floats(2**0.5)))
        return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.floats(1.0))), g.floats(0.5))

    def _norm(self, x: str, name: str) -> str:
        scale, bias = (self.g.floats(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)
