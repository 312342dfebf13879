"""ShuffleNet v2 (Ma et al. 2018), torchvision's widths."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

WIDTHS = {
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}


def shufflenet(width: str, size=224) -> NetworkCost:
    """ShuffleNet v2 of a width; splitting and shuffling channels are copies."""
    net = NetworkBuilder("shufflenet_v2_x" + width, size)
    x = net.pool(net.conv(net.input, 24, 3, 2), 3, 2, pad=1)
    *stages, last = WIDTHS[width]
    for channels, blocks in zip(stages, (4, 8, 4)):
        half = channels // 2
        left = net.conv(net.depthwise(x, 3, 2, act=None), half)
        x = _shuffle(net, [left, _branch(net, x, half, 2)])
        for _ in range(blocks - 1):
            part = Shape(half, x.height, x.width)
            net.copy(part, "slice")
            net.copy(part, "slice")
            x = _shuffle(net, [part, _branch(net, part, half, 1)])
    return net.cost(net.dense(net.mean(net.conv(x, last)), 1000))


def _branch(net: NetworkBuilder, x: Shape, channels: int, stride: int) -> Shape:
    y = net.conv(x, channels)
    return net.conv(net.depthwise(y, 3, stride, act=None), channels)


def _shuffle(net: NetworkBuilder, parts) -> Shape:
    return net.copy(net.concat(parts), "transpose")
