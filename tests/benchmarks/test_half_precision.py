"""Simulated half precision against NumPy's, tensor by tensor."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from benchmarks.half_precision import half_precision_model  # noqa: E402
from runtime.backends.onnxruntime import OnnxRuntimeBackend  # noqa: E402
from runtime.errors import ReidEdgeError  # noqa: E402
from tests.benchmarks.tiny_onnx import linear_model  # noqa: E402


def model(nodes, initializers, shape=("b", 3, 2, 2), output=("b", 4)):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def half(values):
    return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def run(serialised, images):
    halved = half_precision_model(serialised)
    onnx.checker.check_model(onnx.load_model_from_string(halved), full_check=True)
    return OnnxRuntimeBackend(halved, optimize=False).run(images)


def test_every_tensor_and_weight_is_rounded():
    rng = np.random.RandomState(0)
    first, second = (rng.standard_normal(s).astype(np.float32) for s in ((12, 6), (6, 4)))
    bias = rng.standard_normal(6).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["positive"]),
        helper.make_node("MatMul", ["positive", "second"], ["embedding"]),
    ]
    weights = {"first": first, "bias": bias, "second": second}
    images = rng.standard_normal((5, 3, 2, 2)).astype(np.float32)
    hidden = half(half(images).reshape(5, 12) @ half(first))
    hidden = half(hidden + half(bias))
    expected = half(np.maximum(hidden, 0) @ half(second))
    got = run(model(nodes, weights), images)
    # A sum that lies between two half numbers may be rounded either way by its order.
    np.testing.assert_allclose(got, expected, rtol=2e-3)
    assert np.mean(got == expected) > 0.9
    exact = np.maximum(images.reshape(5, 12) @ first + bias, 0) @ second
    assert not np.allclose(got, exact, rtol=1e-5), "nothing was rounded"


def test_all_outputs_are_half_numbers():
    serialised = linear_model(np.random.RandomState(1).standard_normal((12, 7)), 2, 2, ("Sigmoid",))
    got = run(serialised, np.random.RandomState(2).standard_normal((4, 3, 2, 2)).astype(np.float32))
    np.testing.assert_array_equal(got, half(got))


def test_an_overflow_shows():
    serialised = linear_model(np.full((12, 2), 3e4), 2, 2)
    assert np.isinf(run(serialised, np.ones((1, 3, 2, 2), np.float32))).all()


def test_an_output_that_is_read_inside_too():
    weights = {"w": np.eye(12, 4, dtype=np.float32) / 3}
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["first"]),
        helper.make_node("Add", ["first", "first"], ["embedding"]),
        helper.make_node("Neg", ["embedding"], ["unused"]),
    ]
    images = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    expected = half(2 * half(half(images).reshape(1, 12) @ half(weights["w"])))
    np.testing.assert_array_equal(run(model(nodes, weights), images), expected)


def test_shapes_stay_whole_numbers():
    """A shape that passes through half precision would lose its digits."""
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Mul", ["shape", "ones"], ["same"]),
        helper.make_node("Reshape", ["images", "same"], ["again"]),
        helper.make_node("Flatten", ["again"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["embedding"]),
    ]
    weights = {"ones": np.ones(4, np.int64), "w": np.ones((12, 4), np.float32)}
    images = np.full((2, 3, 2, 2), 1 / 3, np.float32)
    expected = half(np.full((2, 4), 12 * half(1 / 3)))
    np.testing.assert_array_equal(run(model(nodes, weights), images), expected)


def test_a_weight_beyond_half_precision_is_refused():
    with pytest.raises(ReidEdgeError, match=r"Weight weights reaches 7e\+04, beyond FP16's 65504"):
        half_precision_model(linear_model(np.full((12, 2), 7e4), 2, 2))


def test_without_onnx_it_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ReidEdgeError, match="needs the package onnx"):
        half_precision_model(b"")
