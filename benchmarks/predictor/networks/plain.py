"""Networks without shortcuts: AlexNet, VGG, SqueezeNet, RepVGG as deployed."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost

VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def alexnet(size=224) -> NetworkCost:
    """Torchvision's AlexNet (Krizhevsky 2014, one column)."""
    net = NetworkBuilder("alexnet", size)
    x = net.pool(net.conv(net.input, 64, 11, 4, pad=2), 3, 2)
    x = net.pool(net.conv(x, 192, 5), 3, 2)
    x = net.conv(net.conv(net.conv(x, 384, 3), 256, 3), 256, 3)
    x = net.pool(x, 3, 2)
    return net.cost(net.dense(net.dense(net.dense(x, 4096), 4096), 1000))


def vgg(depth: int, size=224) -> NetworkCost:
    """VGG (Simonyan and Zisserman 2015); normalisation, where a variant has it, is folded."""
    net = NetworkBuilder("vgg%d" % depth, size)
    x = net.input
    for convs, width in zip(VGG[depth], (64, 128, 256, 512, 512)):
        for _ in range(convs):
            x = net.conv(x, width, 3)
        x = net.pool(x, 2)
    return net.cost(net.dense(net.dense(net.dense(x, 4096), 4096), 1000))


def squeezenet(size=224) -> NetworkCost:
    """SqueezeNet 1.1 (Iandola et al. 2016)."""
    net = NetworkBuilder("squeezenet1_1", size)
    x = net.pool(net.conv(net.input, 64, 3, 2, pad=0), 3, 2, ceil=True)
    for index, (squeeze, expand) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        x = net.pool(x, 3, 2, ceil=True) if index in (2, 4) else x
        y = net.conv(x, squeeze)
        x = net.concat([net.conv(y, expand), net.conv(y, expand, 3)])
    return net.cost(net.mean(net.conv(x, 1000)))


def repvgg_a1(size=224) -> NetworkCost:
    """RepVGG-A1 (Ding et al. 2021) after re-parameterisation: 3x3 convolutions only."""
    net = NetworkBuilder("repvgg_a1", size)
    x = net.conv(net.input, 64, 3, 2)
    for blocks, width in zip((2, 4, 14, 1), (64, 128, 256, 1280)):
        for block in range(blocks):
            x = net.conv(x, width, 3, 1 if block else 2)
    return net.cost(net.dense(net.mean(x), 1000))
