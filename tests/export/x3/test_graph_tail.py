"""Pooling, necks and gates in (1, C, 1, 1), and the limits they keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.graph import Graph, attribute
from export.x3.blocks import padded_size, per_channel, sigmoid
from export.x3.pools import split_global_pools
from export.x3.split_attention import BpuSplitAttention
from export.x3.tail import BpuTail
from models.network import ReidNetwork, bn_neck, fc_neck
from models.pooling import AttentionPool, AvgPool, GeMPool, MaxPool
from models.resnest import SplitAttention
from runtime.errors import ReidEdgeError
from tests.export.small_models import node, normal, run, small_model
from tests.export.x3.small_networks import settle

POOLS = {
    "avg": AvgPool,
    "max": MaxPool,
    "gem": lambda: GeMPool(2.5),
    "attention": lambda: AttentionPool(6, 5, 3),
}
NECKS = {
    "none": lambda: None,
    "bnneck": lambda: bn_neck(6),
    "linear": lambda: nn.Linear(6, 4),
    "reduction": lambda: fc_neck(6, 4, relu=False),
    "reduction without bias": lambda: fc_neck(6, 4, bias=False),
    "fc": lambda: fc_neck(6, 4),
    "two layers": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)),
}


def network(pool="avg", neck="bnneck", feature="after_neck") -> ReidNetwork:
    torch.manual_seed(3)
    backbone = nn.Conv2d(3, 6, 1)
    backbone.out_channels = 6
    built = ReidNetwork(backbone, POOLS[pool](), NECKS[neck](), 4, feature).double()
    return settle(built, torch.randn(8, 3, 5, 3).double())


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("neck", NECKS)
@pytest.mark.parametrize("feature", ["after_neck", "before_neck"])
def test_tail_is_pooling_and_neck(pool, neck, feature):
    built = network(pool, neck, feature)
    x = torch.randn(3, 3, 5, 3).double()
    with torch.no_grad():
        got = BpuTail(built)(built.backbone(x))
        expected = built(x)
    assert got.shape == (*expected.shape, 1, 1)
    torch.testing.assert_close(got.flatten(1), expected, rtol=1e-12, atol=1e-12)


def test_attention_pool_does_not_overflow():
    built = network("attention")
    nn.init.constant_(built.pool.score.bias, 1e4)  # exp(1e4) is infinite in any format
    x = torch.randn(1, 3, 5, 3).double()
    with torch.no_grad():
        torch.testing.assert_close(BpuTail(built)(built.backbone(x)).flatten(1), built(x))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pool": nn.Flatten()}, "Pooling for the X3 must be one of .*MaxPool.*, this network has"),
        ({"neck": nn.LayerNorm(6)}, "Linear, BatchNorm1d and ReLU, this one has LayerNorm"),
    ],
    ids=["pool", "neck"],
)
def test_unknown_tails_are_refused(change, message):
    built = network()
    for name, module in change.items():
        setattr(built, name, module)
    with pytest.raises(ReidEdgeError, match=message):
        BpuTail(built)


def test_per_channel():
    layer = per_channel(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0]))
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    assert layer(x).tolist() == [[[[2.5, 4.5]], [[0.0, -1.0]]]]


@pytest.mark.parametrize(
    "size, padded",
    [((1, 64, 32), 8192), ((2048, 1, 1), 2048), ((3, 2, 9), 4 * 2 * 16), ((33, 1, 1), 64)],
)
def test_padded_size(size, padded):
    assert padded_size(*size) == padded


@pytest.mark.parametrize(
    "size, bands",
    [((1, 64, 32), 1), ((1, 96, 32), 2), ((1, 128, 64), 4), ((2, 128, 32), 2), ((1, 67, 64), 1)],
)
def test_sigmoid_in_bands(size, bands, monkeypatch):
    x = torch.randn(1, *size)
    seen = []
    original = torch.sigmoid
    monkeypatch.setattr(torch, "sigmoid", lambda t: seen.append(tuple(t.shape[1:])) or original(t))
    assert torch.equal(sigmoid(x), original(x))
    assert seen == [(size[0] * bands, size[1] // bands, size[2])]
    assert padded_size(*seen[0]) <= 8192 or bands == 1


def test_split_attention_without_subtraction():
    torch.manual_seed(0)
    source = SplitAttention(16).double()
    settle(source, torch.randn(4, 16, 7, 5).double())
    x = torch.randn(1, 16, 7, 5).double()
    with torch.no_grad():
        torch.testing.assert_close(BpuSplitAttention(source)(x), source(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "size, kernels",
    [
        ((128, 64), []),  # 8192 positions are allowed
        ((128, 66), [(4, 6)]),
        ((448, 640), [(7, 5)]),
        ((1400, 1400), [(7, 7), (5, 5)]),
        ((131, 67), []),  # no divisor: left to the CPU
        ((131, 134), []),  # half of it is still too large
    ],
)
def test_large_global_pools_are_split(size, kernels):
    model = small_model([node("GlobalAveragePool", "x", "y")], {}, (1, 2, *size), opset=11)
    graph = Graph(model)
    expected = run(model, normal(1, 2, *size))
    assert split_global_pools(graph) == bool(kernels)
    pools = [n for n in graph.nodes if n.op_type == "AveragePool"]
    assert [tuple(attribute(n, "kernel_shape")) for n in pools] == kernels
    assert [tuple(attribute(n, "strides")) for n in pools] == kernels
    got = run(graph.to_model(), normal(1, 2, *size))
    np.testing.assert_allclose(got, expected, atol=1e-5)
