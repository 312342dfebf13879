"""DenseNets (Huang et al. 2017): normalisation stands before the convolutions."""

from __future__ import annotations

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost

LAYERS = {
    121: (32, 64, (6, 12, 24, 16)),
    161: (48, 96, (6, 12, 36, 24)),
    169: (32, 64, (6, 12, 32, 32)),
    201: (32, 64, (6, 12, 48, 32)),
}


def densenet(depth: int, size=224) -> NetworkCost:
    """DenseNet of ``depth`` layers.

    The first normalisation and ReLU of a layer work on everything before it and are read by nobody
    else, so no convolution can absorb them: a pointwise kernel each.
    """
    growth, width, blocks = LAYERS[depth]
    net = NetworkBuilder("densenet%d" % depth, size)
    x = net.pool(net.conv(net.input, width, 7, 2), 3, 2, pad=1)
    for block, layers in enumerate(blocks):
        for _ in range(layers):
            y = net.conv(net.pointwise(x, ("batchnormalization",)), 4 * growth)
            x = net.copy(net.concat([x, net.conv(y, growth, 3, act=None)]), "concat")
        if block < 3:
            x = net.conv(net.pointwise(x, ("batchnormalization",)), x.channels // 2, act=None)
            x = net.pool(x, 2, kind="averagepool")
    x = net.pointwise(x, ("batchnormalization",))
    return net.cost(net.dense(net.mean(x), 1000))
