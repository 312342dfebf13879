"""Networks of inverted residuals and depthwise convolutions, and SSD on MobileNet v1."""

from __future__ import annotations

import math
from typing import List, Optional

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)) + ((512, 1),) * 5
V1_END = ((1024, 2), (1024, 1))
V2 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3), (6, 320, 1, 1, 3),
)  # fmt: skip
MNASNET = (
    (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
EFFICIENTNET = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
LITE = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 280)}
"""EfficientNet-lite: width, depth, input size."""


def mobilenet_v1(size=224) -> NetworkCost:
    """MobileNet v1 (Howard et al. 2017)."""
    net = NetworkBuilder("mobilenet_v1", size)
    x = net.conv(net.input, 32, 3, 2)
    for channels, stride in V1 + V1_END:
        x = net.conv(net.depthwise(x, 3, stride), channels)
    return net.cost(net.dense(net.mean(x), 1001))


def ssd_mobilenet_v1(size=300, classes: int = 91, anchors=(3, 6, 6, 6, 6, 6)) -> NetworkCost:
    """SSD on MobileNet v1: six maps of 19 to 1, 1x1 predictors (91 classes COCO, 21 VOC)."""
    net = NetworkBuilder("ssd_mobilenet_v1", size)
    x = net.conv(net.input, 32, 3, 2)
    for channels, stride in V1:
        x = net.conv(net.depthwise(x, 3, stride), channels)
    maps = [x]
    for channels, stride in V1_END:
        x = net.conv(net.depthwise(x, 3, stride), channels)
    maps.append(x)
    for reduce, channels in ((256, 512), (128, 256), (128, 256), (64, 128)):
        x = net.conv(net.conv(x, reduce), channels, 3, 2)
        maps.append(x)
    outputs: List[Shape] = []
    for x, count in zip(maps, anchors):
        outputs += [net.conv(x, 4 * count, act=None), net.conv(x, classes * count, act=None)]
    return net.cost(*outputs)


def mobilenet_v2(size=224) -> NetworkCost:
    """MobileNet v2 (Sandler et al. 2018)."""
    net = NetworkBuilder("mobilenet_v2", size)
    x = net.conv(net.input, 32, 3, 2)
    for row in V2:
        x = _stage(net, x, *row)
    return net.cost(net.dense(net.mean(net.conv(x, 1280)), 1000))


def mnasnet(width: float, size=224) -> NetworkCost:
    """MNASNet-B1 (Tan et al. 2019) as in torchvision."""
    net = NetworkBuilder("mnasnet%s" % str(width).replace(".", "_"), size)
    x = net.conv(net.input, _round(32 * width), 3, 2)
    x = net.conv(net.depthwise(x), _round(16 * width), act=None)
    for expand, channels, blocks, stride, window in MNASNET:
        x = _stage(net, x, expand, _round(channels * width), blocks, stride, window)
    return net.cost(net.dense(net.mean(net.conv(x, 1280)), 1000))


def efficientnet_lite(index: int, size: Optional[int] = None) -> NetworkCost:
    """EfficientNet-lite: without squeeze and excitation, with ReLU6 (TensorFlow TPU models, 2020)."""
    net = NetworkBuilder("efficientnet_lite%d" % index, size or LITE[index][2])
    x = efficientnet_backbone(net, index)[-1]
    return net.cost(net.dense(net.mean(net.conv(x, 1280)), 1000))


def efficientnet_backbone(net: NetworkBuilder, index: int = 0) -> List[Shape]:
    """Stages of an EfficientNet-lite; the maps at strides 2 to 32 (last of each)."""
    width, depth, _ = LITE[index]
    x = net.conv(net.input, 32, 3, 2)
    maps: List[Shape] = []
    for number, (expand, channels, blocks, stride, window) in enumerate(EFFICIENTNET):
        # The stem and the first and last stage keep their size in the lite models.
        repeats = blocks if number in (0, len(EFFICIENTNET) - 1) else math.ceil(depth * blocks)
        before, x = x, _stage(net, x, expand, _round(channels * width), repeats, stride, window)
        if x.height == before.height and maps:
            maps.pop()
        maps.append(x)
    return maps


def mobilenet_v4_conv_small(size=224) -> NetworkCost:
    """MobileNetV4-Conv-S (Qin et al. 2024), as in timm: convolutions and universal inverted blocks.

    A block is (window before expansion, window after it, stride, expanded channels, channels).
    """
    net = NetworkBuilder("mobilenet_v4_conv_small", size)
    x = net.conv(net.conv(net.input, 32, 3, 2), 32, 3, 2)
    x = net.conv(net.conv(net.conv(x, 32), 96, 3, 2), 64)
    blocks = [(5, 5, 2, 192, 96)] + [(0, 3, 1, 192, 96)] * 4 + [(3, 0, 1, 384, 96)]
    blocks += [(3, 3, 2, 576, 128), (5, 5, 1, 512, 128), (0, 5, 1, 512, 128), (0, 5, 1, 384, 128)]
    blocks += [(0, 3, 1, 512, 128), (0, 3, 1, 512, 128)]
    for start, middle, stride, expanded, channels in blocks:
        y = net.depthwise(x, start, 1 if middle else stride, act=None) if start else x
        y = net.conv(y, expanded)
        y = net.depthwise(y, middle, stride) if middle else y
        same = stride == 1 and channels == x.channels
        x = net.conv(y, channels, act=None, add=x if same else None)
    x = net.mean(net.conv(x, 960))
    return net.cost(net.dense(net.conv(x, 1280), 1000))


def _stage(
    net: NetworkBuilder, x: Shape, expand: int, channels: int, blocks: int, stride: int, window: int
) -> Shape:
    """Inverted residuals: expand, depthwise, project; a shortcut where the shape stays."""
    for block in range(blocks):
        y = net.conv(x, x.channels * expand) if expand > 1 else x
        step = stride if block == 0 else 1
        y = net.depthwise(y, window, step)
        same = step == 1 and channels == x.channels
        x = net.conv(y, channels, act=None, add=x if same else None)
    return x


def _round(channels: float, divisor: int = 8) -> int:
    """To a multiple of 8, never down by more than 10 % (the MobileNet papers' rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
