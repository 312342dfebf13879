"""Relation-aware attention on the BPU is the attention of the paper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph import Graph
from export.trace import trace
from export.x3.check_report import CPU
from export.x3.checker import check_model
from export.x3.graph import plain_graph, x3_graph
from export.x3.layout import LAYOUTS
from export.x3.rga import BpuRelationAttention
from models.rga import RelationAttention, RelationShape
from runtime.contract import InputContract
from tests.export.x3.small_networks import settle, small_network


def attention(shape: RelationShape, seed: int = 0) -> RelationAttention:
    torch.manual_seed(seed)
    module = RelationAttention(shape, "original").double()
    return settle(module, torch.randn(4, shape.channels, shape.height, shape.width).double(), seed)


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    assert got.shape == expected.shape
    return float((got - expected).norm() / expected.norm())


def rewritten(module: RelationAttention, layout: str, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return BpuRelationAttention(module, LAYOUTS[layout])(x)


@settings(max_examples=15, deadline=None)
@given(
    channels=st.sampled_from([8, 24, 72]),
    height=st.integers(1, 12),
    width=st.integers(1, 6),
    branches=st.sampled_from([(True, False), (False, True), (True, True)]),
    ratios=st.sampled_from([(8, 8, 8), (4, 2, 3)]),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_same_function_as_the_original(channels, height, width, branches, ratios, layout):
    module = attention(RelationShape(channels, height, width, *branches, *ratios))
    x = torch.randn(1, channels, height, width).double()
    with torch.no_grad():
        expected = module(x)
    assert relative_error(rewritten(module, layout, x), expected) <= 1e-12
    gates = expected / x
    assert 0 < gates.min() and gates.max() < 1, "a saturated gate would hide everything"


@pytest.mark.parametrize("branch", ["spatial", "channel"])
@pytest.mark.parametrize(
    "fault",
    ["halves", "bias", "theta", "gx"],
)
def test_every_part_of_a_branch_counts(branch, fault):
    """So that the agreement above means something."""
    module = attention(RelationShape(32, 8, 4, branch == "spatial", branch == "channel"))
    x = torch.randn(1, 32, 8, 4).double()
    before = rewritten(module, "bpu", x)
    part = module.branch(branch)
    if fault == "halves":
        weight = part["gg"][0].weight
        weight.data = torch.cat(weight.chunk(2, 1)[::-1], 1)
    elif fault == "bias":
        part["gg"][1].bias.data += 1
    else:
        part[fault][1].bias.data += 1
    after = rewritten(module, "bpu", x)
    assert relative_error(after, before) > 1e-4
    with torch.no_grad():
        assert relative_error(after, module(x)) <= 1e-12


def test_weights_are_those_of_the_moment():
    module = attention(RelationShape(8, 4, 4))
    x = torch.randn(1, 8, 4, 4).double()
    fused = BpuRelationAttention(module, LAYOUTS["bpu"])
    before = fused(x)
    module.branch("spatial")["W"][4].bias.data += 1
    assert torch.equal(fused(x), before)


class Stem(torch.nn.Module):
    """Images to a map for one attention module, so that it can be traced alone."""

    def __init__(self, module: torch.nn.Module, channels: int):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, channels, 1)
        self.attention = module

    def forward(self, x):
        return self.attention(self.conv(x))


@pytest.mark.parametrize(
    "channels, height, width",
    [(256, 64, 32), (2048, 16, 8), (64, 96, 32)],
    ids=["layer1", "layer4", "large input"],
)
def test_nothing_of_a_full_size_module_leaves_the_bpu(channels, height, width):
    """Sizes of ResNet-50 at 256x128; the third has 3072 positions, more than one sigmoid takes."""
    module = RelationAttention(RelationShape(channels, height, width)).eval()
    fused = Stem(BpuRelationAttention(module, LAYOUTS["bpu"]), channels)
    report = check_model(trace(fused, InputContract(height, width), 11, batch=1))
    assert report.on(CPU) == [], report.text()
    assert report.segments == 1 and report.problems == []


@pytest.mark.parametrize("branches", ["s", "c", "sc"])
def test_cpu_nodes_of_a_network(branches):
    loaded = small_network(rga=branches)
    plain = check_model(plain_graph(loaded))
    of_attention = [n for n in plain.on(CPU) if "/attention." in n.name]
    assert len(of_attention) >= 4 * 8 * len(branches)
    assert check_model(x3_graph(loaded).model).on(CPU) == []

    left = check_model(x3_graph(loaded, layout="cpu").model).on(CPU)
    assert {n.op for n in left} == {"Reshape", "Transpose"}
    assert all("/attention." in n.name for n in left)
    assert len(left) == 4 * {"s": 3, "c": 2, "sc": 5}[branches]
    assert 3 * len(left) <= len(of_attention)


def test_operators_of_a_network():
    graph = Graph(x3_graph(small_network(rga="sc")).model)
    assert {n.op_type for n in graph.nodes} <= {
        "Add", "Concat", "Conv", "GlobalAveragePool", "MatMul", "MaxPool", "Mul", "Relu",
        "Sigmoid", "Slice", "Split",
    }  # fmt: skip
    assert all(len(shape) == 4 for t, shape in graph.shapes().items() if graph.producer(t))
    dynamic = [
        n for n in graph.nodes if n.op_type == "MatMul" and graph.constant(n.input[1]) is None
    ]
    assert len(dynamic) == 8  # the one product of activations, in each branch
