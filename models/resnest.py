"""ResNeSt: ResNet whose 3x3 convolutions come in pairs that compete for every channel.

Zhang et al., "ResNeSt: Split-Attention Networks", CVPR Workshops 2022 (arXiv 2004.08955), with
radix 2 and cardinality 1 as in the published ResNeSt-50 and -101: a stem of three 3x3 convolutions,
strides taken by average pools on both the shortcut and the residual. Module names are those of the
official code, so its ImageNet checkpoints fit the trunk without renaming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.resnet import EXPANSION, stage_sizes

RADIX = 2


@dataclass(frozen=True)
class ResNeStConfig:
    """Shape of one ResNeSt.

    Attributes:
        layers: Blocks per stage.
        width: Inner channels of stage 1; stages 2 to 4 have 2, 4 and 8 times as many, outputs four
            times that.
        stem_width: Channels of the stem's first two convolutions; its third has twice as many.
        last_stride: Stride of stage 4, 1 or 2.
    """

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    stem_width: int = 32
    last_stride: int = 1

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Output channels of the four stages."""
        return tuple(self.width * 2**stage * EXPANSION["bottleneck"] for stage in range(4))

    def stage_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """(height, width) of the four stages' outputs for an input of this size in pixels."""
        return stage_sizes(height, width, self.last_stride)


RESNESTS = {
    "resnest50": ResNeStConfig(),
    "resnest101": ResNeStConfig((3, 4, 23, 3), stem_width=64),
}


class SplitAttention(nn.Module):
    """Two 3x3 convolutions of half the input each, mixed per channel by a gate on their sum.

    The paper's softmax over two splits is the sigmoid of their difference, so the graph has neither
    a softmax nor a reshape of the batch.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        inner = max(channels * RADIX // 4, 32)
        self.conv = nn.Conv2d(channels, channels * RADIX, 3, 1, 1, groups=RADIX, bias=False)
        self.bn0 = nn.BatchNorm2d(channels * RADIX)
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.fc2 = nn.Conv2d(inner, channels * RADIX, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.relu(self.bn0(self.conv(x))).split(self.channels, 1)
        mean = F.adaptive_avg_pool2d(first + second, 1)
        scores = self.fc2(F.relu(self.bn1(self.fc1(mean))))
        for_first, for_second = scores.split(self.channels, 1)
        gate = torch.sigmoid(for_first - for_second)
        return gate * first + (1 - gate) * second


class SplitAttentionBlock(nn.Module):
    """Bottleneck of 1x1, split attention, 1x1.

    Args:
        inputs: Input channels.
        planes: Inner channels; the output has four times as many.
        stride: Stride of the block, 1 or 2.
        pooled: Average pool of 3x3 behind the split attention, which then carries the stride; the
            first blocks of stages 2 to 4 have one, also where their stride is 1.
    """

    def __init__(self, inputs: int, planes: int, stride: int, pooled: bool):
        super().__init__()
        outputs = planes * EXPANSION["bottleneck"]
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = SplitAttention(planes)
        self.avd_layer = nn.AvgPool2d(3, stride, 1) if pooled else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            # Rounding up and leaving padding out of the mean only matters for odd maps.
            shrink = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
            self.downsample = nn.Sequential(
                shrink if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.avd_layer(self.conv2(x))
        return F.relu(self.bn3(self.conv3(x)) + identity)


class ResNeSt(nn.Module):
    """(N, 3, H, W) float to (N, out_channels, h, w), see ``ResNeStConfig.stage_sizes``.

    Args:
        config: Shape of the network.
        attention: Modules applied behind stages, by stage number 1 to 4, e.g. RGA.
    """

    def __init__(self, config: ResNeStConfig, attention: Mapping[int, nn.Module] | None = None):
        super().__init__()
        self.config = config
        stem = config.stem_width
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, stem, 3, 1, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, 2 * stem, 3, 1, 1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(2 * stem)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 2 * stem
        for stage in range(1, 5):
            planes = config.width * 2 ** (stage - 1)
            stride = {1: 1, 4: config.last_stride}.get(stage, 2)
            blocks = []
            for index in range(config.layers[stage - 1]):
                first = index == 0
                blocks.append(
                    SplitAttentionBlock(inputs, planes, stride if first else 1, first and stage > 1)
                )
                inputs = planes * EXPANSION["bottleneck"]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.attention = nn.ModuleDict({str(k): v for k, v in (attention or {}).items()})
        self.out_channels = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            if str(stage) in self.attention:
                x = self.attention[str(stage)](x)
        return x
