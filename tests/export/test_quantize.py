"""Quantizing one float graph: the choices are those the held-out crops speak for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import export.quantize
from calibration.collect import collect_ranges
from calibration.methods import METHODS
from calibration.table import CalibrationTable
from export.fakequant import FakeQuantizer
from export.graph import Graph
from export.parity import compare
from export.qdq import asymmetric, insert, symmetric
from export.quantize import AUTO_METHODS, POLICIES, Quantizer
from export.ranges import tensors_to_calibrate
from runtime.errors import ReidEdgeError
from tests.export.cli_helpers import drawn_pixels, float_graph, small_network
from tests.export.small_models import node, normal, run, small_model

N_LEARN = 20


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(small_network())


@pytest.fixture(scope="module")
def pixels():
    return drawn_pixels(36)


@pytest.fixture(scope="module")
def table(graph, pixels) -> CalibrationTable:
    histograms = collect_ranges(
        graph.to_model(), tensors_to_calibrate(graph), [pixels[:N_LEARN]], threads=1
    )
    return CalibrationTable.from_histograms(histograms.values(), "percentile", "0" * 64)


@pytest.fixture(scope="module", params=["xavier", "cpu"])
def quantizer(request, graph, table, pixels) -> Quantizer:
    return Quantizer(graph, request.param, table, pixels[:N_LEARN], pixels[N_LEARN:], threads=1)


@pytest.fixture(scope="module")
def plain(quantizer):
    return quantizer.run("minmax", "none")


def held_out_cosine(quantizer, model) -> float:
    """Measured again, without the code under test."""
    reference = run(quantizer.graph.to_model(), quantizer.held_out)
    return compare(reference, run(model, quantizer.held_out)).cosine_mean


def test_record_states_what_was_measured(quantizer, plain):
    assert plain.record["method"] == "minmax"
    assert plain.record["improvements"] == []
    assert list(plain.record["methods_tried"]) == ["minmax"]
    expected = held_out_cosine(quantizer, plain.model)
    assert plain.record["held_out_cosine"] == pytest.approx(expected, abs=2e-3)
    assert 0.9 < expected < 1.0


def test_auto_takes_the_method_with_the_best_cosine(quantizer):
    found = quantizer.run("auto", "none")
    tried = found.record["methods_tried"]
    assert tuple(tried) == AUTO_METHODS and set(tried) <= set(METHODS)
    assert len(set(tried.values())) > 1, "the methods must differ for a choice to mean anything"
    assert tried[found.record["method"]] == found.record["held_out_cosine"] == max(tried.values())
    for tensor, scale in found.scales.items():
        losses = quantizer.table.tensors[tensor].losses[found.record["method"]]
        if quantizer.target == "xavier":
            assert scale.scale == pytest.approx(losses.amax / 127)
        else:
            low, high = min(losses.low, 0), max(losses.high, 0)
            assert scale.scale == pytest.approx((high - low) / 255)


def test_scales_have_the_form_the_target_runs(quantizer, plain):
    rectified = 0
    for tensor, scale in plain.scales.items():
        producer = quantizer.graph.producer(tensor)
        if quantizer.target == "xavier":
            assert (scale.dtype, scale.zero_point) == ("int8", 0)
        else:
            assert scale.dtype == "uint8"
            if producer is not None and producer.op_type == "Relu":
                assert scale.zero_point == 0  # no code is spent below a ReLU's range
                rectified += 1
    assert (rectified > 5) == (quantizer.target == "cpu")


def test_weights_are_stored_as_the_target_reads_them(quantizer, plain):
    stored = {n: v.dtype for n, v in Graph(plain.model).initializers.items() if v.ndim == 4}
    kinds = set(stored.values())
    assert (np.dtype(np.int8) in kinds) == (quantizer.target == "cpu")
    if quantizer.target == "cpu":
        assert plain.model.ByteSize() < 0.4 * quantizer.graph.to_model().ByteSize()


def test_without_keeps_those_layers_in_float(quantizer, plain):
    layers = plain.placement.weights
    kept = frozenset([layers[0], layers[4]])
    fewer = quantizer.without(kept, plain)
    assert fewer.placement.weights == [n for n in layers if n not in kept]
    assert kept <= set(fewer.placement.skipped)
    assert fewer.record["method"] == plain.record["method"]
    assert {t: fewer.scales[t] for t in plain.scales if t in fewer.scales} == {
        t: s for t, s in plain.scales.items() if t in fewer.scales
    }
    expected = held_out_cosine(quantizer, fewer.model)
    assert fewer.record["held_out_cosine"] == pytest.approx(expected, abs=2e-3)
    assert plain.record["held_out_cosine"] != fewer.record["held_out_cosine"]


def test_all_but_one_layer_in_float_is_nearly_exact(quantizer, plain):
    """On Xavier only: there a float layer reads and writes floats."""
    if quantizer.target == "cpu":
        pytest.skip("integer additions remain between float layers")
    almost = quantizer.without(frozenset(plain.placement.weights[1:]), plain)
    assert almost.placement.weights == plain.placement.weights[:1]
    assert almost.record["held_out_cosine"] > max(0.99, plain.record["held_out_cosine"])


def test_improvements_are_kept_only_where_they_help(quantizer, plain):
    found = quantizer.run("minmax", "auto")
    cosine = plain.record["held_out_cosine"]
    (step,) = found.record["improvements"]
    assert step["step"] == "bias" and step["kept"] == (step["held_out_cosine"] > cosine)
    cosine = max(cosine, step["held_out_cosine"])
    assert found.record["held_out_cosine"] == cosine > plain.record["held_out_cosine"]


def test_a_step_that_was_asked_for_is_kept_even_if_it_hurts(graph, table, pixels, monkeypatch):
    def spoil(fake, _graph, _images):
        with torch.no_grad():
            for n in fake.executor.graph.nodes:
                if n.name in fake.quantized_with_bias():
                    fake.executor.value(n.input[2]).add_(0.3)

    monkeypatch.setattr(export.quantize, "correct_biases", spoil)
    quantizer = Quantizer(graph, "xavier", table, pixels[:4], pixels[N_LEARN:], threads=1)
    asked = quantizer.run("minmax", "bias")
    (step,) = asked.record["improvements"]
    assert step["kept"] and asked.record["held_out_cosine"] == step["held_out_cosine"]
    (step,) = (offered := quantizer.run("minmax", "auto")).record["improvements"]
    assert not step["kept"] and offered.record["held_out_cosine"] > step["held_out_cosine"]


def test_nothing_is_fine_tuned_unasked(quantizer):
    found = quantizer.run("minmax", "auto")
    assert [s["step"] for s in found.record["improvements"]] == ["bias"]


def test_layers_kept_in_float_from_the_start(graph, table, pixels):
    full = Quantizer(graph, "cpu", table, pixels[:4], pixels[N_LEARN:], threads=1)
    kept = frozenset(full.place().weights[2:5])
    partial = Quantizer(
        graph, "cpu", table, pixels[:4], pixels[N_LEARN:], threads=1, keep_float=kept
    )
    found = partial.run("minmax", "none")
    assert not kept & set(found.placement.weights)
    more = frozenset([found.placement.weights[0]])
    assert not (kept | more) & set(partial.without(more, found).placement.weights)


def test_network_without_any_integer_layer_is_refused(table):
    model = small_model(
        [
            node("GlobalAveragePool", "x", "p", "pool"),
            node("Flatten", "p", "f", "flatten"),
            node("Gemm", "f w", "y", "neck"),
        ],
        {"w": normal(3, 8)},
        shape=("batch", 3, 64, 32),
    )
    quantizer = Quantizer(Graph(model), "xavier", table, drawn_pixels(4), drawn_pixels(4))
    with pytest.raises(ReidEdgeError, match="No layer of this network can run in INT8"):
        quantizer.run("minmax", "none")


@pytest.mark.parametrize("target", ["xavier", "cpu"])
def test_simulation_is_the_network_that_ships(target):
    """What is tuned in torch computes what the Q/DQ graph computes.

    Deep networks are no test: one code that falls the other way shifts all that follow.
    """
    weights = {"w%d" % i: normal(16, 16 if i else 3, 3, 3, seed=i, scale=0.2) for i in range(3)}
    model = small_model(
        [
            node("Conv", "x w0 b", "c0", "stem", pads=[1] * 4),
            node("Relu", "c0", "r0", "relu0"),
            node("Conv", "r0 w1", "c1", "inner", pads=[1] * 4),
            node("Add", "c1 r0", "s", "add"),
            node("Relu", "s", "r1", "relu1"),
            node("Conv", "r1 w2", "c2", "last", pads=[1] * 4, strides=[2, 2]),
            node("GlobalAveragePool", "c2", "p", "pool"),
            node("Flatten", "p", "y", "flatten"),
        ],
        {**weights, "b": normal(16)},
    )
    graph, pixels = Graph(model), normal(8, 3, 9, 7)
    placement = POLICIES[target](graph)
    tensors = [t for t in placement.tensors if t != "x"]
    values = dict(zip(tensors, run(model, pixels, tensors)), x=pixels)
    scales = {
        t: symmetric(np.abs(v).max()) if target == "xavier" else asymmetric(v.min(), v.max())
        for t, v in values.items()
    }
    shipped = run(insert(graph, placement, scales, store_int8=target == "cpu"), pixels)
    fake = FakeQuantizer(graph, placement, scales)
    with torch.no_grad():
        simulated = fake(torch.from_numpy(pixels)).numpy()
    rounding = compare(run(model, pixels), shipped).relative_l2_max
    assert compare(shipped, simulated).relative_l2_max < 0.5 * rounding
    assert {t: s.scale for t, s in fake.scales().items()} == pytest.approx(
        {t: s.scale for t, s in scales.items()}, rel=1e-5
    )
