"""Movements of channels as convolutions."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from export.graph import Graph
from export.rewrites import name_nodes
from export.x3.channel_moves import MOVERS, convolve_channel_moves
from export.x3.checker import check_model
from runtime.backends.onnxruntime import make_session

HEIGHT, WIDTH = 5, 3


def graph_of(nodes, constants, channels, outputs=("y",)) -> Graph:
    """``x`` (1, C, 5, 3) through a Relu, the nodes, and Relus whose sum is put out."""
    final = [helper.make_node("Relu", [name], [name + "_used"]) for name in outputs]
    total = helper.make_node("Sum", [n.output[0] for n in final], ["out"])
    proto = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"]), *nodes, *final, total],
        "moves",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v, np.int64), k) for k, v in constants.items()],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    graph = Graph(model)
    name_nodes(graph)
    return graph


def run(graph: Graph) -> np.ndarray:
    shape = (
        onnx.shape_inference.infer_shapes(graph.to_model()).graph.input[0].type.tensor_type.shape
    )
    sides = [d.dim_value for d in shape.dim]
    image = np.random.default_rng(0).standard_normal(sides).astype(np.float32)
    return make_session(graph.to_model().SerializeToString()).run(None, {"x": image})[0]


def moved(graph: Graph) -> int:
    """Rewrite, and check that nothing but the nodes changed."""
    before = run(graph)
    on_cpu = {n.name for n in check_model(graph.to_model()).nodes if n.on == "CPU"}
    count = convolve_channel_moves(graph, on_cpu)
    np.testing.assert_array_equal(run(graph), before)
    return count


def shuffle(groups, channels, then=()):
    constants = {
        "a": [1, groups, channels // groups, HEIGHT, WIDTH],
        "b": [1, channels, HEIGHT, WIDTH],
    }
    nodes = [
        helper.make_node("Reshape", ["r", "a"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["t", "b"], ["y"]),
        *then,
    ]
    return nodes, constants


def operators(graph: Graph) -> list[str]:
    return [n.op_type for n in graph.nodes]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 5))
def test_a_shuffle_is_one_convolution(groups, each):
    graph = graph_of(*shuffle(groups, groups * each), groups * each)
    trivial = groups == 1 or each == 1  # moves nothing
    assert moved(graph) == (0 if trivial else 1)
    assert not set(operators(graph)) & set(MOVERS)


def test_a_shuffle_that_is_split_is_a_convolution_for_each_part():
    split = helper.make_node("Split", ["y"], ["left", "right"], axis=1)
    nodes, constants = shuffle(2, 8, [split])
    graph = graph_of(nodes, constants, 8, ("left", "right"))
    assert moved(graph) == 2
    assert operators(graph) == ["Relu", "Conv", "Relu", "Conv", "Relu", "Sum"]


def test_every_second_channel_by_gather():
    """As ShuffleNetV2 of Megvii and FastestDet write it."""
    constants = {
        "a": [4, 2, HEIGHT * WIDTH],
        "b": [2, -1, 4, HEIGHT, WIDTH],
        "zero": 0,
        "one": 1,
    }
    nodes = [
        helper.make_node("Reshape", ["r", "a"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["t", "b"], ["u"]),
        helper.make_node("Gather", ["u", "zero"], ["even"], axis=0),
        helper.make_node("Gather", ["u", "one"], ["odd"], axis=0),
    ]
    graph = graph_of(nodes, constants, 8, ("even", "odd"))
    assert moved(graph) == 2 and "Gather" not in operators(graph)


def test_what_moves_places_too_is_left():
    constants = {"a": [1, 8, HEIGHT * WIDTH], "b": [1, 8, HEIGHT, WIDTH]}
    nodes = [
        helper.make_node("Reshape", ["r", "a"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["t", "b"], ["y"]),
    ]
    graph = graph_of(nodes, constants, 8)
    assert moved(graph) == 0 and operators(graph).count("Reshape") == 2


def test_a_split_that_the_bpu_takes_is_left():
    nodes = [helper.make_node("Split", ["r"], ["left", "right"], axis=1)]
    graph = graph_of(nodes, {}, 8, ("left", "right"))
    assert moved(graph) == 0 and "Split" in operators(graph)
