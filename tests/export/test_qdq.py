"""Quantization arithmetic, and Q/DQ nodes in the graph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.graph import Graph, attribute
from export.placement.base import Placement
from export.qdq import MIN_SCALE, Scale, asymmetric, insert, symmetric, weight_scales
from tests.export.small_models import node, normal, run, small_model

MAGNITUDES = st.floats(1e-5, 1e5)


def round_trip(values, form: Scale):
    low, high = form.limits
    codes = np.clip(np.rint(values / form.scale) + form.zero_point, low, high)
    return (codes - form.zero_point) * form.scale


@given(amax=MAGNITUDES)
def test_symmetric_error_is_half_a_step_within_the_range(amax):
    form = symmetric(amax)
    assert (form.zero_point, form.dtype, form.limits) == (0, "int8", (-128, 127))
    assert form.scale == pytest.approx(amax / 127)
    values = np.linspace(-amax, amax, 1001)
    assert np.abs(round_trip(values, form) - values).max() <= form.scale / 2 * (1 + 1e-9)
    assert round_trip(np.array([0.0]), form)[0] == 0
    assert round_trip(np.array([amax * 5]), form)[0] == pytest.approx(amax)  # clipped


@given(a=st.floats(-1e4, 1e4), b=st.floats(-1e4, 1e4))
def test_asymmetric_error_is_half_a_step_and_zero_is_exact(a, b):
    low, high = min(a, b), max(a, b)
    form = asymmetric(low, high)
    assert (form.dtype, form.limits) == ("uint8", (0, 255))
    assert 0 <= form.zero_point <= 255 and isinstance(form.zero_point, int)
    values = np.linspace(min(low, 0), max(high, 0), 1001)
    assert np.abs(round_trip(values, form) - values).max() <= form.scale / 2 * (1 + 1e-9) + 1e-12
    assert round_trip(np.array([0.0]), form)[0] == 0


@given(high=MAGNITUDES, low=st.floats(0, 1e4))
def test_rectified_range_has_zero_at_the_bottom(high, low):
    """Then ONNX Runtime may drop the ReLU: nothing below zero can be stored anyway."""
    form = asymmetric(min(low, high), high)
    assert form.zero_point == 0
    assert form.scale == pytest.approx(high / 255)
    assert asymmetric(-high, 0.0).zero_point == 255


def test_dead_tensors_get_the_smallest_scale():
    assert symmetric(0.0).scale == symmetric(1e-12).scale == MIN_SCALE > 0
    assert asymmetric(0.0, 0.0) == Scale(MIN_SCALE, 0, "uint8")
    assert np.float32(MIN_SCALE) > np.finfo(np.float32).tiny  # no denormal on the device


@given(
    seed=st.integers(0, 10_000),
    axis=st.sampled_from([0, 1]),
    dead=st.booleans(),
    spread=st.booleans(),
)
def test_weight_scales(seed, axis, dead, spread):
    weight = normal(4, 5, 3, 3, seed=seed)
    along = np.moveaxis(weight, axis, 0)
    if spread:
        along *= (10.0 ** np.arange(-3, len(along) - 3)).reshape(-1, 1, 1, 1).astype(np.float32)
    if dead:
        along[1] = 0
    scale = weight_scales(weight, axis)
    assert scale.shape == (len(along),) and scale.dtype == np.float32 and (scale > 0).all()
    shape = [-1 if i == axis else 1 for i in range(4)]
    codes = np.rint(weight / scale.reshape(shape))
    assert np.abs(codes).max() == 127  # -128 is never used: the grid is symmetric
    per_channel = np.moveaxis(np.abs(codes), axis, 0).reshape(len(along), -1).max(1)
    assert [c == 127 for c in per_channel] == [not (dead and i == 1) for i in range(len(along))]
    error = np.abs(codes * scale.reshape(shape) - weight)
    assert (error <= scale.reshape(shape) * 0.50001).all()
    if dead:
        assert scale[1] == pytest.approx(np.abs(weight).max() / 127)


def test_layer_of_zeros_has_a_legal_scale():
    np.testing.assert_array_equal(
        weight_scales(np.zeros((2, 3, 1, 1), np.float32), 0), np.float32([1 / 127] * 2)
    )
    assert weight_scales(np.full((1, 1, 1, 1), 1e-12, np.float32), 0) == np.float32(MIN_SCALE)


# -- insert ------------------------------------------------------------------------------------------

WEIGHT = normal(4, 3, 1, 1, seed=3)


@pytest.fixture
def graph():
    """x feeds a convolution and, past it, a subtraction of what the convolution made."""
    nodes = [
        node("Conv", "x w b", "c", "conv"),
        node("Split", "x s", "a t", "split", axis=1),
        node("Split", "c s4", "u v", "split4", axis=1),
        node("Sub", "u a", "y", "sub"),
    ]
    constants = {"w": WEIGHT, "b": normal(4), "s": np.array([2, 1]), "s4": np.array([2, 2])}
    return Graph(small_model(nodes, constants))


PLACEMENT = Placement(reads={"x": {"conv"}, "a": {"sub"}}, weights=["conv"])
SCALES = {"x": Scale(0.05), "a": Scale(0.02, 7, "uint8")}


def expected_output(images):
    """The network of the fixture, quantized by hand."""
    scale = weight_scales(WEIGHT, 0).reshape(4, 1, 1, 1)
    weight = np.clip(np.rint(WEIGHT / scale), -127, 127) * scale
    c = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], round_trip(images, SCALES["x"]))
    c += normal(4).reshape(1, 4, 1, 1)
    return c[:, :2] - round_trip(images[:, :2], SCALES["a"])


@pytest.mark.parametrize("store_int8", [False, True])
def test_insert_computes_what_was_asked_for(graph, store_int8):
    before = graph.to_model().SerializeToString()
    model = insert(graph, PLACEMENT, SCALES, store_int8=store_int8)
    assert graph.to_model().SerializeToString() == before  # the float graph is left as it was
    images = normal(2, 3, 9, 7)
    np.testing.assert_allclose(run(model, images), expected_output(images), atol=1e-4)
    assert [o.name for o in model.graph.output] == ["y"]


def test_nodes_of_a_pair(graph):
    model = insert(graph, PLACEMENT, SCALES)
    nodes = {n.name: n for n in model.graph.node}
    constants = Graph(model).initializers
    q, dq = nodes["x_QuantizeLinear"], nodes["x_DequantizeLinear"]
    assert (
        q.input[0] == "x" and dq.input[0] == q.output[0] and nodes["conv"].input[0] == dq.output[0]
    )
    assert q.input[1:] == dq.input[1:]
    assert constants[q.input[1]] == np.float32(0.05) and constants[q.input[1]].dtype == np.float32
    assert constants[q.input[2]] == 0 and constants[q.input[2]].dtype == np.int8
    assert nodes["split"].input[0] == "x"  # not in the placement: still reads float
    assert constants[nodes["a_QuantizeLinear"].input[2]].dtype == np.uint8
    wq = nodes["conv_weight_QuantizeLinear"]
    assert (wq.input[0], attribute(wq, "axis")) == ("w", 0)
    assert constants[wq.input[1]].shape == constants[wq.input[2]].shape == (4,)
    assert nodes["conv"].input[2] == "b"
    assert len(nodes) == 4 + 2 * 3


def test_stored_codes_are_a_quarter_of_the_size(graph):
    model = insert(graph, PLACEMENT, SCALES, store_int8=True)
    constants = Graph(model).initializers
    conv = next(n for n in model.graph.node if n.name == "conv")
    restored = Graph(model).producer(conv.input[1])
    assert restored.op_type == "DequantizeLinear" and attribute(restored, "axis") == 0
    codes = constants[restored.input[0]]
    assert codes.dtype == np.int8 and np.abs(codes.astype(int)).max() == 127
    assert "w" not in constants


def test_given_weight_scales_are_used_and_clipped(graph):
    scale = np.array([0.01, 0.02, 0.0, 0.05], np.float64)
    for store_int8 in (False, True):
        model = insert(
            graph, PLACEMENT, SCALES, weight_scale={"conv": scale}, store_int8=store_int8
        )
        constants = Graph(model).initializers
        written = constants["conv_weight_scale"]
        assert written.dtype == np.float32
        least = written[2] if store_int8 else MIN_SCALE  # room for an int32 bias
        np.testing.assert_allclose(written, [0.01, 0.02, least, 0.05], rtol=1e-6)
        assert written[2] >= np.float32(MIN_SCALE)


def test_transposed_fully_connected_layer_is_quantized_per_output():
    for transposed, axis in ((1, 0), (0, 1)):
        weight = normal(*((6, 5) if transposed else (5, 6)))
        graph = Graph(
            small_model(
                [node("Gemm", "x w", "y", "fc", transB=transposed)], {"w": weight}, ("batch", 5)
            )
        )
        model = insert(graph, Placement({"x": {"fc"}}, ["fc"]), {"x": Scale(0.02)})
        wq = next(n for n in model.graph.node if n.name == "fc_weight_QuantizeLinear")
        assert attribute(wq, "axis") == axis
        assert Graph(model).initializers["fc_weight_scale"].shape == (6,)


def test_a_tensor_without_a_scale_is_an_error(graph):
    with pytest.raises(KeyError, match="a"):
        insert(graph, PLACEMENT, {"x": Scale(0.05)})
