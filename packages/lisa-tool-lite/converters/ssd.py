"""SSD-MobileNet-v2 (COCO): backbone and box predictors as ONNX, for any image size.

Anchors, box decoding and suppression stay in `lisa_tool.lite.detector`, so the same weights look at a photo at several
scales. "SAME" padding, as TensorFlow does it, needs no fixed size. Batch norms are folded into the convolutions.
"""

import onnx
from onnx import TensorProto

from converters.graph import Array, Graph, fold_batch_norm
from converters.tensorflow import Node, read_graph

BACKBONE = "FeatureExtractor/MobilenetV2"
# The extra feature levels after the backbone: (1x1 reduction, 3x3 stride 2) pairs.
EXTRA = [
    ("2_1x1_256", "2_3x3_s2_512"),
    ("3_1x1_128", "3_3x3_s2_256"),
    ("4_1x1_128", "4_3x3_s2_256"),
    ("5_1x1_64", "5_3x3_s2_128"),
]
CLASSES = 91  # background and COCO ids 1 to 90
SMALLEST_QUANTIZED = 131072  # smaller weights, where rounding hurts most, stay float16


def detector(frozen_graph: bytes) -> onnx.ModelProto:
    """In: image (n, height, width, 3) uint8 RGB. Out, with `anchors` over levels, rows, columns, then shapes:

    boxes (n, anchors, 4) float32, encoded (y, x, height, width); logits (n, anchors, 91), 0 is background.
    """
    return _Builder(read_graph(frozen_graph)).build()


class _Builder:
    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.g = Graph("ssd_mobilenet_v2_coco")

    def build(self) -> onnx.ModelProto:
        g = self.g
        x = g.op("Transpose", g.op("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        scale, offset = self._value("Preprocessor/mul/x"), self._value("Preprocessor/sub/y")
        x = g.op("Sub", g.op("Mul", x, g.floats(float(scale))), g.floats(float(offset)))
        x = self._conv(x, f"{BACKBONE}/Conv")
        levels = []
        for block in range(17):
            name = f"{BACKBONE}/expanded_conv_{block}" if block else f"{BACKBONE}/expanded_conv"
            wide = self._conv(x, f"{name}/expand") if block else x
            if block == 13:
                levels.append(wide)  # the finest level is the expansion inside this block, stride 16
            y = self._conv(wide, f"{name}/depthwise")
            y = self._conv(y, f"{name}/project", relu=False)
            x = g.op("Add", x, y) if f"{name}/add" in self.nodes else y
        x = self._conv(x, f"{BACKBONE}/Conv_1")
        levels.append(x)
        for reduction, halving in EXTRA:
            x = self._conv(x, f"{BACKBONE}/layer_19_1_Conv2d_{reduction}")
            x = self._conv(x, f"{BACKBONE}/layer_19_2_Conv2d_{halving}_depthwise")
            x = self._conv(x, f"{BACKBONE}/layer_19_2_Conv2d_{halving}")
            levels.append(x)
        heads = {"boxes": ("BoxEncodingPredictor", 4), "logits": ("ClassPredictor", CLASSES)}
        for output, (kind, width) in heads.items():
            parts = [self._head(x, f"BoxPredictor_{i}/{kind}", width) for i, x in enumerate(levels)]
            g.op("Concat", *parts, out=output, axis=1)
        return g.model(
            {"image": (TensorProto.UINT8, ["n", "height", "width", 3])},
            {
                "boxes": (TensorProto.FLOAT, ["n", "anchors", 4]),
                "logits": (TensorProto.FLOAT, ["n", "anchors", CLASSES]),
            },
        )

    def _conv(self, x: str, name: str, relu: bool = True) -> str:
        """Convolution, batch norm and ReLU6 of the layer `name`."""
        depthwise = f"{name}/depthwise_weights" in self.nodes
        node = self.nodes[f"{name}/depthwise" if depthwise else f"{name}/Conv2D"]
        weight = self._value(f"{name}/{'depthwise_' if depthwise else ''}weights")  # (height, width, in, out)
        weight = weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(3, 2, 0, 1)
        norm = f"{name}/BatchNorm"
        folded, bias = fold_batch_norm(
            weight,
            self._value(f"{norm}/gamma"),
            self._value(f"{norm}/beta"),
            self._value(f"{norm}/moving_mean"),
            self._value(f"{norm}/moving_variance"),
            float(self._value(f"{norm}/batchnorm/add/y")),
        )
        groups = len(weight) if depthwise else 1
        y = self._convolve(x, folded, bias, strides=node.strides[1:3], group=groups)
        return self.g.op("Clip", y, self.g.floats(0.0), self.g.floats(6.0)) if relu else y

    def _head(self, x: str, name: str, width: int) -> str:
        """(n, channels, h, w) features -> (n, h * w * anchors, width) predictions."""
        weight = self._value(f"{name}/weights").transpose(3, 2, 0, 1)
        y = self._convolve(x, weight, self._value(f"{name}/biases"), strides=[1, 1], group=1)
        y = self.g.op("Transpose", y, perm=[0, 2, 3, 1])
        return self.g.op("Reshape", y, self.g.ints([0, -1, width]))

    def _convolve(self, x: str, weight: Array, bias: Array, strides: list[int], group: int) -> str:
        g = self.g
        small = weight.size < SMALLEST_QUANTIZED or group > 1
        kept = g.half(weight) if small else g.int8(weight)
        return g.op(
            "Conv",
            x,
            kept,
            g.floats(bias),
            auto_pad="SAME_UPPER",
            strides=strides,
            group=group,
            kernel_shape=list(weight.shape[2:]),
        )

    def _value(self, name: str) -> Array:
        return self.nodes[name].tensor
