"""YOLO detectors up to their heads' convolutions: v3 (Redmon 2018), v5 (Ultralytics 2020, 2022)."""

from __future__ import annotations

from typing import Optional

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import NetworkCost, Shape

HEAD = 255
"""Three anchors of 80 classes, an objectness and a box."""
SCALES = {
    "n": (1 / 3, 0.25),
    "s": (1 / 3, 0.5),
    "m": (2 / 3, 0.75),
    "l": (1, 1),
    "x": (4 / 3, 1.25),
}
"""YOLOv5: depth and width."""


def yolov3(size=416) -> NetworkCost:
    """YOLOv3 on Darknet-53."""
    net = NetworkBuilder("yolov3", size)
    x = net.conv(net.input, 32, 3, act="leaky")
    maps = []
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = net.conv(x, channels, 3, 2, act="leaky")
        for _ in range(blocks):
            y = net.conv(x, channels // 2, act="leaky")
            x = net.conv(y, channels, 3, act="leaky", add=x)
        maps.append(x)
    outputs, above = [], None
    for x, channels in zip(reversed(maps[2:]), (512, 256, 128)):
        if above is not None:
            above = net.resize(net.conv(above, channels, act="leaky"), 2)
            x = net.concat([above, x])
        for _ in range(2):
            x = net.conv(net.conv(x, channels, act="leaky"), 2 * channels, 3, act="leaky")
        above = x = net.conv(x, channels, act="leaky")
        outputs.append(net.conv(net.conv(x, 2 * channels, 3, act="leaky"), HEAD, act=None))
    return net.cost(*outputs)


def yolov3_tiny(size=416) -> NetworkCost:
    """YOLOv3-tiny."""
    net = NetworkBuilder("yolov3_tiny", size)
    x, route = net.input, net.input
    for channels in (16, 32, 64, 128, 256, 512):
        x = net.conv(x, channels, 3, act="leaky")
        route = x if channels == 256 else route
        # The last pooling keeps the size: stride 1 with one row and column of padding.
        x = net.pool(x, 2) if channels < 512 else x
    x = net.conv(net.conv(x, 1024, 3, act="leaky"), 256, act="leaky")
    large = net.conv(net.conv(x, 512, 3, act="leaky"), HEAD, act=None)
    up = net.resize(net.conv(x, 128, act="leaky"), 2)
    small = net.conv(net.concat([up, route]), 256, 3, act="leaky")
    return net.cost(large, net.conv(small, HEAD, act=None))


def yolov5(scale: str, size=640, version: str = "v7.0") -> NetworkCost:
    """YOLOv5 of a scale ("n", "s", "m", "l", "x").

    v7.0: C3 blocks, SiLU, one 6x6 stem. v2.0: BottleneckCSP blocks, leaky ReLU, a Focus stem.
    """
    depth, width = SCALES[scale]
    net = NetworkBuilder("yolov5%s_%s" % (scale, version), size)
    new = version == "v7.0"
    act = "silu" if new else "leaky"

    def wide(channels: int) -> int:
        return -(-int(channels * width) // 8) * 8

    def down(x: Shape, channels: int) -> Shape:
        return net.conv(x, wide(channels), 3, 2, act=act)

    def stack(x: Shape, channels: int, blocks: int, shortcut: bool = True) -> Shape:
        repeats = max(round(blocks * depth), 1)
        return _csp(net, x, wide(channels), repeats, act, shortcut, new)

    if new:
        x = net.conv(net.input, wide(64), 6, 2, pad=2, act=act)
    else:
        quarter = Shape(12, net.input.height // 2, net.input.width // 2)
        x = net.conv(net.copy(quarter, "slice"), wide(64), 3, act=act)
    x = stack(down(x, 128), 128, 3)
    third = stack(down(x, 256), 256, 6 if new else 9)
    fourth = stack(down(third, 512), 512, 9)
    x = down(fourth, 1024)
    if new:
        x = _pyramid(net, stack(x, 1024, 3), wide(1024), act, (5, 5, 5))
    else:
        x = stack(_pyramid(net, x, wide(1024), act, (5, 9, 13)), 1024, 3, False)
    fifth = net.conv(x, wide(512), act=act)
    x = stack(net.concat([net.resize(fifth, 2), fourth]), 512, 3, False)
    middle = net.conv(x, wide(256), act=act)
    small = stack(net.concat([net.resize(middle, 2), third]), 256, 3, False)
    medium = stack(net.concat([down(small, 256), middle]), 512, 3, False)
    large = stack(net.concat([down(medium, 512), fifth]), 1024, 3, False)
    return net.cost(*(net.conv(x, HEAD, act=None) for x in (small, medium, large)))


def _csp(
    net: NetworkBuilder,
    x: Shape,
    channels: int,
    blocks: int,
    act: Optional[str],
    shortcut: bool,
    new: bool,
) -> Shape:
    """C3, or the older BottleneckCSP with one convolution more."""
    half = channels // 2
    y = net.conv(x, half, act=act)
    for _ in range(blocks):
        hidden = net.conv(y, half, act=act)
        y = net.conv(hidden, half, 3, act=act)
        if shortcut:
            # The shortcut is added after the activation, so no convolution absorbs it.
            net.pointwise(y, ("add",), y)
    if not new:
        y = net.conv(y, half, act=None)
    skip = net.conv(x, half, act=act if new else None)
    y = net.concat([y, skip])
    if not new:
        y = net.pointwise(y, ("batchnormalization",))
    return net.conv(y, channels, act=act)


def _pyramid(net: NetworkBuilder, x: Shape, channels: int, act: Optional[str], windows) -> Shape:
    """Spatial pyramid pooling: windows side by side, or (three equal ones) one after another."""
    x = net.conv(x, channels // 2, act=act)
    parts = [x]
    for window in windows:
        chained = len(set(windows)) == 1
        parts.append(net.pool(parts[-1] if chained else x, window, 1, pad=window // 2))
    return net.conv(net.concat(parts), channels, act=act)
