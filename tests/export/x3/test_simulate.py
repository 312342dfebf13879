"""The simulated X3: its graph rule by rule, its numbers in integers, its accuracy."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import onnx
import pytest

from benchmarks.datasets import open_retrieval_set
from export.graph import Graph, attribute
from export.judge import run_onnx
from export.parity import compare
from export.x3.opset13 import FLATTEN
from export.x3.simulate import Simulation, measure, seen_by_board, simulate
from runtime.contract import EmbeddingContract, InputContract
from runtime.errors import ReidEdgeError
from runtime.nv12 import through_nv12
from runtime.preprocess import preprocess
from tests.export.cli_helpers import (
    HEIGHT,
    WIDTH,
    drawn_pixels,
    float_graph,
    market_folder,
    small_network,
)
from tests.export.small_models import node, normal, run, small_model

CONTRACT = InputContract(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return drawn_pixels(24)


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    """A narrow ResNet-18 with the neck folded as for any target: a Mul and an Add on vectors."""
    return float_graph(small_network()).to_model()


@pytest.fixture(scope="module")
def simulation(network, pixels) -> Simulation:
    return simulate(network, pixels[:12], pixels[12:], calibration_type="max", threads=1)


# -- the graph ---------------------------------------------------------------------------------------


def test_every_bpu_operator_reads_int8(simulation):
    """Walks the written file: what a node of the BPU reads comes through a symmetric pair."""
    graph = Graph(simulation.model)
    made_by = {t: n for n in graph.nodes for t in n.output}
    on_cpu = {FLATTEN, *simulation.record["cpu_nodes"]}
    counted: Counter[str] = Counter()
    for n in graph.nodes:
        if n.op_type in ("QuantizeLinear", "DequantizeLinear") or n.name in on_cpu:
            continue
        fused = 0
        for position, tensor in enumerate(n.input):
            source = made_by[tensor]
            if source.op_type != "DequantizeLinear":
                # Only from inside the same operator: a convolution's accumulator.
                assert source.op_type in ("Conv", "Add") and n.op_type in ("Relu", "Add"), n.name
                assert len(graph.consumers(tensor)) == 1
                fused += 1
                continue
            scale, zero = (graph.initializers[t] for t in source.input[1:])
            assert not zero.any() and (scale > 0).all() and scale.dtype == np.float32
            kind = (
                "activation" if n.op_type != "Conv" else ("activation", "weight", "bias")[position]
            )
            counted[kind] += 1
            if kind == "activation":
                assert zero.dtype == np.int8 and scale.shape == ()
                before = made_by[source.input[0]]
                assert before.op_type == "QuantizeLinear"
                assert list(before.input[1:]) == list(source.input[1:])
            else:
                codes = graph.initializers[source.input[0]]
                assert scale.shape == (len(codes),) and attribute(source, "axis") == 0
                assert codes.dtype == (np.int8 if kind == "weight" else np.int32)
                if kind == "weight":
                    assert (np.abs(codes.reshape(len(codes), -1)).max(axis=1) == 127).all()
        assert fused <= 1, n.name
    convolutions = sum(n.op_type == "Conv" for n in graph.nodes)
    assert counted["weight"] == counted["bias"] == convolutions == len(simulation.placement.weights)
    assert counted["activation"] > convolutions
    kinds = Counter(n.op_type for n in graph.nodes if n.name in on_cpu)
    assert kinds == {"Flatten": 2, "Mul": 1, "Add": 1}, "the checker leaves vectors to the CPU"


def test_every_tensor_the_bpu_hands_out_is_int8(simulation):
    graph = Graph(simulation.model)
    on_cpu = {FLATTEN, *simulation.record["cpu_nodes"]}
    for n in graph.nodes:
        if n.name in on_cpu or n.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        readers = graph.consumers(n.output[0])
        if any(r.op_type == "QuantizeLinear" for r in readers):
            assert len(readers) == 1, n.name
        else:
            assert [r.op_type for r in readers] in (["Relu"], ["Add"]), n.name


def test_header_and_shapes(simulation, network, pixels):
    onnx.checker.check_model(simulation.model, full_check=True)
    assert simulation.model.opset_import[0].version == 13
    assert simulation.model.ir_version <= 7
    before = run(network, pixels[:3])
    np.testing.assert_allclose(run(simulation.float_model, pixels[:3]), before, atol=1e-5)
    assert run(simulation.model, pixels[:3]).shape == before.shape


def test_record_states_what_was_measured(simulation, pixels):
    record = simulation.record
    reference, got = (run(m, pixels[12:]) for m in (simulation.float_model, simulation.model))
    measured = compare(reference, got)
    assert 0.9 < measured.cosine_mean < 1.0
    assert record["held_out_cosine"] == pytest.approx(measured.cosine_mean, abs=5e-3)
    assert record["held_out_cosine_min"] <= record["held_out_cosine"]
    assert record["methods"] == {"max": len(simulation.thresholds.methods)}
    assert record["rounded_tensors"] == len(simulation.placement.tensors)
    assert record["calibration_type"] == "max" and record["first_crop_cosines"] == {}


# -- the numbers -------------------------------------------------------------------------------------


def test_the_model_computes_what_integers_do():
    """Two convolutions with a fused shortcut, in int64 by hand."""
    weights = {"w0": normal(4, 3, 1, 1), "w1": normal(4, 4, 1, 1, seed=1), "b1": normal(4, seed=2)}
    model = small_model(
        [
            node("Conv", "x w0", "a", "stem"),
            node("Relu", "a", "r", "relu"),
            node("Conv", "r w1 b1", "c", "main"),
            node("Add", "c r", "s", "add"),
            node("MaxPool", "s", "m", "pool", kernel_shape=[5, 4]),
            node("Conv", "m w1 b1", "y", "neck"),
        ],
        weights,
        shape=(1, 3, 5, 4),
        opset=11,
    )
    images = normal(6, 3, 5, 4, seed=3)
    found = simulate(model, images, images, calibration_type="max", threads=1)
    assert set(found.placement.tensors) == {"x", "r", "s", "m"}
    scale = {t: np.float64(np.float32(s.scale)) for t, s in found.thresholds.scales.items()}
    assert scale["m"] == scale["s"]

    def codes(values, step):
        return np.clip(np.rint(values / step), -128, 127)

    def convolved(q, weight, bias, step):
        """int32 accumulators of int8 codes, and the size of one count, per channel."""
        weight = weight[:, :, 0, 0].astype(np.float64)
        per_channel = np.float32(np.abs(weight).max(axis=1) / 127).astype(np.float64)
        total = np.einsum("oi,nihw->nohw", np.rint(weight / per_channel[:, None]), q)
        count = (step * per_channel)[None, :, None, None]
        if bias is not None:
            total += np.rint(bias.reshape(1, -1, 1, 1) / count)
        return total * count

    x = codes(images.astype(np.float64), scale["x"])
    r = codes(np.maximum(convolved(x, weights["w0"], None, scale["x"]), 0), scale["r"])
    c = convolved(r, weights["w1"], weights["b1"], scale["r"])
    s = codes(c + r * scale["r"], scale["s"])  # c is not rounded before
    m = s.max(axis=(2, 3), keepdims=True)  # codes, not rounded again
    y = convolved(m, weights["w1"], weights["b1"], scale["m"])  # nor is the output
    expected = y[:, :, 0, 0]
    for optimize in (False, True):  # as written, and in ONNX Runtime's integer kernels
        got = run_onnx(found.model, images, threads=1, optimize=optimize)
        assert got.shape == (6, 4)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    reference = run_onnx(found.float_model, images, threads=1)
    assert np.abs(got - reference).max() > 1e-3, "rounding must show"


def test_what_the_checker_sends_to_the_cpu_is_float():
    """Erf has no BPU kernel: its input is int8, its output is not, until the BPU reads it."""
    nodes = [
        node("Conv", "x w0", "a", "stem"),
        node("Erf", "a", "e", "erf"),
        node("Neg", "e", "n", "negative"),
        node("Conv", "n w1", "c", "back"),
        node("GlobalAveragePool", "c", "p", "pool"),
        node("Conv", "p w1", "y", "neck"),
    ]
    model = small_model(
        nodes, {"w0": normal(4, 3, 3, 3), "w1": normal(4, 4, 1, 1)}, shape=(1, 3, 9, 7), opset=11
    )
    images = normal(4, 3, 9, 7)
    found = simulate(model, images, images, calibration_type="kl", threads=1)
    assert found.record["cpu_nodes"] == ["erf", "negative"]
    assert set(found.placement.tensors) == {"x", "a", "n", "c", "p"}


def test_a_branch_that_is_always_zero_is_named_and_does_no_harm():
    gate = np.full((4, 4, 1, 1), -1, np.float32)
    model = small_model(
        [
            node("Conv", "x w0", "a", "stem"),
            node("Relu", "a", "r", "relu"),
            node("Conv", "r dead", "d", "dead_conv"),
            node("Relu", "d", "z", "dead_relu"),
            node("Add", "r z", "s", "add"),
            node("GlobalAveragePool", "s", "p", "pool"),
            node("Conv", "p w1", "y", "neck"),
        ],
        {"w0": normal(4, 3, 3, 3), "dead": gate, "w1": normal(4, 4, 1, 1)},
        shape=(1, 3, 9, 7),
        opset=11,
    )
    images = normal(4, 3, 9, 7)
    found = simulate(model, images, images, calibration_type="max", threads=1)
    assert found.record["constant_tensors"] == ["z"]
    assert found.record["held_out_cosine"] > 0.999


# -- refusals ----------------------------------------------------------------------------------------


def one_conv(middle: str = "Relu", **attributes) -> onnx.ModelProto:
    return small_model(
        [
            node("Conv", "x w", "c", "conv"),
            node(middle, "c", "r", "middle", **attributes),
            node("GlobalAveragePool", "r", "y", "pool"),
        ],
        {"w": normal(4, 3, 3, 3)},
        shape=(1, 3, 9, 7),
        opset=11,
    )


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (one_conv(), {"cpu_nodes": frozenset({"elsewhere"})}, "no node elsewhere .and 0 more"),
        (one_conv(), {"cpu_nodes": frozenset({"conv"})}, "No convolution of this network runs on the BPU"),
        (one_conv("Mean"), {}, "Mean middle .and 0 more. has no kernel on the X3"),
        (one_conv(), {"calibration_type": "skip"}, "must be one of default, mix, kl, max"),
        (one_conv(), {"max_percentile": 0.999}, "belongs to calibration type max"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_refused(model, options, message):
    images = normal(2, 3, 9, 7)
    with pytest.raises(ReidEdgeError, match=message):
        simulate(model, images, images, threads=1, **options)


# -- NV12 and accuracy -------------------------------------------------------------------------------


def test_the_board_sees_the_crop_at_network_size_through_nv12():
    crop = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    for color in ("RGB", "BGR"):
        got = seen_by_board(CONTRACT.with_(color=color))(crop)
        np.testing.assert_array_equal(got, through_nv12(cv2.resize(crop, (WIDTH, HEIGHT))))
    assert preprocess([got], CONTRACT).shape == (1, 3, HEIGHT, WIDTH)


def test_an_odd_network_has_no_nv12():
    with pytest.raises(ReidEdgeError, match="even height and width"):
        seen_by_board(CONTRACT.with_(width=33))(np.zeros((40, 40, 3), np.uint8))


def test_accuracy_of_float_board_and_board_with_nv12(simulation, tmp_path):
    dataset = open_retrieval_set(market_folder(tmp_path / "market", identities=4, each=4))
    dim = run(simulation.float_model, drawn_pixels(1)).shape[1]
    report = measure(simulation, dataset, CONTRACT, EmbeddingContract(dim), threads=1)
    assert list(report.results) == ["fp32", "int8", "int8_nv12"]
    data = report.to_dict()
    for name in ("int8", "int8_nv12"):
        assert data[name]["mAP_drop"] == pytest.approx(data["fp32"]["mAP"] - data[name]["mAP"])
    assert data["dataset"]["queries"] > 4
    assert not np.array_equal(report.results["int8"].ap, report.results["int8_nv12"].ap)


@pytest.mark.slow
def test_osnet_loses_at_most_six_tenths_of_a_point(shared):
    """OSNet x0.25 with its trained weights on the Market-1501 split, from the graph hb_mapper gets."""
    from calibration.layouts import training_crops
    from export.x3.graph import x3_graph
    from models.checkpoint import load_network
    from runtime.preprocess import read_image

    loaded = load_network(shared / "weights" / "osnet_x0_25_market1501.pth")
    data = shared / "data" / "market1501"
    found, _ = training_crops(data)
    order = np.random.default_rng(0).permutation(len(found))[:132]
    x3 = x3_graph(loaded)
    crops = preprocess([read_image(found[i].path) for i in order], x3.input)
    simulation = simulate(x3.model, crops[:100], crops[100:], threads=1)
    assert simulation.record["cpu_nodes"] == []
    report = measure(simulation, open_retrieval_set(data), x3.input, loaded.embedding).to_dict()
    assert report["fp32"]["mAP"] == pytest.approx(86.15, abs=0.2)
    assert report["int8"]["mAP_drop"] <= 0.6
    assert report["int8_nv12"]["mAP_drop"] <= 0.6
