"""Building blocks of networks for the BPU: everything constant is a convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.x3.layout import CHANNEL, ROW

# The table's bound on the smaller of two padded sizes of a sigmoid's input.
SIGMOID_VALUES = 8192


def pointwise(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """1x1 convolution with ``weight`` (out, in) and ``bias`` (out,)."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().reshape(*weight.shape, 1, 1).clone(), False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), False)
    return layer


def per_channel(gain: Tensor, offset: Tensor) -> nn.Conv2d:
    """``gain * x + offset`` for (N, C, H, W) and (C,): a depthwise 1x1 convolution.

    The table has no Add of a constant (1, C, 1, 1).
    """
    channels = len(gain)
    layer = nn.Conv2d(channels, channels, 1, groups=channels)
    layer.weight = nn.Parameter(gain.detach().reshape(-1, 1, 1, 1).clone(), False)
    layer.bias = nn.Parameter(offset.detach().clone(), False)
    return layer


def folded_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Gain and offset (C,) of a BatchNorm in eval mode, computed in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    offset = norm.bias.double() - norm.running_mean.double() * gain
    return gain.to(norm.weight.dtype), offset.to(norm.weight.dtype)


def sigmoid(x: Tensor) -> Tensor:
    """Sigmoid of (1, C, H, W), cut into bands along the channels where that keeps the size limit.

    A map of one channel is padded to four; four bands of its rows fill them.
    """
    channels, height, width = (int(size) for size in x.shape[1:])
    fitting = (
        bands
        for bands in (1, 2, 4, 8, 16, 32)
        if height % bands == 0
        and padded_size(channels * bands, height // bands, width) <= SIGMOID_VALUES
    )
    bands = next(fitting, 1)
    if bands == 1:
        return torch.sigmoid(x)
    folded = torch.cat(x.split(height // bands, ROW), CHANNEL)
    return torch.cat(torch.sigmoid(folded).split(channels, CHANNEL), ROW)


def padded_size(channels: int, height: int, width: int) -> int:
    """Values of a map in the smaller of the BPU's two layouts, 8W4C and 32C."""

    def up(size: int, unit: int) -> int:
        return -(-size // unit) * unit

    return min(up(channels, 4) * height * up(width, 8), up(channels, 32) * height * width)
