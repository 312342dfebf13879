"""Relation-aware global attention in the operators of the BPU: four dimensions, one image.

The re-associated form (models/rga.py) with L relations of M nodes,

    ReLU(A T + B P + b),   A = Wa P^T,   B = Wb T^T,

is four products. Where M runs along an axis that convolutions or constant matrices sum over, A and B
need constants only; A T + B P is the one product of two activations, [A | B] [T; P]. The table has it
as 1xBxMxK . 1x1xKxN, so the sum must run along the columns of the left and the rows of the right
factor. Everything else is arranged around that:

- Spatial branch: T and P come out of a convolution with their K features along the channels. The
  pair moves into one matrix (1, 1, 2K, N) over the N positions; A and B come from it by constant
  matrices as (1, 1, 2K, L), small, and are turned into (1, L, 1, 2K). The product has its relations
  along the channels again, where biases and the two-layer gate are 1x1 convolutions.
- Channel branch: x flattened, (1, C, 1, N), times constant matrices gives T and P as rows of
  channels, (1, C, 1, K). A and B are 1x1 convolutions, for they sum over channels. The product stays
  in rows of channels, (1, C, 1, L), the gate is more constant matrices, and its result (1, C, 1, 1)
  is what a multiplication wants.

A bias along columns is no operator's bias, and the table does not say whether an Add takes a constant
map. So the matrix gets it as rows, for columns of the left factor that sum to one: those of x and of
1 - x do, and 1 - x is a convolution.

The mean over gx, the concatenation behind it and the expansion of the gate are constants folded into
1x1 convolutions; the sigmoid stands before the expansion, where its size limit holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.x3.blocks import per_channel, pointwise, sigmoid
from export.x3.layout import COLUMN, ROW, Layout
from models.rga import RelationAttention
from models.rga_inference import folded


class BpuRelationAttention(nn.Module):
    """Inference-only RGA, (1, C, h, w) to the same shape, with the weights of ``source``.

    Args:
        source: The module to replace, in either form.
        layout: How indices change their axis.
    """

    def __init__(self, source: RelationAttention, layout: Layout):
        super().__init__()
        with torch.no_grad():
            self.spatial = SpatialBranch(source, layout) if source.shape.spatial else None
            self.channel = ChannelBranch(source, layout) if source.shape.channel else None

    def forward(self, x: Tensor) -> Tensor:
        if self.spatial is not None:
            x = x * self.spatial(x)
        if self.channel is not None:
            x = x * self.channel(x)
        return x


@dataclass(frozen=True)
class _Weights:
    """One branch without BatchNorm: weights (out, in) and biases (out,).

    Attributes:
        pair: theta above phi, 2K out.
        own: gx, K out.
        incoming, outgoing: Wa and Wb, (L, M).
        bias: b, (L,).
        from_own: First layer of the gate as it reads gx itself: the mean over K is in the weight.
        from_relations: Weight of the same layer for the relations, (hidden, L).
        gate: Second layer, 1 out.
    """

    pair: tuple[Tensor, Tensor]
    own: tuple[Tensor, Tensor]
    incoming: Tensor
    outgoing: Tensor
    bias: Tensor
    from_own: tuple[Tensor, Tensor]
    from_relations: Tensor
    gate: tuple[Tensor, Tensor]


def _fold(source: RelationAttention, branch: str) -> _Weights:
    part = source.branch(branch)
    theta, phi, own = (folded(part[name][0], part[name][1]) for name in ("theta", "phi", "gx"))
    relation, bias = folded(part["gg"][0], part["gg"][1])  # before the halves part
    incoming, outgoing = relation.chunk(2, dim=1)
    hidden, hidden_bias = folded(part["W"][0], part["W"][1])
    inner = len(own[1])
    return _Weights(
        pair=(torch.cat((theta[0], phi[0])), torch.cat((theta[1], phi[1]))),
        own=own,
        incoming=incoming,
        outgoing=outgoing,
        bias=bias,
        from_own=((hidden[:, :1] / inner).repeat(1, inner), hidden_bias),
        from_relations=hidden[:, 1:],
        gate=folded(part["W"][3], part["W"][4]),
    )


class SpatialBranch(nn.Module):
    """A weight for each position, expanded: (1, C, h, w) to the same shape."""

    incoming: Tensor
    outgoing: Tensor

    def __init__(self, source: RelationAttention, layout: Layout):
        super().__init__()
        weights = _fold(source, "spatial")
        self.layout, self.height = layout, source.shape.height
        self.inner = len(weights.own[1])
        self.pair, self.own = pointwise(*weights.pair), pointwise(*weights.own)
        _constant(self, "incoming", weights.incoming.t())
        _constant(self, "outgoing", weights.outgoing.t())
        self.shift = per_channel(torch.ones_like(weights.bias), weights.bias)
        self.from_own = pointwise(*weights.from_own)
        self.from_relations = pointwise(weights.from_relations)
        self.gate = pointwise(*weights.gate)
        self.expand = pointwise(weights.bias.new_ones(source.shape.channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        pair = self.layout.matrix(F.relu(self.pair(x)))  # (1, 1, 2K, N): theta above phi
        theta, phi = pair.split(self.inner, ROW)
        # phi makes what theta is multiplied with, and the reverse.
        left = torch.cat(
            (torch.matmul(phi, self.incoming), torch.matmul(theta, self.outgoing)), ROW
        )
        relations = torch.matmul(self.layout.columns_to_channels(left), pair)  # (1, L, 1, N)
        relations = self.from_relations(F.relu(self.shift(relations)))
        hidden = self.from_own(F.relu(self.own(x))) + self.layout.unflatten(relations, self.height)
        return self.expand(sigmoid(self.gate(F.relu(hidden))))


class ChannelBranch(nn.Module):
    """A weight for each channel: (1, C, h, w) to (1, C, 1, 1)."""

    pair: Tensor
    own: Tensor
    shift: Tensor
    from_own: Tensor
    from_relations: Tensor
    gate: Tensor

    def __init__(self, source: RelationAttention, layout: Layout):
        super().__init__()
        weights = _fold(source, "channel")
        self.layout, self.width = layout, source.shape.width
        self.inner = len(weights.own[1])
        ones = weights.bias.new_ones(source.shape.channels)
        self.complement = per_channel(-ones, ones)
        _constant(self, "pair", self._with_bias(*weights.pair))
        # One output more than gx has features, always 1, carries the biases that follow.
        own, bias = weights.own
        own = torch.cat((own, own.new_zeros(1, own.shape[1])))
        _constant(self, "own", self._with_bias(own, torch.cat((bias, bias.new_ones(1)))))
        self.incoming, self.outgoing = pointwise(weights.incoming), pointwise(weights.outgoing)
        _constant(self, "shift", _last_row(weights.bias, self.inner))
        _constant(self, "from_own", torch.cat((weights.from_own[0].t(), weights.from_own[1][None])))
        _constant(self, "from_relations", weights.from_relations.t())
        _constant(self, "gate", weights.gate[0].t())
        self.gate_shift = per_channel(ones, weights.gate[1].expand_as(ones))

    def _with_bias(self, weight: Tensor, bias: Tensor) -> Tensor:
        """(out, N) and (out,) as a matrix (N + w, out) for a row of x followed by 1 - its first w.

        The shares b / w of the bias stand in the rows of both, where x cancels.
        """
        share = (bias / self.width).expand(self.width, -1)
        matrix = weight.t().clone()
        matrix[: self.width] += share
        return torch.cat((matrix, share))

    def forward(self, x: Tensor) -> Tensor:
        rest = self.complement(x[:, :, :1])  # of the first row of the map
        rows = torch.cat((self.layout.flatten(x), rest), COLUMN)  # (1, C, 1, N + w)
        pair = F.relu(torch.matmul(rows, self.pair))  # (1, C, 1, 2K): theta beside phi
        own = F.relu(torch.matmul(rows, self.own))  # (1, C, 1, K + 1)
        theta, phi = pair.split(self.inner, COLUMN)
        right = torch.cat((self.incoming(phi), self.outgoing(theta)), COLUMN)  # (1, L, 1, 2K)
        relations = torch.matmul(pair, self.layout.channels_to_columns(right))  # (1, C, 1, L)
        relations = F.relu(relations + torch.matmul(own, self.shift))
        hidden = torch.matmul(relations, self.from_relations) + torch.matmul(own, self.from_own)
        return torch.sigmoid(self.gate_shift(torch.matmul(F.relu(hidden), self.gate)))


def _constant(module: nn.Module, name: str, value: Tensor) -> None:
    module.register_buffer(name, value.contiguous(), persistent=False)


def _last_row(values: Tensor, above: int) -> Tensor:
    """``values`` as the last row of a matrix below ``above`` rows of zeros."""
    return torch.cat((values.new_zeros(above, len(values)), values[None]))
