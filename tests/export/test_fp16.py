"""The half-precision network."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from export.fp16 import FLOAT16_MAX, overflow_risk, to_fp16
from export.graph import Graph, attribute
from export.parity import compare
from runtime.errors import ReidEdgeError
from tests.export.cli_helpers import drawn_pixels, float_graph, small_network
from tests.export.small_models import node, normal, run, small_model


@pytest.fixture(scope="module")
def graph():
    return float_graph(small_network())


def test_casts_stand_at_both_ends_and_everything_between_is_half(graph):
    half = to_fp16(graph)
    found = Graph(half)
    first, last = (n for n in found.nodes if n.op_type == "Cast")
    assert (first.input[0], attribute(first, "to")) == (found.input_name, TensorProto.FLOAT16)
    assert (last.output[0], attribute(last, "to")) == (found.output_name, TensorProto.FLOAT)
    assert found.consumers(found.input_name) == [first]
    floats = [v.dtype for v in found.initializers.values() if v.dtype.kind == "f"]
    assert floats and set(floats) == {np.dtype(np.float16)}

    typed = onnx.shape_inference.infer_shapes(half, strict_mode=True).graph.value_info
    kinds = {i.name: i.type.tensor_type.elem_type for i in typed}
    between = [t for n in found.nodes for t in n.output if t != found.output_name]
    assert {kinds[t] for t in between} == {TensorProto.FLOAT16}


def test_input_and_output_keep_name_type_and_free_batch(graph):
    before, after = graph.to_model().graph, to_fp16(graph).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)
    assert after.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_embedding_is_close_and_not_the_same(graph):
    pixels = drawn_pixels(12)
    reference, half = run(graph.to_model(), pixels), run(to_fp16(graph), pixels)
    assert half.dtype == np.float32 and np.isfinite(half).all()
    measured = compare(reference, half)
    assert measured.cosine_min > 0.9999
    assert 1e-6 < measured.relative_l2_max < 0.01  # half has 11 bits of mantissa


def test_the_graph_handed_in_stays_float(graph):
    before = graph.to_model().SerializeToString()
    to_fp16(graph)
    assert graph.to_model().SerializeToString() == before


def test_output_that_other_nodes_read_too():
    """Not only the last node reads its own output: here it is also an input further up."""
    model = small_model(
        [
            node("GlobalAveragePool", "x", "p", "pool"),
            node("Flatten", "p", "f", "flatten"),
            node("Mul", "f two", "y", "double"),
        ],
        {"two": np.float32(2)},
    )
    pixels = normal(2, 3, 9, 7)
    assert run(to_fp16(Graph(model)), pixels) == pytest.approx(
        run(model, pixels), rel=1e-2, abs=1e-3
    )


@pytest.mark.parametrize("value, allowed", [(FLOAT16_MAX, True), (-65600.0, False), (1e9, False)])
def test_weight_beyond_half_precision_is_refused_by_name(value, allowed):
    weight = normal(4, 3, 1, 1)
    weight[2, 1] = value
    graph = Graph(small_model([node("Conv", "x heavy", "y", "conv")], {"heavy": weight}))
    if allowed:
        assert np.isfinite(Graph(to_fp16(graph)).initializers["heavy"]).all()
    else:
        with pytest.raises(ReidEdgeError, match=r"Weight heavy reaches .* --precision fp32\."):
            to_fp16(graph)


def test_integer_constants_stay_integers():
    model = small_model(
        [
            node("GlobalAveragePool", "x", "p", "pool"),
            node("Reshape", "p shape", "y", "reshape"),
        ],
        {"shape": np.array([-1, 3], np.int64)},
    )
    half = to_fp16(Graph(model))
    assert Graph(half).initializers["shape"].dtype == np.int64
    pixels = normal(2, 3, 9, 7)
    assert run(half, pixels) == pytest.approx(run(model, pixels), abs=1e-3)


def test_overflow_risk_leaves_headroom():
    amax = {"small": 1.0, "half way": FLOAT16_MAX / 2, "above": FLOAT16_MAX / 2 + 1, "huge": 1e6}
    assert overflow_risk(amax) == {"above": amax["above"], "huge": 1e6}
    assert set(overflow_risk(amax, headroom=1.0)) == {"huge"}
