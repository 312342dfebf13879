"""FCOS (Tian et al. 2019) on EfficientNet-b0 as the vendor of the X3 trains it.

Backbone with ReLU and without squeeze and excitation, three BiFPN layers and heads of four 3x3
convolutions, all of 64 channels, on strides 8 to 128 (HAT's fcos_efficientnetb0_mscoco configuration).
That the convolutions of the heads are separable is inferred: dense ones would need half as many
multiplications per second again as the chip shows on any other network.
"""

from __future__ import annotations

from typing import Dict, List

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape
from benchmarks.predictor.networks.mobile import efficientnet_backbone

WIDTH, LAYERS, DEPTH = 64, 3, 4


def fcos_efficientnet(size=512, classes: int = 80) -> NetworkCost:
    """The detector up to its class, box and centre maps."""
    net = NetworkBuilder("fcos_efficientnetb0", size)
    maps = efficientnet_backbone(net)[2:]
    levels = [net.conv(x, WIDTH, act=None) for x in maps]
    for _ in range(2):
        levels.append(net.pool(levels[-1], 3, 2, pad=1))
    for _ in range(LAYERS):
        levels = _bifpn(net, levels)
    outputs: List[Shape] = []
    for level in levels:
        scores = boxes = level
        for _ in range(DEPTH):
            scores, boxes = _separable(net, scores), _separable(net, boxes)
        outputs.append(net.conv(scores, classes, 3, act=None))
        outputs += [net.conv(boxes, 4, 3, act=None), net.conv(boxes, 1, 3, act=None)]
    return net.cost(*outputs)


def _separable(net: NetworkBuilder, x: Shape) -> Shape:
    return net.conv(net.depthwise(x, act=None), WIDTH)


def _bifpn(net: NetworkBuilder, levels: List[Shape]) -> List[Shape]:
    """Down the pyramid and up again; a node is a sum and a separable convolution (Tan et al. 2020)."""
    middle: Dict[int, Shape] = {len(levels) - 1: levels[-1]}
    for index in range(len(levels) - 2, -1, -1):
        net.pointwise(levels[index], ("add",), net.resize(middle[index + 1], 2))
        middle[index] = _separable(net, levels[index])
    out = [middle[0]]
    for index in range(1, len(levels)):
        pooled = net.pool(out[-1], 3, 2, pad=1)
        net.pointwise(levels[index], ("add",), pooled)
        if index < len(levels) - 1:
            net.pointwise(levels[index], ("add",), middle[index])
        out.append(_separable(net, levels[index]))
    return out
