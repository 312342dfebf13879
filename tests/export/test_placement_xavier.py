"""Quantized Xavier graphs keep every TensorRT rule."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from export import qdq
from export.graph import Graph
from export.placement import xavier
from models.checkpoint import load_network
from models.zoo import default_network
from runtime.preprocess import preprocess
from tests.export.conftest import rewritten
from tests.export.small_models import node, normal, run, small_model
from tests.export.tensorrt_rules import float_graph, violations


def quantized(model, images):
    """Place, take ranges from ``images``, insert; returns the placement too."""
    graph = Graph(model)
    placement = xavier.place(graph)
    values = run(model, images, placement.tensors)
    scales = {t: qdq.symmetric(np.abs(v).max()) for t, v in zip(placement.tensors, values)}
    return qdq.insert(graph, placement, scales), placement


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def int8_convolutions(model):
    made_by = {t: n.op_type for n in model.graph.node for t in n.output}
    return [
        n.name
        for n in model.graph.node
        if n.op_type == "Conv" and made_by.get(n.input[0]) == "DequantizeLinear"
    ]


def check(model, images, convolutions, additions, least_cosine):
    result, placement = quantized(model, images)
    assert violations(result) == []
    onnx.checker.check_model(result, full_check=True)

    nodes, constants = float_graph(result)
    before, weights = float_graph(model)
    assert nodes == before
    assert constants.keys() == weights.keys()
    assert all(np.array_equal(constants[k], weights[k]) for k in weights)

    assert len(int8_convolutions(result)) == convolutions
    made_by = {t: n.op_type for n in result.graph.node for t in n.output}
    dequantized = [
        sum(made_by.get(t) == "DequantizeLinear" for t in n.input)
        for n in result.graph.node
        if n.op_type == "Add"
    ]
    assert (dequantized.count(1), dequantized.count(2)) == (additions, 0)
    weighted = {n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm")}
    assert weighted == set(placement.weights) | set(placement.skipped)
    assert set(placement.weights) == set(int8_convolutions(result))
    assert cosine(run(result, images), run(model, images)).min() >= least_cosine


# name -> (convolutions in INT8, residual additions with an INT8 shortcut)
NETWORKS = {
    "bot_r18": (20, 8),
    "bot_r50": (53, 16),
    "bot_r50_ibn_a": (53, 16),
    "rga_sc_r50": (53, 16),
    "fastreid_sbs_r50_ibn": (53, 16),
    "osnet_ain_x1_0": (139, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_golden_networks(name, exported):
    network = exported(name)
    check(network.model, network.pixels, *NETWORKS[name], least_cosine=0.999)


def test_trained_osnet_on_real_crops(shared):
    loaded = load_network(shared / "weights" / "osnet_x0_25_market1501.pth")
    files = sorted((shared / "data" / "market1501" / "bounding_box_train").glob("*.jpg"))[::150][:8]
    crops = preprocess([cv2.imread(str(f)) for f in files], loaded.input)
    check(rewritten(loaded).to_model(), crops, 139, 6, least_cosine=0.99)


@pytest.fixture(scope="module")
def default_graph():
    return rewritten(default_network()).to_model()


def test_default_network(default_graph):
    check(default_graph, normal(2, 3, 128, 64), 20, 8, least_cosine=0.999)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_choice_of_layers_left_in_float_is_legal(default_graph, data):
    graph = Graph(default_graph)
    names = [n.name for n in graph.nodes if n.op_type == "Conv"]
    keep = frozenset(data.draw(st.sets(st.sampled_from(names))))
    placement = xavier.place(graph, keep)
    result = qdq.insert(graph, placement, {t: qdq.symmetric(1.0) for t in placement.tensors})
    assert violations(result) == []
    assert not keep & set(int8_convolutions(result))
    assert all(placement.skipped[name] for name in keep)


def test_nothing_quantized_leaves_the_float_graph(default_graph):
    graph = Graph(default_graph)
    placement = xavier.place(graph, frozenset(n.name for n in graph.nodes))
    assert (placement.tensors, placement.weights) == ([], [])
    assert float_graph(qdq.insert(graph, placement, {}))[0] == float_graph(default_graph)[0]


def test_first_convolution_is_quantized_behind_normalisation_in_the_graph():
    constants = {
        "mean": normal(1, 3, 1, 1),
        "std": normal(1, 3, 1, 1) ** 2 + 1,
        "w": normal(16, 3, 3, 3),
        "v": normal(8, 16, 3, 3),
        "u": normal(16, 8, 3, 3),
    }
    model = small_model(
        [
            node("Sub", "x mean", "c"),
            node("Div", "c std", "d"),
            node("Conv", "d w", "e", "first"),
            node("Conv", "e v", "f", "narrow"),
            node("Conv", "f u", "g", "from_narrow"),
            node("GlobalAveragePool", "g", "h"),
            node("Flatten", "h"),
        ],
        constants,
    )
    placement = xavier.place(Graph(model))
    assert placement.weights == ["first"]
    assert placement.skipped == dict.fromkeys(["narrow", "from_narrow"], "fewer than 16 channels")


@pytest.mark.parametrize("broken", ["attribute", "extra node", "weights"])
def test_float_graph_sees_what_changed_below(broken, default_graph):
    graph = Graph(default_graph)
    conv = next(n for n in graph.nodes if n.op_type == "Conv")
    if broken == "weights":
        graph.initializers[conv.input[1]] = graph.initializers[conv.input[1]] * 1.0001
    elif broken == "extra node":
        conv.input[0] = graph.add_node("Relu", [conv.input[0]], ["extra"]).output[0]
    else:
        next(n for n in graph.nodes if n.op_type == "MaxPool").attribute[0].CopyFrom(
            helper.make_attribute("ceil_mode", 1)
        )
    nodes, constants = float_graph(graph.to_model())
    before, weights = float_graph(default_graph)
    same = nodes == before and all(np.array_equal(constants[k], weights[k]) for k in weights)
    assert not same
