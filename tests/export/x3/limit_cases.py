"""One-node models on either side of each BPU limit: (nodes, constants, shape of the input x)."""

from __future__ import annotations

import numpy as np

from tests.export.small_models import node, normal


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def conv_case(weights, shape=(1, 8, 20, 20), **attributes):
    return [node("Conv", "x w", **attributes)], {"w": zeros(*weights)}, shape


def transposed(kernel, stride, pads=(0, 0, 0, 0), dilation=1, channels=4):
    size = [kernel, kernel]
    attributes = {"strides": list(stride), "pads": list(pads), "dilations": [dilation] * 2}
    nodes = [node("ConvTranspose", "x w", kernel_shape=size, **attributes)]
    return nodes, {"w": zeros(channels, 4, kernel, kernel)}, (1, channels, 9, 9)


def unary(op, shape, **attributes):
    return [node(op, "x", **attributes)], {}, shape


def with_constant(op, shape, constant):
    return [node(op, "x c")], {"c": constant}, shape


def resize(scales, mode="nearest", coordinates="asymmetric", shape=(1, 4, 8, 8)):
    constants = {"roi": zeros(0), "scales": np.array(scales, np.float32)}
    nodes = [node("Resize", "x roi scales", mode=mode, coordinate_transformation_mode=coordinates)]
    return nodes, constants, shape


def reduce_mean(axes, shape=(1, 4, 8, 8), keepdims=1):
    return [node("ReduceMean", "x", axes=axes, keepdims=keepdims)], {}, shape


def pad(pads, mode="constant", shape=(1, 4, 8, 8)):
    return [node("Pad", "x pads", mode=mode)], {"pads": ints(*pads)}, shape


def gemm(rows, columns, flatten=None):
    """A Gemm that reads x as (rows, columns), or the flattening of x of shape ``flatten``."""
    if flatten is not None:
        size = int(np.prod(flatten))
        nodes = [node("Flatten", "x", "f"), node("Gemm", "f w")]
        return nodes, {"w": zeros(size, 2)}, (1, *flatten)
    return [node("Gemm", "x w")], {"w": zeros(columns, 2)}, (rows, columns)


def upsample(scales, mode="nearest"):
    constants = {"scales": np.array(scales, np.float32)}
    return [node("Upsample", "x scales", mode=mode)], constants, (1, 4, 8, 8)


def lstm(batch):
    """Five steps of three values, two hidden ones."""
    constants = {"w": normal(1, 8, 3), "r": normal(1, 8, 2)}
    return [node("LSTM", "x w r", hidden_size=2)], constants, (5, batch, 3)


KEPT = {
    "conv kernel 7": conv_case((4, 8, 7, 7)),
    "conv 4096 channels": conv_case((4, 4096, 1, 1), (1, 4096, 2, 2)),
    "conv 2048 grouped": conv_case((4, 2048, 1, 1), (1, 4096, 2, 2), group=2),
    "conv volume 32768": conv_case((1, 2048, 4, 4), (1, 2048, 4, 4)),
    "conv dilation 4": conv_case((4, 8, 3, 3), dilations=[4, 4]),
    "conv dilation over stride": conv_case((4, 8, 3, 3), dilations=[4, 4], strides=[2, 2]),
    "conv dilation w above h": conv_case((4, 8, 3, 3), dilations=[2, 4]),
    "conv any stride": conv_case((4, 8, 3, 3), strides=[5, 3]),
    "depthwise 4096": conv_case((4096, 1, 3, 3), (1, 4096, 4, 4), group=4096),
    "transposed 2/2": transposed(2, (2, 2)),
    "transposed 14/4": transposed(14, (4, 4)),
    "transposed pad": transposed(5, (2, 4), pads=(2, 2, 2, 2)),
    "sigmoid 8192 by 8W4C": unary("Sigmoid", (1, 1, 64, 32)),
    "sigmoid 8192 by 32C": unary("Sigmoid", (1, 256, 32, 1)),
    "sigmoid of a gate": unary("Sigmoid", (1, 2048, 1, 1)),
    "tanh 8192": unary("Tanh", (1, 8, 32, 32)),
    "global average 8192": unary("GlobalAveragePool", (1, 4, 64, 128)),
    "reduce mean": reduce_mean([2, 3]),
    "reduce mean negative": reduce_mean([-1, -2]),
    "average pool 7": unary("AveragePool", (1, 4, 14, 14), kernel_shape=[7, 7], strides=[7, 7]),
    "average stride 185": unary(
        "AveragePool", (1, 1, 190, 190), kernel_shape=[2, 2], strides=[185, 185]
    ),
    "gemm 16384": gemm(1, 16384),
    "gemm 7x7": gemm(0, 0, (512, 7, 7)),
    "gemm rows": gemm(128, 64),
    "mul channel vector": with_constant("Mul", (1, 4, 8, 8), normal(1, 4, 1, 1)),
    "mul scalar": with_constant("Mul", (1, 4, 8, 8), normal(1, 1, 1, 1)),
    "add constant map": with_constant("Add", (1, 4, 8, 8), normal(1, 4, 8, 8)),
    "pow": with_constant("Pow", (1, 4, 8, 8), np.array(2.0, np.float32)),
    "resize nearest": resize([1, 1, 2, 4]),
    "resize linear": resize([1, 1, 3, 3], mode="linear", coordinates="half_pixel"),
    "max pool 64": unary("MaxPool", (1, 1, 70, 70), kernel_shape=[64, 1], strides=[1, 185]),
    "global max 1024": unary("GlobalMaxPool", (1, 1, 2, 1024)),
    "softplus 8192": unary("Softplus", (1, 8, 32, 32)),
    "pad": pad((0, 0, 1, 1, 0, 0, 1, 1)),
    "argmax 64": unary("ArgMax", (1, 64, 4, 4), axis=1),
    "depth to space": unary("DepthToSpace", (1, 8, 4, 4), blocksize=2),
    "upsample": upsample([1, 1, 2, 4]),
    "lstm": lstm(1),
    "batch 128": unary("Exp", (128, 4, 2, 2)),
}  # fmt: skip

BROKEN = {
    "conv kernel 8": (conv_case((4, 8, 8, 7)), "kernel is 8, allowed 1 to 7"),
    "conv 4097 channels": (
        conv_case((4, 4097, 1, 1), (1, 4097, 2, 2)),
        "group channels is 4097, allowed at most 4096",
    ),
    "conv 4097 outputs": (conv_case((4097, 8, 1, 1)), "group channels is 4097"),
    "conv 2049 grouped": (
        conv_case((4, 2049, 1, 1), (1, 4098, 2, 2), group=2),
        "group channels is 2049, allowed at most 2048",
    ),
    "conv 2049 dilated": (
        conv_case((4, 2049, 3, 3), (1, 2049, 6, 6), dilations=[2, 2]),
        "group channels is 2049",
    ),
    "conv volume": (
        conv_case((1, 2049, 4, 4), (1, 2049, 4, 4)),
        "kernel volume is 32784, allowed at most 32768",
    ),
    "conv dilation 3": (
        conv_case((4, 8, 3, 3), dilations=[3, 3]),
        "dilation is 3, allowed a power of two",
    ),
    "conv dilation 2 over stride 4": (
        conv_case((4, 8, 3, 3), dilations=[2, 2], strides=[4, 4]),
        "dilation modulo stride is 2",
    ),
    "conv dilation h above w": (
        conv_case((4, 8, 3, 3), dilations=[4, 2]),
        "dilation h over w is 2, allowed at most 1",
    ),
    "transposed kernel 1": (transposed(1, (2, 2)), "kernel is 1, allowed 2 to 14"),
    "transposed stride 3": (transposed(5, (3, 3)), "stride is 3, allowed 2 or 4"),
    "transposed stride h above w": (transposed(5, (4, 2)), "stride h over w is 2"),
    "transposed pad": (
        transposed(4, (2, 2), pads=(2, 2, 2, 2)),
        "padding beyond half the kernel is 0.5",
    ),
    "transposed dilation": (transposed(3, (2, 2), dilation=2), "dilation is 2, allowed 1"),
    "transposed channels": (transposed(2, (2, 2), channels=2049), "group channels is 2049"),
    "sigmoid map": (
        unary("Sigmoid", (1, 256, 64, 32)),
        "smaller aligned size is 524288, allowed at most 8192",
    ),
    # 8W4C: 8 * 65 * 32 = 16640; 32C: 32 * 65 * 32 = 66560.
    "sigmoid aligned up": (
        unary("Sigmoid", (1, 5, 65, 32)),
        "smaller aligned size is 16640",
    ),
    "tanh": (unary("Tanh", (1, 8, 32, 33)), "C x H x W is 8448, allowed at most 8192"),
    "global average": (unary("GlobalAveragePool", (1, 4, 64, 129)), "H x W is 8256"),
    "reduce mean over C": (reduce_mean([1]), "axes is 1, allowed 2,3"),
    "average pool 8": (
        unary("AveragePool", (1, 4, 14, 14), kernel_shape=[8, 8]),
        "kernel is 8, allowed 1 to 7",
    ),
    "average stride": (
        unary("AveragePool", (1, 1, 190, 190), kernel_shape=[2, 2], strides=[186, 186]),
        "stride is 186, allowed 1 to 185",
    ),
    "softmax": (unary("Softmax", (1, 4, 8, 8), axis=1), "run_on_bpu"),
    "gemm 16385": (gemm(1, 16385), "map channels is 16385, allowed at most 16384"),
    "gemm 8x8": (gemm(0, 0, (64, 8, 8)), "map height and width is 8, allowed at most 7"),
    # 7 * 7 / 8 * 1400 / 4 = 2143.75, and 7 * 7 * 1400 = 68600
    "gemm size": (
        gemm(0, 0, (1400, 7, 7)),
        "kernel volume is 68600, allowed at most 32768; H x W/8 x C/4 is 2143.75, allowed below 2048",
    ),
    "gemm rows": (gemm(129, 64), "rows is 129, allowed at most 128"),
    "add constant vector": (
        with_constant("Add", (1, 4, 8, 8), normal(1, 4, 1, 1)),
        "constant operands is 1, allowed at most 0",
    ),
    "add row": (
        with_constant("Add", (1, 4, 8, 8), normal(1, 1, 8, 8)),
        "operand shapes is 1x4x8x8, 1x1x8x8",
    ),
    "add 2049 channels": (
        with_constant("Add", (1, 2049, 2, 2), normal(1, 2049, 2, 2)),
        "channels is 2049, allowed at most 2048",
    ),
    "mul zero": (
        with_constant("Mul", (1, 4, 8, 8), zeros(1, 4, 1, 1)),
        "zeros in a constant operand is 4, allowed at most 0",
    ),
    "mul scalar of rank 0": (
        with_constant("Mul", (1, 4, 8, 8), np.array(2.0, np.float32)),
        "operand shapes is 1x4x8x8, scalar",
    ),
    "mul batch": (
        with_constant("Mul", (2, 4, 8, 8), normal(2, 4, 8, 8)),
        "batch is 2, allowed at most 1",
    ),
    "div by constant": (
        with_constant("Div", (1, 4, 8, 8), normal(1, 4, 8, 8)),
        "constant operands is 1, allowed at most 0",
    ),
    "pow by map": (
        with_constant("Pow", (1, 4, 8, 8), normal(1, 4, 8, 8)),
        "exponent values is 256, allowed at most 1",
    ),
    "resize nearest by 3": (resize([1, 1, 3, 3]), "scale is 3, allowed a power of two"),
    "resize nearest h above w": (resize([1, 1, 4, 2]), "scale h over w is 2"),
    "resize channels": (resize([1, 2, 2, 2]), "scale of N and C is 2, allowed 1"),
    "resize cubic": (
        resize([1, 1, 2, 2], mode="cubic", coordinates="half_pixel"),
        "mode is cubic, allowed nearest or linear",
    ),
    "three dimensions": (unary("Exp", (1, 4, 8)), "rank is 3, allowed 4"),
    "batch 129": (unary("Exp", (129, 4, 2, 2)), "batch is 129, allowed at most 128"),
    "depth to space 3": (
        unary("DepthToSpace", (1, 9, 4, 4), blocksize=3),
        "blocksize is 3, allowed 2",
    ),
    "argmax 65": (unary("ArgMax", (1, 65, 4, 4), axis=1), "channels is 65, allowed at most 64"),
    "argmax axis": (unary("ArgMax", (1, 6, 4, 4), axis=2), "axis is 2, allowed 1"),
    "conv of two maps": (
        ([node("Conv", "x x")], {}, (1, 1, 1, 1)),
        "variable weights is 1, allowed at most 0",
    ),
    "transposed of two maps": (
        ([node("ConvTranspose", "x x", strides=[2, 2])], {}, (1, 1, 2, 2)),
        "variable weights is 1, allowed at most 0",
    ),
    "gemm of two matrices": (
        ([node("Gemm", "x x")], {}, (4, 4)),
        "variable weights is 1, allowed at most 0",
    ),
    "gemm 2049 channels": (gemm(0, 0, (2049, 2, 1)), "map channels is 2049, allowed at most 2048"),
    "max pool 65": (
        unary("MaxPool", (1, 1, 70, 70), kernel_shape=[65, 1]),
        "kernel is 65, allowed 1 to 64",
    ),
    "max pool stride": (
        unary("MaxPool", (1, 1, 190, 190), kernel_shape=[1, 1], strides=[1, 186]),
        "stride is 186, allowed 1 to 185",
    ),
    "global max": (
        unary("GlobalMaxPool", (1, 1, 1, 1025)),
        "height and width is 1025, allowed 1 to 1024",
    ),
    "mul 2049 channels": (
        with_constant("Mul", (1, 2049, 2, 2), normal(1, 2049, 2, 2)),
        "channels is 2049, allowed at most 2048",
    ),
    "div of itself, 2049 channels": (
        ([node("Div", "x x")], {}, (1, 2049, 2, 2)),
        "channels is 2049, allowed at most 2048",
    ),
    "div batch": (([node("Div", "x x")], {}, (2, 4, 2, 2)), "batch is 2, allowed at most 1"),
    "sum of three": (
        ([node("Sum", "x c d")], {"c": normal(1, 4, 8, 8), "d": normal(1, 1, 8, 8)}, (1, 4, 8, 8)),
        "operand shapes is 1x4x8x8, 1x1x8x8, allowed NCHW, NCHW or NCHW, NC11",
    ),
    "sum with constant vector": (
        with_constant("Sum", (1, 4, 8, 8), normal(1, 4, 1, 1)),
        "constant operands is 1, allowed at most 0",
    ),
    "sum 2049 channels": (unary("Sum", (1, 2049, 2, 2)), "channels is 2049"),
    **{
        op.lower(): (unary(op, (1, 8, 32, 33)), "C x H x W is 8448, allowed at most 8192")
        for op in ("Cos", "Sin", "Softplus", "Sqrt")
    },
    "space to depth 4": (
        unary("SpaceToDepth", (1, 1, 8, 8), blocksize=4),
        "blocksize is 4, allowed 2",
    ),
    "pad by reflection": (pad((0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), "mode is reflect"),
    "upsample by 3": (upsample([1, 1, 3, 3]), "scale is 3, allowed a power of two"),
    "upsample h above w": (upsample([1, 1, 4, 2]), "scale h over w is 2"),
    "upsample channels": (upsample([1, 2, 2, 2]), "scale of N and C is 2"),
    "upsample cubic": (upsample([1, 1, 2, 2], mode="cubic"), "mode is cubic"),
    "split of the batch": (unary("Split", (2, 4, 8, 8), axis=0), "axis is 0, allowed 1 or 2 or 3"),
    "lstm batch": (lstm(2), "LSTM batch is 2, allowed at most 1"),
}
