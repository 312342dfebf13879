"""Equalisation changes no result, and gives the channels it touches one range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.equalize import equalize
from export.executor import Executor
from export.graph import Graph
from tests.export.small_models import run

CHANNELS = 6


def separable(
    seed: int, relu: bool, bias: bool, spread: float, extra_reader: bool = False
) -> Graph:
    """1x1 convolution, maybe a ReLU, depthwise 3x3; channel ranges differ by ``spread``."""
    rng = np.random.default_rng(seed)
    pointwise = (
        rng.normal(size=(CHANNELS, 3, 1, 1))
        * np.geomspace(1, spread, CHANNELS)[:, None, None, None]
    )
    weights = {
        "pw": pointwise,
        "pb": rng.normal(size=CHANNELS) * 0.1,
        "dw": rng.normal(size=(CHANNELS, 1, 3, 3)),
        "db": rng.normal(size=CHANNELS),
    }
    middle = "rectified" if relu else "between"
    nodes = [helper.make_node("Conv", ["images", "pw"] + ["pb"] * bias, ["between"], "first")]
    if relu:
        nodes.append(helper.make_node("Relu", ["between"], ["rectified"], "relu"))
    nodes.append(
        helper.make_node(
            "Conv", [middle, "dw", "db"], ["out"], "second", group=CHANNELS, pads=[1, 1, 1, 1]
        )
    )
    final = "out"
    if extra_reader:
        nodes.append(helper.make_node("Add", ["out", middle], ["sum"], "add"))
        final = "sum"
    graph = helper.make_graph(
        nodes,
        "separable",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info(final, TensorProto.FLOAT, ["batch", CHANNELS, 8, 8])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return Graph(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    )


IMAGES = np.random.default_rng(7).normal(size=(4, 3, 8, 8)).astype(np.float32)


def channel_ranges(graph: Graph, node: str) -> np.ndarray:
    import torch

    seen = {}

    def made(made_node, tensor):
        seen[made_node.name] = tensor
        return tensor

    with torch.no_grad():
        Executor(graph)(torch.from_numpy(IMAGES), made=made)
    return seen[node].abs().amax((0, 2, 3)).numpy()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.booleans(), st.booleans(), st.floats(1.0, 8.0))
def test_the_result_stays_and_the_ranges_meet(seed, relu, bias, spread):
    graph = separable(seed, relu, bias, spread)
    before = run(graph.to_model(), IMAGES)
    assert equalize(graph, IMAGES) == 1
    np.testing.assert_allclose(run(graph.to_model(), IMAGES), before, rtol=1e-4, atol=1e-4)
    ranges = channel_ranges(graph, "relu" if relu else "first")
    assert ranges[ranges > 0].max() / ranges[ranges > 0].min() < 1.01


def test_a_tensor_with_another_reader_is_left_alone():
    graph = separable(0, relu=True, bias=True, spread=50.0, extra_reader=True)
    before = {k: v.copy() for k, v in graph.initializers.items()}
    assert equalize(graph, IMAGES) == 0
    for name, value in before.items():
        np.testing.assert_array_equal(graph.initializers[name], value)


def test_a_dead_channel_is_left_alone():
    graph = separable(1, relu=False, bias=False, spread=10.0)
    graph.initializers["pw"] = graph.initializers["pw"].copy()
    graph.initializers["pw"][2] = 0.0
    before = run(graph.to_model(), IMAGES)
    equalize(graph, IMAGES)
    after = run(graph.to_model(), IMAGES)
    assert np.isfinite(after).all()
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_nothing_to_do_without_depthwise_convolutions():
    graph = separable(0, relu=False, bias=True, spread=5.0)
    graph.nodes = [n for n in graph.nodes if n.name != "second"]
    graph.nodes[-1].output[0] = "out"
    assert equalize(graph, IMAGES) == 0


@pytest.mark.parametrize("spread", [1e4])
def test_the_factor_is_bounded(spread):
    """A channel of noise is not blown up to the size of a real one."""
    graph = separable(3, relu=False, bias=False, spread=spread)
    equalize(graph, IMAGES)
    ranges = channel_ranges(graph, "first")
    assert ranges.max() / ranges.min() > 10
