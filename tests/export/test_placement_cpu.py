"""Placement for ONNX Runtime's CPU kernels, judged by what ONNX Runtime makes of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export.graph import Graph, attribute
from export.parity import compare
from export.placement import cpu
from export.placement.base import main_path, weight_of
from export.qdq import asymmetric, insert
from models.network import ReidNetwork, fc_neck
from models.osnet import OSNet, OSNetConfig
from models.pooling import AvgPool
from runtime.backends.onnxruntime import make_session
from tests.export.cli_helpers import drawn_pixels, float_graph, small_network
from tests.export.small_models import node, normal, run, small_model


def osnet_x0_25() -> ReidNetwork:
    torch.manual_seed(0)
    backbone = OSNet(OSNetConfig((16, 64, 96, 128)))
    network = ReidNetwork(backbone, AvgPool(), fc_neck(128, 512), 512)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(drawn_pixels(16, seed=3)))
    return network.eval()


@pytest.fixture(scope="module", params=["resnet18", "osnet"])
def graph(request) -> Graph:
    return float_graph(small_network() if request.param == "resnet18" else osnet_x0_25())


@pytest.fixture(scope="module")
def pixels():
    return drawn_pixels(8)


def quantized(graph: Graph, placement, pixels) -> tuple[onnx.ModelProto, dict]:
    """The quantized model with exact ranges, and its scales."""
    tensors = [t for t in placement.tensors if t != graph.input_name]
    values = dict(
        zip(tensors, run(graph.to_model(), pixels, tensors)), **{graph.input_name: pixels}
    )
    scales = {t: asymmetric(values[t].min(), values[t].max()) for t in placement.tensors}
    return insert(graph, placement, scales, store_int8=True), scales


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """model -> the graph ONNX Runtime runs in its place, in a session as the runtime opens it."""
    path = tmp_path / "optimized.onnx"

    def options():
        made = onnxruntime_options()
        made.optimized_model_filepath = str(path)
        made.log_severity_level = 4  # it warns that the file is for this machine only
        return made

    def executed_(model: onnx.ModelProto) -> onnx.GraphProto:
        make_session(model.SerializeToString(), threads=1)
        return onnx.load(path).graph

    onnxruntime_options = onnxruntime.SessionOptions
    monkeypatch.setattr(onnxruntime, "SessionOptions", options)
    return executed_


def test_every_quantized_convolution_becomes_one_integer_kernel(graph, pixels, executed):
    placement = cpu.place(graph)
    model, _ = quantized(graph, placement, pixels)
    nodes = executed(model).node
    operators = Counter(n.op_type for n in nodes)
    assert operators["QLinearConv"] == len(placement.weights) > 15
    # Nothing is left of the ReLUs but those of layers in float.
    produced = {t: n for n in nodes for t in n.output}
    read_by_relu = [produced[n.input[0]].op_type for n in nodes if n.op_type == "Relu"]
    assert not {"QLinearConv", "DequantizeLinear"} & set(read_by_relu)


def test_embeddings_point_the_same_way(graph, pixels):
    """OSNet's random depthwise streams add up more rounding than trained ones."""
    model, _ = quantized(graph, cpu.place(graph), pixels)
    depthwise = any(attribute(n, "group", 1) > 1 for n in graph.nodes)
    measured = compare(run(graph.to_model(), pixels), run(model, pixels))
    assert measured.cosine_mean > (0.8 if depthwise else 0.97)


def test_rectified_tensors_use_all_codes_from_zero(graph, pixels):
    """Code 0 means 0.0: ONNX Runtime drops the ReLU only then."""
    placement = cpu.place(graph)
    _, scales = quantized(graph, placement, pixels)
    rectified = [
        t for t in placement.tensors if (p := graph.producer(t)) is not None and p.op_type == "Relu"
    ]
    assert len(rectified) > 5
    assert {(scales[t].zero_point, scales[t].dtype) for t in rectified} == {(0, "uint8")}
    assert scales[graph.input_name].zero_point > 0


def test_what_each_integer_kernel_reads_and_writes_is_quantized(graph):
    placement = cpu.place(graph)
    by_name = {n.name: n for n in graph.nodes}
    for name in placement.weights:
        assert placement.covers(by_name[name], 0), name
        assert cpu.result_of(graph, by_name[name]) in placement.reads, name


def test_residual_additions_are_integer(graph):
    placement = cpu.place(graph)
    on_main_path = main_path(graph)
    additions = [
        n
        for n in graph.nodes
        if n.op_type == "Add"
        and n.name in on_main_path
        and all(cpu.result_of(graph, p).startswith(t) for t in n.input if (p := graph.producer(t)))
        and all((p := graph.producer(t)) is not None and p.op_type == "Conv" for t in n.input)
    ]
    assert additions, "a shortcut with a convolution adds two of them"
    assert all(placement.covers(n, i) for n in additions for i in (0, 1))


def test_attention_embedding_and_vectors_stay_in_float(graph):
    placement = cpu.place(graph)
    on_main_path, shapes = main_path(graph), graph.shapes()
    weighted = [n for n in graph.nodes if weight_of(graph, n) is not None]
    assert sorted(placement.weights + list(placement.skipped)) == sorted(n.name for n in weighted)
    for n in weighted:
        if n.op_type == "Gemm" or n.name not in on_main_path:
            assert n.name in placement.skipped
        elif tuple(shapes[n.input[0]][2:]) == (1, 1):
            assert n.name in placement.skipped
        else:
            assert n.name in placement.weights
    embedding = graph.producer(graph.output_name)
    assert not any(placement.covers(embedding, i) for i in range(len(embedding.input)))


def test_layers_kept_in_float_run_in_float(graph, pixels, executed):
    everything = cpu.place(graph)
    kept = frozenset(everything.weights[1:-1:2])
    placement = cpu.place(graph, kept)
    assert placement.weights == [n for n in everything.weights if n not in kept]
    assert kept <= set(placement.skipped)
    model, _ = quantized(graph, placement, pixels)
    operators = Counter(n.op_type for n in executed(model).node)
    assert operators["QLinearConv"] == len(placement.weights)


def test_alternatives_are_distinct_and_named(graph):
    found = cpu.alternatives(graph)
    placed = [tuple(cpu.place(graph, kept).weights) for kept in found.values()]
    assert len(set(placed)) == len(placed)
    assert all(placed) and len(placed[0]) == max(map(len, placed))
    assert next(iter(found.items())) == ("all", frozenset())
    depthwise = {
        n.name for n in graph.nodes if n.op_type == "Conv" and attribute(n, "group", 1) > 1
    }
    assert ("no depthwise" in found) == bool(depthwise)
    if depthwise:
        assert not depthwise & set(cpu.place(graph, found["no depthwise"]).weights)
        separable = set(cpu.place(graph, found["no depthwise-separable"]).weights)
        assert len(separable) <= len(placed[0]) - 2 * len(depthwise)


def test_last_pooling_gives_float_and_an_inner_one_integers():
    """The embedding is wanted in float; a pooled vector that a convolution reads is not."""
    model = small_model(
        [
            node("Conv", "x w0", "a", "first", pads=[1] * 4),
            node("MaxPool", "a", "m", "shrink", kernel_shape=[2, 2]),
            node("Conv", "m w1", "b", "second"),
            node("GlobalAveragePool", "b", "p", "last"),
            node("Flatten", "p", "y", "flatten"),
        ],
        {"w0": normal(8, 3, 3, 3), "w1": normal(8, 8, 1, 1)},
    )
    graph = Graph(model)
    placement = cpu.place(graph)
    assert set(placement.tensors) == {"x", "a", "m", "b"}
    assert placement.covers(graph.producer("p"), 0)


def test_a_carrier_with_one_float_input_stays_float():
    model = small_model(
        [
            node("Conv", "x w0", "a", "quantized", pads=[1] * 4),
            node("Sigmoid", "x", "s", "gate"),
            node("Conv", "s w1", "b", "also", pads=[1] * 4),
            node("Tanh", "b", "t", "float"),
            node("Add", "a t", "c", "mixed"),
            node("GlobalAveragePool", "c", "p", "pool"),
            node("Flatten", "p", "y", "flatten"),
        ],
        {"w0": normal(8, 3, 3, 3), "w1": normal(8, 3, 3, 3)},
    )
    placement = cpu.place(Graph(model))
    assert placement.weights == ["quantized"]
    assert placement.skipped == {"also": "attention branch"}
    assert "c" not in placement.tensors and "t" not in placement.tensors
    assert np.isin(["x", "a"], placement.tensors).all()
