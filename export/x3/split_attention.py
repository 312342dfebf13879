"""ResNeSt's split attention without subtractions, which the BPU does not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.x3.blocks import pointwise
from models.resnest import SplitAttention


class BpuSplitAttention(nn.Module):
    """Inference-only split attention, (1, C, h, w) to the same shape, with the weights of ``source``.

    The scores only count by their difference, so their convolution makes the difference; and
    1 - sigmoid(d) = sigmoid(-d).
    """

    def __init__(self, source: SplitAttention):
        super().__init__()
        self.channels = source.channels
        self.conv, self.bn0 = source.conv, source.bn0
        self.fc1, self.bn1 = source.fc1, source.bn1
        with torch.no_grad():
            assert source.fc2.bias is not None
            first, second = source.fc2.weight.flatten(1).chunk(2)
            first_bias, second_bias = source.fc2.bias.chunk(2)
            self.for_first = pointwise(first - second, first_bias - second_bias)
            self.for_second = pointwise(second - first, second_bias - first_bias)

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.relu(self.bn0(self.conv(x))).split(self.channels, 1)
        mean = F.relu(self.bn1(self.fc1(F.adaptive_avg_pool2d(first + second, 1))))
        return first * torch.sigmoid(self.for_first(mean)) + second * torch.sigmoid(
            self.for_second(mean)
        )
