"""Re-parameterised mobile networks as deployed: MobileOne, RepGhost, RepViT."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

GHOST = (
    (3, 8, 16, False, 1), (3, 24, 24, False, 2), (3, 36, 24, False, 1), (5, 36, 40, True, 2),
    (5, 60, 40, True, 1), (3, 120, 80, False, 2), (3, 100, 80, False, 1), (3, 120, 80, False, 1),
    (3, 120, 80, False, 1), (3, 240, 112, True, 1), (3, 336, 112, True, 1), (5, 336, 160, True, 2),
    (5, 480, 160, False, 1), (5, 480, 160, True, 1), (5, 480, 160, False, 1), (5, 480, 160, True, 1),
)  # fmt: skip
"""RepGhost 1.0x: window, middle channels, output channels, squeeze and excitation, stride."""
VIT = ((48, 2), (96, 2), (192, 14), (384, 2))
"""RepViT-M0.9: channels and blocks of each stage."""


def mobileone_s1(size=224) -> NetworkCost:
    """MobileOne-S1 (Vasu et al. 2022)."""
    net = NetworkBuilder("mobileone_s1", size)
    x = net.conv(net.input, 64, 3, 2)
    for channels, blocks in ((96, 2), (192, 8), (512, 10), (1280, 1)):
        for block in range(blocks):
            x = net.conv(net.depthwise(x, 3, 1 if block else 2), channels)
    return net.cost(net.dense(net.mean(x), 1000))


def repghost(size=224) -> NetworkCost:
    """RepGhostNet 1.0x (Chen et al. 2022)."""
    net = NetworkBuilder("repghost_1_0", size)
    x = net.conv(net.input, 16, 3, 2)
    for window, middle, channels, excite, stride in GHOST:
        y = net.depthwise(net.conv(x, middle))
        if stride > 1:
            y = net.depthwise(y, window, stride, act=None)
        if excite:
            y = net.squeeze_excite(y, _quarter(middle), gate="hardsigmoid")
        if stride > 1 or channels != x.channels:
            x = net.conv(net.depthwise(x, window, stride, act=None), channels, act=None)
        x = net.depthwise(net.conv(y, channels, act=None), act=None, add=x)
    x = net.mean(net.conv(x, 960))
    return net.cost(net.dense(net.conv(x, 1280), 1000))


def repvit_m0_9(size=224) -> NetworkCost:
    """RepViT-M0.9 (Wang et al. 2023) with GELU and squeeze and excitation in every other block."""
    net = NetworkBuilder("repvit_m0_9", size)
    x = net.conv(net.conv(net.input, 24, 3, 2, act="gelu"), 48, 3, 2, act=None)
    for stage, (channels, blocks) in enumerate(VIT):
        if stage:
            x = _mixer(net, net.depthwise(x, act=None))
            x = net.conv(net.depthwise(x, 3, 2, act=None), channels, act=None)
            x = _mixer(net, x)
        for block in range(blocks):
            y = net.depthwise(x, act=None)
            if block % 2 == 0:
                y = net.squeeze_excite(y, _quarter(channels))
            x = _mixer(net, y)
    return net.cost(net.dense(net.mean(x), 1000))


def _mixer(net: NetworkBuilder, x: Shape) -> Shape:
    hidden = net.conv(x, 2 * x.channels, act="gelu")
    return net.conv(hidden, x.channels, act=None, add=x)


def _quarter(channels: int) -> int:
    """A quarter, to a multiple of 8 or 4 as the papers' code rounds."""
    return max(4, (channels // 4 + 2) // 4 * 4)
