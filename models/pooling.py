"""Global pooling: (N, C, H, W) feature maps to (N, C) vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AvgPool(nn.Module):
    """Mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class MaxPool(nn.Module):
    """Maximum over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(x, 1).flatten(1)


class GeMPool(nn.Module):
    """Generalised mean, ``mean(max(x, eps) ** p) ** (1 / p)``, with a learned exponent.

    Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018.
    p = 1 is the mean of the positive part; p towards infinity is the maximum.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        powered = x.clamp(min=self.eps).pow(self.p)
        return F.adaptive_avg_pool2d(powered, 1).flatten(1).pow(1.0 / self.p)


class AttentionPool(nn.Module):
    """Mean weighted by a softmax over positions of a learned 1x1 score.

    Args:
        channels: C of the feature map.
        height, width: Size of the feature map; constants, so that no shape is computed in ONNX.
    """

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)
        self.channels, self.positions = channels, height * width

    def forward(self, x: Tensor) -> Tensor:
        weight = self.score(x).reshape(-1, self.positions, 1).softmax(dim=1)
        return torch.matmul(x.reshape(-1, self.channels, self.positions), weight).flatten(1)
