"""EfficientNet-lite2 (ImageNet-1k) as a fully convolutional ONNX graph, for any image size.

The classifier is applied at every position before the average: the mean of the dense logits is the ordinary logits,
so class activation maps cost nothing more.
"""

import onnx
from onnx import TensorProto

from converters.graph import Array, Graph, fold_batch_norm

EPSILON = 1e-3  # of the batch norms, as in the TensorFlow original
CLASSES = 1000
# (blocks, stride of the first) of the seven stages.
STAGES = [(1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1)]
SMALLEST_QUANTIZED = 131072  # smaller weights, where rounding hurts most, stay float16


def classifier(weights: dict[str, Array]) -> onnx.ModelProto:
    """In: image (n, height, width, 3) uint8 RGB. Out: logits (n, 1000); dense_logits (n, 1000, h, w), stride 32."""
    return _Builder(weights).build()


class _Builder:
    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self.g = Graph("efficientnet_lite2")

    def build(self) -> onnx.ModelProto:
        g = self.g
        x = g.op("Transpose", g.op("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        x = g.op("Div", g.op("Sub", x, g.floats(127.0)), g.floats(128.0))
        x = self._conv(x, "_conv_stem", "_bn0", stride=2)
        strides = [stride if i == 0 else 1 for blocks, stride in STAGES for i in range(blocks)]
        for block, stride in enumerate(strides):
            x = self._block(x, f"_blocks.{block}", stride)
        x = self._conv(x, "_conv_head", "_bn1")
        head = self.weights["_fc.weight"][:, :, None, None]
        g.op("Conv", x, g.int8(head), g.floats(self.weights["_fc.bias"]), out="dense_logits", kernel_shape=[1, 1])
        g.op("ReduceMean", "dense_logits", out="logits", axes=[2, 3], keepdims=0)
        return g.model(
            {"image": (TensorProto.UINT8, ["n", "height", "width", 3])},
            {
                "logits": (TensorProto.FLOAT, ["n", CLASSES]),
                "dense_logits": (TensorProto.FLOAT, ["n", CLASSES, "h", "w"]),
            },
        )

    def _block(self, x: str, name: str, stride: int) -> str:
        """Widen, filter each channel, narrow; added to the input where the shapes agree."""
        wide = x
        if f"{name}._expand_conv.weight" in self.weights:
            wide = self._conv(x, f"{name}._expand_conv", f"{name}._bn0")
        y = self._conv(wide, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        y = self._conv(y, f"{name}._project_conv", f"{name}._bn2", relu=False)
        first = self.weights.get(f"{name}._expand_conv.weight", self.weights[f"{name}._depthwise_conv.weight"])
        entering = first.shape[1] if first.shape[2] == 1 else first.shape[0]
        leaving = len(self.weights[f"{name}._project_conv.weight"])
        return self.g.op("Add", x, y) if stride == 1 and entering == leaving else y

    def _conv(self, x: str, name: str, norm: str, stride: int = 1, relu: bool = True) -> str:
        g = self.g
        weight, bias = fold_batch_norm(
            self.weights[f"{name}.weight"],
            self.weights[f"{norm}.weight"],
            self.weights[f"{norm}.bias"],
            self.weights[f"{norm}.running_mean"],
            self.weights[f"{norm}.running_var"],
            EPSILON,
        )
        depthwise = weight.shape[1] == 1
        kept = g.half(weight) if depthwise or weight.size < SMALLEST_QUANTIZED else g.int8(weight)
        y = g.op(
            "Conv",
            x,
            kept,
            g.floats(bias),
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            group=len(weight) if depthwise else 1,
            kernel_shape=list(weight.shape[2:]),
        )
        return g.op("Clip", y, g.floats(0.0), g.floats(6.0)) if relu else y
