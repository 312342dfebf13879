"""Which tensors get a range, and what a calibration run refuses or remarks."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest

from calibration.collect import collect_ranges
from calibration.table import CalibrationTable
from export.graph import Graph
from export.placement import cpu, xavier
from export.placement.base import main_path
from export.ranges import (
    cache_scales,
    dead_channels,
    model_sha256,
    refuse_dead,
    tensors_to_calibrate,
)
from models.network import ReidNetwork, fc_neck
from models.osnet import OSNet, OSNetConfig
from models.pooling import AvgPool
from runtime.errors import ReidEdgeError
from tests.export.cli_helpers import float_graph, small_network
from tests.export.small_models import node, normal, small_model


def resnet() -> Graph:
    return float_graph(small_network())


def osnet() -> Graph:
    network = ReidNetwork(OSNet(OSNetConfig((16, 64, 96, 128))), AvgPool(), fc_neck(128, 512), 512)
    return float_graph(network.eval())


def two_layers(first: np.ndarray, second: np.ndarray) -> Graph:
    """Conv, ReLU, Conv, global pooling."""
    return Graph(
        small_model(
            [
                node("Conv", "x w0", "a", "first", pads=[1] * 4),
                node("Relu", "a", "r", "relu"),
                node("Conv", "r w1", "b", "second", pads=[1] * 4),
                node("GlobalAveragePool", "b", "p", "pool"),
                node("Flatten", "p", "y", "flatten"),
            ],
            {"w0": first, "w1": second},
        )
    )


def calibrated(graph: Graph, pixels: np.ndarray) -> CalibrationTable:
    histograms = collect_ranges(graph.to_model(), tensors_to_calibrate(graph), [pixels], threads=1)
    return CalibrationTable.from_histograms(histograms.values(), "minmax", "0" * 64)


@pytest.mark.parametrize("build", [resnet, osnet])
def test_every_target_finds_its_tensors(build):
    graph = build()
    wanted = tensors_to_calibrate(graph)
    assert len(set(wanted)) == len(wanted)
    assert set(xavier.place(graph).tensors) | set(cpu.place(graph).tensors) <= set(wanted)
    order = {graph.input_name: -1}
    order.update({t: i for i, n in enumerate(graph.nodes) for t in n.output})
    assert wanted == sorted(wanted, key=order.__getitem__)
    assert graph.output_name not in wanted


@pytest.mark.parametrize("build", [resnet, osnet])
def test_implicit_int8_gets_every_feature_map_of_the_main_path(build):
    """The DLA's INT8 has scales from the cache alone."""
    graph = build()
    shapes, on_main_path = graph.shapes(), main_path(graph)
    maps = {
        t
        for n in graph.nodes
        if n.name in on_main_path
        for t in n.output
        if len(shapes[t]) == 4 and t != graph.output_name
    }
    assert len(maps) > 20
    assert maps <= set(tensors_to_calibrate(graph))


def test_model_sha256_is_that_of_the_file(tmp_path):
    model = resnet().to_model()
    onnx.save(model, tmp_path / "model.onnx")
    digest = hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    assert model_sha256(model) == digest


def test_dead_layer_is_refused_by_name():
    graph = two_layers(normal(8, 3, 3, 3), np.zeros((8, 8, 3, 3), np.float32))
    table = calibrated(graph, normal(4, 3, 9, 7))
    with pytest.raises(ReidEdgeError, match="All weights of second are zero"):
        refuse_dead(graph, table)


def test_dead_tensor_is_refused_by_name():
    """Weights below zero on inputs above it: the ReLU lets nothing through."""
    graph = two_layers(-np.abs(normal(8, 3, 3, 3)), normal(8, 8, 3, 3))
    table = calibrated(graph, np.abs(normal(4, 3, 9, 7)))
    with pytest.raises(ReidEdgeError, match=r"Tensor r \(and \d+ more\) was zero on every"):
        refuse_dead(graph, table)


def test_healthy_network_passes_without_remarks():
    graph = two_layers(normal(8, 3, 3, 3), normal(8, 8, 3, 3))
    refuse_dead(graph, calibrated(graph, normal(4, 3, 9, 7)))
    assert dead_channels(graph) == []


def test_dead_channels_are_counted_and_the_worst_layer_named():
    first, second = normal(8, 3, 3, 3), normal(8, 8, 3, 3)
    first[2], second[[1, 4, 5]] = 0, 0
    graph = two_layers(first, second)
    refuse_dead(graph, calibrated(graph, normal(4, 3, 9, 7)))
    (sentence,) = dead_channels(graph)
    assert sentence.startswith(
        "4 output channels in 2 layers have no weights left (most in second)"
    )


def test_dead_rows_of_a_linear_layer_are_output_channels():
    """Gemm with transB keeps outputs in rows, without it in columns."""
    for transposed in (0, 1):
        weight = normal(3, 5)
        weight[:, 2] = 0
        constants = {"w": np.ascontiguousarray(weight.T) if transposed else weight}
        graph = Graph(
            small_model(
                [
                    node("GlobalAveragePool", "x", "p", "pool"),
                    node("Flatten", "p", "f", "flatten"),
                    node("Gemm", "f w", "y", "linear", transB=transposed),
                ],
                constants,
            )
        )
        assert dead_channels(graph)[0].startswith("1 output channels in 1 layers")


def test_cache_leaves_out_what_float_layers_touch():
    graph = two_layers(normal(8, 3, 3, 3), normal(8, 8, 3, 3))
    table = calibrated(graph, normal(4, 3, 9, 7))
    assert cache_scales(graph, table, []) == table.scales
    assert set(table.scales) - set(cache_scales(graph, table, ["second"])) == {"r", "b"}
    assert set(cache_scales(graph, table, ["first", "second"])) == {"p"}
