"""GoogLeNet, Inception v3 and Inception v4 (Szegedy et al. 2014, 2015, 2016)."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

GOOGLENET = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip


def googlenet(size=224) -> NetworkCost:
    """GoogLeNet as in torchvision: the "5x5" branch is a 3x3."""
    net = NetworkBuilder("googlenet", size)
    x = net.pool(net.conv(net.input, 64, 7, 2), 3, 2, ceil=True)
    x = net.pool(net.conv(net.conv(x, 64), 192, 3), 3, 2, ceil=True)
    for index, (one, reduce3, three, reduce5, five, pool) in enumerate(GOOGLENET):
        if index == 2:
            x = net.pool(x, 3, 2, ceil=True)
        if index == 7:
            x = net.pool(x, 2, 2, ceil=True)
        x = net.concat(
            [
                net.conv(x, one),
                net.conv(net.conv(x, reduce3), three, 3),
                net.conv(net.conv(x, reduce5), five, 3),
                net.conv(net.pool(x, 3, 1, pad=1), pool),
            ]
        )
    return net.cost(net.dense(net.mean(x), 1000))


def inception_v3(size=299) -> NetworkCost:
    """Inception v3 as in torchvision, without the auxiliary classifier."""
    net = NetworkBuilder("inception_v3", size)
    x = net.conv(net.conv(net.input, 32, 3, 2, pad=0), 32, 3, pad=0)
    x = net.pool(net.conv(x, 64, 3), 3, 2)
    x = net.pool(net.conv(net.conv(x, 80), 192, 3, pad=0), 3, 2)
    for pool in (32, 64, 64):
        five = net.conv(net.conv(x, 48), 64, 5)
        x = net.concat([net.conv(x, 64), five, _twice(net, x, 64, 96), _pooled(net, x, pool)])
    x = net.concat(
        [
            net.conv(x, 384, 3, 2, pad=0),
            net.conv(net.conv(net.conv(x, 64), 96, 3), 96, 3, 2, pad=0),
            net.pool(x, 3, 2),
        ]
    )
    for width in (128, 160, 160, 192):
        once = _row_column(net, net.conv(x, width), width, 192)
        twice = _row_column(net, net.conv(x, width), width, width, column_first=True)
        twice = _row_column(net, twice, width, 192, column_first=True)
        x = net.concat([net.conv(x, 192), once, twice, _pooled(net, x, 192)])
    reduced = _row_column(net, net.conv(x, 192), 192, 192)
    x = net.concat(
        [
            net.conv(net.conv(x, 192), 320, 3, 2, pad=0),
            net.conv(reduced, 192, 3, 2, pad=0),
            net.pool(x, 3, 2),
        ]
    )
    for _ in range(2):
        split = _split(net, net.conv(x, 384), 384)
        deep = _split(net, net.conv(net.conv(x, 448), 384, 3), 384)
        x = net.concat([net.conv(x, 320), split, deep, _pooled(net, x, 192)])
    return net.cost(net.dense(net.mean(x), 1000))


def inception_v4(size=299) -> NetworkCost:
    """Inception v4."""
    net = NetworkBuilder("inception_v4", size)
    x = net.conv(net.conv(net.input, 32, 3, 2, pad=0), 32, 3, pad=0)
    x = net.conv(x, 64, 3)
    x = net.concat([net.pool(x, 3, 2), net.conv(x, 96, 3, 2, pad=0)])
    long = _row_column(net, net.conv(x, 64), 64, 64)
    x = net.concat([net.conv(net.conv(x, 64), 96, 3, pad=0), net.conv(long, 96, 3, pad=0)])
    x = net.concat([net.conv(x, 192, 3, 2, pad=0), net.pool(x, 3, 2)])
    for _ in range(4):
        three = net.conv(net.conv(x, 64), 96, 3)
        x = net.concat([net.conv(x, 96), three, _twice(net, x, 64, 96), _pooled(net, x, 96)])
    x = net.concat(
        [
            net.conv(x, 384, 3, 2, pad=0),
            net.conv(net.conv(net.conv(x, 192), 224, 3), 256, 3, 2, pad=0),
            net.pool(x, 3, 2),
        ]
    )
    for _ in range(7):
        once = _row_column(net, net.conv(x, 192), 224, 256)
        twice = _row_column(net, net.conv(x, 192), 192, 224, column_first=True)
        twice = _row_column(net, twice, 224, 256, column_first=True)
        x = net.concat([net.conv(x, 384), once, twice, _pooled(net, x, 128)])
    reduced = _row_column(net, net.conv(x, 256), 256, 320)
    x = net.concat(
        [
            net.conv(net.conv(x, 192), 192, 3, 2, pad=0),
            net.conv(reduced, 320, 3, 2, pad=0),
            net.pool(x, 3, 2),
        ]
    )
    for _ in range(3):
        split = _split(net, net.conv(x, 384), 256)
        deep = net.conv(net.conv(net.conv(x, 384), 448, (3, 1)), 512, (1, 3))
        x = net.concat([net.conv(x, 256), split, _split(net, deep, 256), _pooled(net, x, 256)])
    return net.cost(net.dense(net.mean(x), 1000))


def _twice(net: NetworkBuilder, x: Shape, reduce: int, width: int) -> Shape:
    return net.conv(net.conv(net.conv(x, reduce), width, 3), width, 3)


def _pooled(net: NetworkBuilder, x: Shape, width: int) -> Shape:
    return net.conv(net.pool(x, 3, 1, pad=1, kind="averagepool"), width)


def _row_column(
    net: NetworkBuilder, x: Shape, middle: int, width: int, column_first: bool = False
) -> Shape:
    first, second = ((7, 1), (1, 7)) if column_first else ((1, 7), (7, 1))
    return net.conv(net.conv(x, middle, first), width, second)


def _split(net: NetworkBuilder, x: Shape, width: int) -> Shape:
    return net.concat([net.conv(x, width, (1, 3)), net.conv(x, width, (3, 1))])
