"""ResNets (He et al. 2016, torchvision's layout: the stride is in the 3x3) and CenterNet on one."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def resnet(depth: int, size=224, last_stride: int = 2, classes: int = 1000) -> NetworkCost:
    """ResNet of ``depth`` layers; ``classes`` 0 ends at the pooled feature, as for ReID."""
    net = NetworkBuilder("resnet%d" % depth, size)
    x = net.mean(_backbone(net, depth, last_stride))
    return net.cost(net.dense(x, classes) if classes else x)


def centernet(size=512, classes: int = 80) -> NetworkCost:
    """CenterNet (Zhou et al. 2019) on ResNet-50: three transposed convolutions, three heads of 64."""
    net = NetworkBuilder("centernet_resnet50", size)
    x = _backbone(net, 50, 2)
    for channels in (256, 128, 64):
        x = net.deconv(x, channels, 4, 2)
    heads = [net.conv(net.conv(x, 64, 3), out, act=None) for out in (classes, 2, 2)]
    return net.cost(*heads)


def _backbone(net: NetworkBuilder, depth: int, last_stride: int) -> Shape:
    x = net.pool(net.conv(net.input, 64, 7, 2), 3, 2, pad=1)
    bottleneck = depth >= 50
    for stage, blocks in enumerate(BLOCKS[depth]):
        width = 64 << stage
        for block in range(blocks):
            first_stride = (1, 2, 2, last_stride)[stage]
            stride = first_stride if block == 0 else 1
            out = width * (4 if bottleneck else 1)
            y = net.conv(x, width, 1) if bottleneck else net.conv(x, width, 3, stride)
            y = net.conv(y, width, 3, stride) if bottleneck else y
            if block == 0 and (stride > 1 or x.channels != out):
                x = net.conv(x, out, 1, stride, act=None)
            x = net.conv(y, out, 1 if bottleneck else 3, add=x)
    return x
