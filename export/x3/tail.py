"""Pooling and neck as the BPU has them: (1, C, h, w) to (1, D, 1, 1), nothing flattened."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.x3.blocks import folded_norm, per_channel, pointwise
from models.network import ReidNetwork
from models.pooling import AttentionPool, AvgPool, GeMPool, MaxPool
from runtime.errors import ReidEdgeError


class Average(nn.Module):
    """Mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, 1)


class Maximum(nn.Module):
    """Maximum over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(x, 1)


class GeneralizedMean(nn.Module):
    """GeM with its exponent as a number, which is the only exponent that the table has."""

    def __init__(self, source: GeMPool):
        super().__init__()
        self.p, self.eps = float(source.p), source.eps

    def forward(self, x: Tensor) -> Tensor:
        powered = x.clamp(min=self.eps).pow(self.p)
        return F.adaptive_avg_pool2d(powered, 1).pow(1.0 / self.p)


class WeightedMean(nn.Module):
    """Attention pooling without softmax, whose only BPU form is a model's output.

    Both sums of a softmax's quotient are means over positions. The largest score is taken off
    first, as in any softmax, by adding its negative.
    """

    def __init__(self, source: AttentionPool):
        super().__init__()
        self.score = source.score
        one = source.score.weight.new_ones(1, 1)
        self.negative = pointwise(-one)
        self.expand = pointwise(one.repeat(source.channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x)
        weight = torch.exp(score + self.negative(F.adaptive_max_pool2d(score, 1)))
        total = F.adaptive_avg_pool2d(x * self.expand(weight), 1)
        return total / F.adaptive_avg_pool2d(weight, 1)


_POOLS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    AvgPool: lambda source: Average(),
    MaxPool: lambda source: Maximum(),
    GeMPool: GeneralizedMean,
    AttentionPool: WeightedMean,
}


class BpuTail(nn.Module):
    """Pooling and neck of ``network`` with the weights they have now.

    Raises:
        ReidEdgeError: A pooling or neck without such a form.
    """

    def __init__(self, network: ReidNetwork):
        super().__init__()
        kind = type(network.pool)
        if kind not in _POOLS:
            raise ReidEdgeError(
                "Pooling for the X3 must be one of %s, this network has %s; train it with one of them."
                % (", ".join(sorted(k.__name__ for k in _POOLS)), kind.__name__)
            )
        with torch.no_grad():
            self.pool = _POOLS[kind](network.pool)
            after_neck = network.feature == "after_neck" and network.neck is not None
            self.neck = nn.Sequential(*_layers(network.neck)) if after_neck else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.neck(self.pool(x))


def _layers(neck: nn.Module | None) -> list[nn.Module]:
    """BatchNorm as a depthwise, Linear as a 1x1 convolution with the BatchNorm behind it folded."""
    parts = list(neck) if isinstance(neck, nn.Sequential) else [neck]
    layers: list[nn.Module] = []
    linear: nn.Linear | None = None
    for part, following in zip(parts, [*parts[1:], None]):
        if isinstance(part, nn.Linear):
            linear = part if isinstance(following, nn.BatchNorm1d) else None
            if linear is None:
                layers.append(pointwise(part.weight, part.bias))
        elif isinstance(part, nn.BatchNorm1d):
            gain, offset = folded_norm(part)
            if linear is not None:
                bias = offset if linear.bias is None else offset + gain * linear.bias
                layers.append(pointwise(gain[:, None] * linear.weight, bias))
            else:
                layers.append(per_channel(gain, offset))
            linear = None
        elif isinstance(part, nn.ReLU):
            layers.append(nn.ReLU())
        else:
            raise ReidEdgeError(
                "A neck for the X3 consists of Linear, BatchNorm1d and ReLU, this one has %s; "
                "export the feature before the neck." % type(part).__name__
            )
    return layers
