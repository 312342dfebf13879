"""OSNet, OSNet-IBN and OSNet-AIN: omni-scale backbones of depthwise-separable convolutions.

Zhou et al., "Omni-Scale Feature Learning for Person Re-Identification", ICCV 2019 (OSNet), and
"Learning Generalisable Omni-Scale Representations", TPAMI 2021 (AIN). Module names follow the
torchreid checkpoints, so their keys load without renaming.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SCALES = 4  # streams per block; stream t has a receptive field of (2t + 1) x (2t + 1)
GATE_REDUCTION = 16

# Published widths by name: channels of the stem and of the three stages.
WIDTHS = {
    "x0_25": (16, 64, 96, 128),
    "x0_5": (32, 128, 192, 256),
    "x0_75": (48, 192, 288, 384),
    "x1_0": (64, 256, 384, 512),
}


@dataclass(frozen=True)
class OSNetConfig:
    """Shape of one OSNet.

    Attributes:
        channels: Width of the stem and of the three stages; (64, 256, 384, 512) is x1.0.
        variant: ``"plain"``, ``"ibn"`` (InstanceNorm after the addition in stage conv2) or
            ``"ain"`` (InstanceNorm inside the residual of the blocks the search has chosen).
    """

    channels: tuple[int, int, int, int] = (64, 256, 384, 512)
    variant: str = "plain"


# Which of the two blocks of conv2, conv3, conv4 normalise per instance in OSNet-AIN.
AIN_BLOCKS = ((True, True), (False, True), (True, False))


class ConvNorm(nn.Module):
    """Convolution without bias, normalisation, optional ReLU (torchreid: ConvLayer, Conv1x1)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        norm: str = "batch",
        relu: bool = True,
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        if norm == "batch":
            self.bn: nn.Module = nn.BatchNorm2d(outputs)
        elif norm == "instance":
            self.bn = nn.InstanceNorm2d(outputs, affine=True)
        else:
            self.bn = nn.Identity()
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class LightConv3x3(nn.Module):
    """Linear 1x1 convolution, then depthwise 3x3, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv2(self.conv1(x))))


class LightConvStream(nn.Module):
    """``depth`` LightConv3x3 in a row (the AIN naming of a stream)."""

    def __init__(self, width: int, depth: int):
        super().__init__()
        self.layers = nn.Sequential(*(LightConv3x3(width, width) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ChannelGate(nn.Module):
    """Squeeze-and-excite gate; one instance is shared by the four streams of a block."""

    def __init__(self, width: int):
        super().__init__()
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, width // GATE_REDUCTION, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(width // GATE_REDUCTION, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(self.relu(self.fc1(self.global_avgpool(x)))))


class OSBlock(nn.Module):
    """Omni-scale residual block.

    Args:
        inputs, outputs: Channels in and out; the streams work on ``outputs // 4``.
        instance_norm: ``None``, ``"after_add"`` (IBN) or ``"residual"`` (AIN).
        ain_names: Name the streams as AIN checkpoints do (``conv2.t``), not ``conv2a`` ... ``d``.
    """

    def __init__(self, inputs: int, outputs: int, instance_norm: str | None, ain_names: bool):
        super().__init__()
        width = outputs // 4
        self.conv1 = ConvNorm(inputs, width)
        if ain_names:
            self.conv2 = nn.ModuleList(LightConvStream(width, t + 1) for t in range(SCALES))
        else:
            self.conv2a = LightConv3x3(width, width)
            for t, name in enumerate(("conv2b", "conv2c", "conv2d"), start=2):
                setattr(self, name, nn.Sequential(*(LightConv3x3(width, width) for _ in range(t))))
        self.gate = ChannelGate(width)
        in_residual = instance_norm == "residual"
        self.conv3 = ConvNorm(width, outputs, norm="none" if in_residual else "batch", relu=False)
        self.downsample = ConvNorm(inputs, outputs, relu=False) if inputs != outputs else None
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if instance_norm else None
        self.relu = nn.ReLU()
        self.norm_after_add = instance_norm == "after_add"

    def streams(self) -> list[nn.Module]:
        """The four streams, shallow to deep, whatever their checkpoint names."""
        if hasattr(self, "conv2"):
            return list(self.conv2)
        return [getattr(self, name) for name in ("conv2a", "conv2b", "conv2c", "conv2d")]

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.conv1(x)
        first, *others = (self.gate(stream(x)) for stream in self.streams())
        residual = self.conv3(sum(others, first))
        if self.IN is None:
            return self.relu(residual + identity)
        if self.norm_after_add:
            return self.relu(self.IN(residual + identity))
        return self.relu(self.IN(residual) + identity)


class OSNet(nn.Module):
    """The OSNet trunk up to conv5: (N, 3, H, W) float to (N, channels[3], H/16, W/16)."""

    conv2: nn.Sequential
    conv3: nn.Sequential
    conv4: nn.Sequential
    pool2: nn.Sequential
    pool3: nn.Sequential

    def __init__(self, config: OSNetConfig = OSNetConfig()):
        super().__init__()
        self.config = config
        stem, *stages = config.channels
        ain = config.variant == "ain"
        self.conv1 = ConvNorm(
            3, stem, 7, 2, norm="batch" if config.variant == "plain" else "instance"
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = stem
        for index, outputs in enumerate(stages):
            blocks: list[nn.Module] = []
            for block in range(2):
                norm = None
                if ain and AIN_BLOCKS[index][block]:
                    norm = "residual"
                elif config.variant == "ibn" and index == 0:
                    norm = "after_add"
                blocks.append(OSBlock(inputs, outputs, norm, ain_names=ain))
                inputs = outputs
            if index < 2:
                transition = nn.Sequential(ConvNorm(outputs, outputs), nn.AvgPool2d(2, 2))
                if ain:
                    setattr(self, f"pool{index + 2}", transition)
                else:
                    blocks.append(transition)
            setattr(self, f"conv{index + 2}", nn.Sequential(*blocks))
        self.conv5 = ConvNorm(inputs, inputs)
        self.out_channels = inputs

    @staticmethod
    def map_size(height: int, width: int) -> tuple[int, int]:
        """(height, width) of the feature map for an input of this size in pixels."""

        def shrink(size: int) -> int:
            return (size + 3) // 4 // 4  # stem and max pool round up, average pools down

        return shrink(height), shrink(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.maxpool(self.conv1(x)))
        if self.config.variant == "ain":
            return self.conv5(self.conv4(self.pool3(self.conv3(self.pool2(x)))))
        return self.conv5(self.conv4(self.conv3(x)))
