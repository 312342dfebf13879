"""ResNet backbones as person re-identification codebases build them.

He et al., "Deep Residual Learning", CVPR 2016; ResNeXt: Xie et al., "Aggregated Residual
Transformations", CVPR 2017; IBN-a: Pan et al., "Two at Once", ECCV 2018;
non-local blocks: Wang et al., CVPR 2018, in the one-channel form of fast-reid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# depth -> (block, blocks per stage)
DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
EXPANSION = {"basic": 1, "bottleneck": 4}


@dataclass(frozen=True)
class ResNetConfig:
    """Everything that distinguishes one ResNet from another.

    Attributes:
        block: ``"basic"`` or ``"bottleneck"``.
        layers: Blocks per stage.
        width: Channels of the stem; stages have 1, 2, 4, 8 times as many (times the expansion).
        groups: Groups of the bottlenecks' 3x3 convolution; more than 1 makes a ResNeXt.
        group_width: Channels of one group in stage 1 of a ``width`` of 64; the ``4d`` of 32x4d.
        last_stride: Stride of stage 4; re-identification mostly keeps its resolution with 1.
        ibn: IBN-a in stages 1 to 3: half the channels of ``bn1`` are normalised per instance.
        stem_relu: ReLU between the stem's BatchNorm and the max pool; missing in the ResNets of
            reid-strong-baseline and its descendants.
        ceil_pool: Stem max pool without padding but with ``ceil_mode``, as in fast-reid, instead of
            padding 1. Same output size, other windows.
        non_local: Non-local blocks behind the last so many blocks of each stage.
    """

    block: str = "bottleneck"
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    groups: int = 1
    group_width: int = 64
    last_stride: int = 1
    ibn: bool = False
    stem_relu: bool = True
    ceil_pool: bool = False
    non_local: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def of_depth(cls, depth: int, **changes) -> ResNetConfig:
        """The configuration of ResNet-``depth`` (a key of ``DEPTHS``)."""
        block, layers = DEPTHS[depth]
        return cls(block=block, layers=layers, **changes)

    @property
    def depth(self) -> int:
        """Layers with weights: 18, 34, 50, ..."""
        return 2 + sum(self.layers) * (2 if self.block == "basic" else 3)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of the four stages."""
        return tuple(self.width * 2**stage * EXPANSION[self.block] for stage in range(4))

    def stage_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """(height, width) of the four stages' outputs for an input of this size in pixels."""
        return stage_sizes(height, width, self.last_stride)


def stage_sizes(height: int, width: int, last_stride: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of a ResNet's four stages' outputs for an input of this size in pixels."""

    def halve(size: tuple[int, int]) -> tuple[int, int]:
        return (size[0] + 1) // 2, (size[1] + 1) // 2

    sizes = [halve(halve((height, width)))]
    for stride in (2, 2, last_stride):
        sizes.append(halve(sizes[-1]) if stride == 2 else sizes[-1])
    return tuple(sizes)


class IBN(nn.Module):
    """IBN-a: InstanceNorm on the first half of the channels, BatchNorm on the second."""

    def __init__(self, channels: int):
        super().__init__()
        self.halves = (channels // 2, channels - channels // 2)
        self.IN = nn.InstanceNorm2d(self.halves[0], affine=True)
        self.BN = nn.BatchNorm2d(self.halves[1])

    def forward(self, x: Tensor) -> Tensor:
        instance, batch = x.split(self.halves, 1)
        return torch.cat((self.IN(instance), self.BN(batch)), 1)


class ResidualBlock(nn.Module):
    """Basic (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1) residual block; the 3x3 carries the stride.

    Args:
        kind: ``"basic"`` or ``"bottleneck"``.
        inputs: Input channels.
        planes: Inner channels of an ungrouped block; the output has ``planes * EXPANSION[kind]``.
        stride: Stride of the block, 1 or 2.
        ibn: Use IBN-a as the first normalisation.
        groups: Groups of a bottleneck's 3x3 convolution.
        group_width: Channels of one group where ``planes`` is 64; others in proportion.
    """

    def __init__(
        self,
        kind: str,
        inputs: int,
        planes: int,
        stride: int,
        ibn: bool,
        groups: int = 1,
        group_width: int = 64,
    ):
        super().__init__()
        outputs = planes * EXPANSION[kind]
        if kind == "basic":
            shapes = [(inputs, planes, 3, stride, 1), (planes, planes, 3, 1, 1)]
        else:
            inner = planes * group_width // 64 * groups
            shapes = [
                (inputs, inner, 1, 1, 1),
                (inner, inner, 3, stride, groups),
                (inner, outputs, 1, 1, 1),
            ]
        self.depth = len(shapes)
        for i, (c_in, c_out, kernel, step, parts) in enumerate(shapes, start=1):
            convolution = nn.Conv2d(
                c_in, c_out, kernel, step, kernel // 2, groups=parts, bias=False
            )
            setattr(self, f"conv{i}", convolution)
            setattr(self, f"bn{i}", IBN(c_out) if ibn and i == 1 else nn.BatchNorm2d(c_out))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.depth):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        last = self.depth
        x = getattr(self, f"bn{last}")(getattr(self, f"conv{last}")(x))
        return F.relu(x + identity)


class NonLocal(nn.Module):
    """fast-reid's non-local block: dot-product attention with one inner channel, no softmax.

    With one channel, ``(theta^T phi / N) g`` over the N positions is ``theta * mean(phi * g)``: the
    N x N affinity is of rank one and is never needed.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.g = nn.Conv2d(channels, 1, 1)
        self.theta = nn.Conv2d(channels, 1, 1)
        self.phi = nn.Conv2d(channels, 1, 1)
        self.W = nn.Sequential(nn.Conv2d(1, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = F.adaptive_avg_pool2d(self.phi(x) * self.g(x), 1)
        return self.W(self.theta(x) * mean) + x


class ResNet(nn.Module):
    """(N, 3, H, W) float to (N, out_channels, h, w), see ``ResNetConfig.stage_sizes``.

    Args:
        config: Shape of the network.
        attention: Modules applied behind stages, by stage number 1 to 4, e.g. RGA.
        projection: Channels of a final biased 1x1 convolution before pooling (NVIDIA TAO).
    """

    def __init__(
        self,
        config: ResNetConfig,
        attention: Mapping[int, nn.Module] | None = None,
        projection: int | None = None,
    ):
        super().__init__()
        self.config = config
        width = config.width
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        # With ceil_mode the windows that reach over the edge see only what exists, so an even
        # input needs no padding value; the ONNX operator means the same.
        self.maxpool = nn.MaxPool2d(3, 2, 0 if config.ceil_pool else 1, ceil_mode=config.ceil_pool)
        inputs = width
        for stage in range(1, 5):
            planes = width * 2 ** (stage - 1)
            stride = {1: 1, 4: config.last_stride}.get(stage, 2)
            blocks = []
            for index in range(config.layers[stage - 1]):
                blocks.append(
                    ResidualBlock(
                        config.block,
                        inputs,
                        planes,
                        stride if index == 0 else 1,
                        config.ibn and stage < 4,
                        config.groups,
                        config.group_width,
                    )
                )
                inputs = planes * EXPANSION[config.block]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            count = config.non_local[stage - 1]
            if count:
                setattr(self, f"NL_{stage}", nn.ModuleList(NonLocal(inputs) for _ in range(count)))
        self.attention = nn.ModuleDict({str(k): v for k, v in (attention or {}).items()})
        self.feature = None if projection is None else nn.Conv2d(inputs, projection, 1)
        self.out_channels = projection or inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x))
        if self.config.stem_relu:
            x = F.relu(x)
        x = self.maxpool(x)
        for stage in range(1, 5):
            x = self._stage(stage, x)
        return x if self.feature is None else self.feature(x)

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        blocks = getattr(self, f"layer{stage}")
        non_local = getattr(self, f"NL_{stage}", ())
        plain = len(blocks) - len(non_local)
        for index, block in enumerate(blocks):
            x = block(x)
            if index >= plain:
                x = non_local[index - plain](x)
        return self.attention[str(stage)](x) if str(stage) in self.attention else x
