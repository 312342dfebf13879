"""RGA for the exported graph: reassociated, BatchNorm folded, laid out for matrix products.

theta, phi and gx read the same tensor, so they are one product with stacked weights. The channel
branch keeps x as it lies in memory, (N, C, positions), and multiplies it by constant matrices from
the right, where the training form transposes it into a convolution over ``positions`` channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.rga import RelationAttention


def folded(conv: nn.Module, bn: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of a 1x1 convolution + BatchNorm in eval mode.

    Computed in float64, whatever the dtype of the parameters.
    """
    assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None and bn.running_var is not None
    scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
    weight = conv.weight.flatten(1).double() * scale[:, None]
    bias = bn.bias.double() - bn.running_mean.double() * scale
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return layer


def _conv(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
    layer.weight = nn.Parameter(weight[:, :, None, None].clone(), False)
    layer.bias = nn.Parameter(bias, False)
    return layer


class _FoldedBranch(nn.Module):
    """Folded weights of one branch; ``layer`` makes the operator its layout calls for."""

    incoming: Tensor
    outgoing: Tensor
    bias: Tensor

    def __init__(
        self, source: RelationAttention, branch: str, layer: Callable[[Tensor, Tensor], nn.Module]
    ):
        super().__init__()
        part = source.branch(branch)
        embeddings = [folded(part[name][0], part[name][1]) for name in ("theta", "phi", "gx")]
        self.inner = embeddings[0][0].shape[0]
        self.embed = layer(
            torch.cat([w for w, _ in embeddings]), torch.cat([b for _, b in embeddings])
        )
        relation, bias = folded(
            part["gg"][0], part["gg"][1]
        )  # fold first: the halves share one BatchNorm
        incoming, outgoing = relation.chunk(2, dim=1)
        self.register_buffer("incoming", incoming.t().contiguous(), persistent=False)
        self.register_buffer("outgoing", outgoing.t().contiguous(), persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.hidden = layer(*folded(part["W"][0], part["W"][1]))
        self.gate = layer(*folded(part["W"][3], part["W"][4]))

    def weigh(self, own_and_relations: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(F.relu(self.hidden(own_and_relations))))


class SpatialBranch(_FoldedBranch):
    """A weight for each position: (N, C, h, w) to (N, 1, h, w)."""

    def __init__(self, source: RelationAttention):
        super().__init__(source, "spatial", _conv)
        self.height, self.width = source.shape.height, source.shape.width
        self.positions = source.shape.positions

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        pair, own = F.relu(self.embed(x)).split((2 * inner, inner), 1)
        pair = pair.reshape(-1, 2 * inner, self.positions)
        theta, phi = pair.split(inner, 1)
        # (Wa P^T) T + (Wb T^T) P as one product over the stacked embeddings.
        left = torch.cat((torch.matmul(phi, self.incoming), torch.matmul(theta, self.outgoing)), 1)
        relations = F.relu(torch.matmul(left.transpose(1, 2), pair) + self.bias[:, None])
        relations = relations.reshape(-1, len(self.bias), self.height, self.width)
        return self.weigh(torch.cat((own.mean(1, keepdim=True), relations), 1))


class ChannelBranch(_FoldedBranch):
    """A weight for each channel: (N, C, h, w) to (N, C, 1, 1). All tensors are transposed to
    rows of channels: (N, C, features)."""

    def __init__(self, source: RelationAttention):
        super().__init__(source, "channel", _linear)
        self.channels, self.positions = source.shape.channels, source.shape.positions

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        rows = x.reshape(-1, self.channels, self.positions)
        pair, own = F.relu(self.embed(rows)).split((2 * inner, inner), 2)
        theta, phi = (half.transpose(1, 2) for half in pair.split(inner, 2))
        right = torch.cat((torch.matmul(phi, self.incoming), torch.matmul(theta, self.outgoing)), 1)
        relations = F.relu(torch.matmul(pair, right) + self.bias)
        weight = self.weigh(torch.cat((own.mean(2, keepdim=True), relations), 2))
        return weight.reshape(-1, self.channels, 1, 1)


class FusedRelationAttention(nn.Module):
    """Inference-only RGA with the weights of ``source`` at the time of the call."""

    def __init__(self, source: RelationAttention):
        super().__init__()
        with torch.no_grad():
            self.spatial = SpatialBranch(source) if source.shape.spatial else None
            self.channel = ChannelBranch(source) if source.shape.channel else None

    def forward(self, x: Tensor) -> Tensor:
        if self.spatial is not None:
            x = x * self.spatial(x)
        if self.channel is not None:
            x = x * self.channel(x)
        return x
