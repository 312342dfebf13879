"""The torch executor computes what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export import executor
from export.executor import Executor
from export.graph import Graph
from runtime.errors import ReidEdgeError
from tests.export.small_models import node, normal, run, small_model

INT64_MAX = np.iinfo(np.int64).max


def ints(*values):
    return np.array(values, np.int64)


def case(*nodes, shape=(2, 4, 9, 7), positive=False, **constants):
    return list(nodes), constants, shape, positive


CONV = normal(6, 4, 3, 3, seed=1)
BIAS = normal(6, seed=2)

# id -> model with input x and output y. Ids start with the operator they test.
CASES = {
    "Conv": case(node("Conv", "x w", pads=[1, 1, 1, 1]), w=CONV),
    "Conv bias, stride, no pads": case(node("Conv", "x w b", strides=[2, 1]), w=CONV, b=BIAS),
    "Conv uneven pads": case(node("Conv", "x w b", pads=[0, 1, 2, 3]), w=CONV, b=BIAS),
    "Conv dilation": case(
        node("Conv", "x w b", dilations=[2, 1], pads=[2, 1, 2, 1]), w=CONV, b=BIAS
    ),
    "Conv depthwise": case(node("Conv", "x w", group=4, pads=[1] * 4), w=normal(4, 1, 3, 3)),
    "Gemm": case(node("Gemm", "x w b"), shape=(3, 5), w=normal(5, 4), b=normal(4)),
    "Gemm transB, alpha, beta": case(
        node("Gemm", "x w b", transB=1, alpha=0.5, beta=2.0),
        shape=(3, 5),
        w=normal(4, 5),
        b=normal(1, 4),
    ),
    "Gemm transA": case(node("Gemm", "x w", transA=1), shape=(5, 3), w=normal(5, 4)),
    "MatMul": case(node("MatMul", "x w"), w=normal(7, 5)),
    "MatMul of a constant first": case(node("MatMul", "w x"), w=normal(5, 9)),
    "Add": case(node("Add", "x c"), c=normal(4, 1, 1)),
    "Sub": case(node("Sub", "c x"), c=normal(1)),
    "Mul": case(node("Mul", "x x")),
    "Div": case(node("Div", "x c"), c=normal(1, 4, 1, 1) + 5),
    "Pow": case(node("Pow", "x c"), positive=True, c=np.float32(3.0)),
    "Pow root": case(node("Pow", "x c"), positive=True, c=np.float32(1 / 2.5)),
    "Sqrt": case(node("Sqrt", "x"), positive=True),
    "Exp": case(node("Exp", "x")),
    "Relu": case(node("Relu", "x")),
    "Sigmoid": case(node("Sigmoid", "x")),
    "Tanh": case(node("Tanh", "x")),
    "Softmax": case(node("Softmax", "x")),
    "Softmax axis": case(node("Softmax", "x", axis=1)),
    "Clip": case(node("Clip", "x lo hi"), lo=np.float32(-0.3), hi=np.float32(0.7)),
    "Clip below": case(node("Clip", "x lo"), lo=np.float32(1e-6)),
    "Clip above": case(node("Clip", "x - hi"), hi=np.float32(0.1)),
    "Clip without bounds": case(node("Clip", "x")),
    "Identity": case(node("Identity", "x")),
    "MaxPool": case(node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    "MaxPool uneven pads": case(
        node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[0, 1, 2, 0])
    ),
    "MaxPool ceil": case(
        node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), shape=(1, 2, 8, 6)
    ),
    "MaxPool ceil, pads": case(
        node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, ceil_mode=1),
        shape=(1, 2, 8, 6),
    ),
    "MaxPool dilation": case(node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 3])),
    "AveragePool": case(node("AveragePool", "x", kernel_shape=[2, 3], strides=[2, 1])),
    "AveragePool pads": case(node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4)),
    "AveragePool pads counted": case(
        node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    ),
    "AveragePool ceil": case(
        node("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        shape=(1, 2, 9, 7),
    ),
    "GlobalAveragePool": case(node("GlobalAveragePool", "x")),
    "GlobalMaxPool": case(node("GlobalMaxPool", "x")),
    "ReduceMean": case(node("ReduceMean", "x", axes=[1])),
    "ReduceMean flat": case(node("ReduceMean", "x", axes=[-2, -1], keepdims=0)),
    "ReduceMean of all": case(node("ReduceMean", "x")),
    "ReduceSum": case(node("ReduceSum", "x axes", keepdims=0), axes=ints(2, 3)),
    "ReduceSum of all": case(node("ReduceSum", "x")),
    "ReduceSum of none": case(node("ReduceSum", "x", noop_with_empty_axes=1)),
    "ReduceMax": case(node("ReduceMax", "x", axes=[3], keepdims=1)),
    "Flatten": case(node("Flatten", "x")),
    "Flatten axis 0": case(node("Flatten", "x", axis=0)),
    "Flatten axis 2": case(node("Flatten", "x", axis=2)),
    "Flatten axis -1": case(node("Flatten", "x", axis=-1)),
    "Reshape": case(node("Reshape", "x s"), s=ints(0, 4, -1)),
    "Transpose": case(node("Transpose", "x", perm=[0, 2, 3, 1])),
    "Transpose reversed": case(node("Transpose", "x")),
    "Concat": case(node("Relu", "x", "r"), node("Concat", "x r c", axis=1), c=normal(2, 1, 9, 7)),
    "Concat axis -1": case(node("Relu", "x", "r"), node("Concat", "r x", axis=-1)),
    "Split": case(node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1), s=ints(1, 3)),
    "Split even": case(node("Split", "x", "a b", axis=1), node("Sub", "b a")),
    "Split, one part unread": case(
        node("Split", "x s", "a b c", axis=-1), node("Relu", "b"), s=ints(2, 3, 2)
    ),
    "Slice": case(
        node("Slice", "x a b c d"), a=ints(1, 6), b=ints(-1, INT64_MAX), c=ints(2, 3), d=ints(2, 1)
    ),
    "Slice without axes": case(node("Slice", "x a b"), a=ints(0, 1), b=ints(2, 100)),
    "Slice from the end": case(node("Slice", "x a b c"), a=ints(-3), b=ints(-1), c=ints(-1)),
    "Slice from before the start": case(
        node("Slice", "x a b c"), a=ints(-100), b=ints(2), c=ints(1)
    ),
    "Squeeze": case(node("Squeeze", "x s"), shape=(2, 4, 1, 1), s=ints(2, -1)),
    "Squeeze all": case(node("Squeeze", "x"), shape=(2, 4, 1, 1)),
    "Unsqueeze": case(node("Unsqueeze", "x s"), shape=(2, 4), s=ints(-1, 0)),
    "Pad": case(node("Pad", "x p v"), p=ints(0, 1, 0, 2, 0, 0, 3, 1), v=np.float32(1.5)),
    "Pad zeros": case(node("Pad", "x p"), p=ints(0, 0, 1, 1, 0, 0, 1, 2)),
    "Pad reflect": case(node("Pad", "x p", mode="reflect"), p=ints(0, 0, 2, 1, 0, 0, 1, 3)),
    "Pad edge": case(node("Pad", "x p", mode="edge"), p=ints(0, 0, 2, 1, 0, 0, 1, 3)),
    "InstanceNormalization": case(
        node("InstanceNormalization", "x g b", epsilon=1e-3),
        g=normal(4, seed=3),
        b=normal(4, seed=4),
    ),
}


def compare(model, images):
    expected = run(model, images)
    with torch.no_grad():
        got = Executor(Graph(model))(torch.from_numpy(images)).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(
        got, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max())
    )


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name):
    nodes, constants, shape, positive = CASES[name]
    images = normal(*shape, seed=9)
    compare(small_model(nodes, constants, shape), np.abs(images) + 0.1 if positive else images)


def test_every_operator_has_a_case():
    assert set(executor._OPERATORS) == {name.split()[0].rstrip(",") for name in CASES}


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 1)] * 4),
    ceil=st.booleans(),
)
def test_max_pool_and_conv_geometry(size, kernel, strides, pads, ceil):
    pads = [min(p, kernel[i % 2] - 1) for i, p in enumerate(pads)]
    geometry = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    images = normal(1, 2, *size)
    compare(
        small_model([node("MaxPool", "x", ceil_mode=int(ceil), **geometry)], shape=images.shape),
        images,
    )
    weight = {"w": normal(3, 2, *kernel)}
    compare(small_model([node("Conv", "x w", **geometry)], weight, images.shape), images)


def test_unknown_operator_is_refused():
    graph = Graph(small_model([node("Erf", "x", "e"), node("Celu", "e")]))
    with pytest.raises(ReidEdgeError, match="Celu, Erf"):
        Executor(graph)


@pytest.mark.parametrize(
    "unsupported",
    [
        node("Conv", "x w", auto_pad="SAME_UPPER"),
        node("MaxPool", "x", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
        node("AveragePool", "x", kernel_shape=[2, 2], pads=[0, 0, 1, 1]),
    ],
    ids=["Conv auto_pad", "MaxPool auto_pad", "AveragePool uneven pads"],
)
def test_unsupported_attribute_is_refused_not_ignored(unsupported):
    constants = {"w": normal(2, 3, 2, 2)} if "w" in unsupported.input else {}
    model = small_model([unsupported], constants, (1, 3, 9, 7))
    with pytest.raises(ReidEdgeError, match="y_node"):
        Executor(Graph(model))(torch.zeros(1, 3, 9, 7))


class TestHooks:
    MODEL = small_model(
        [
            node("Conv", "x w b", "c", name="conv"),
            node("Relu", "c", "r", name="relu"),
            node("Add", "r r", "y", name="add"),
        ],
        {"w": normal(2, 3, 1, 1), "b": normal(2, seed=1)},
        ("batch", 3, 2, 2),
    )

    def test_read_replaces_each_input_by_position(self):
        seen = []

        def read(node, position, tensor):
            seen.append((node.name, position, tuple(tensor.shape)))
            return tensor * 2 if (node.name, position) == ("conv", 1) else tensor

        images = normal(1, 3, 2, 2)
        with torch.no_grad():
            got = Executor(Graph(self.MODEL))(torch.from_numpy(images), read=read).numpy()
        graph = Graph(self.MODEL)
        graph.initializers["w"] = graph.initializers["w"] * 2
        np.testing.assert_allclose(got, run(graph.to_model(), images), rtol=1e-5)
        assert seen == [
            ("conv", 0, (1, 3, 2, 2)),
            ("conv", 1, (2, 3, 1, 1)),
            ("conv", 2, (2,)),
            ("relu", 0, (1, 2, 2, 2)),
            ("add", 0, (1, 2, 2, 2)),
            ("add", 1, (1, 2, 2, 2)),
        ]

    def test_made_may_correct_an_output(self):
        def made(node, tensor):
            return tensor + 1 if node.name == "relu" else tensor

        images = normal(1, 3, 2, 2)
        executor = Executor(Graph(self.MODEL))
        with torch.no_grad():
            plain = executor(torch.from_numpy(images))
            corrected = executor(torch.from_numpy(images), made=made)
        torch.testing.assert_close(corrected, plain + 2)

    def test_parameters_are_the_weights_and_are_written_back(self):
        graph = Graph(self.MODEL)
        executor = Executor(graph)
        assert sorted(tuple(p.shape) for p in executor.parameters()) == [(2,), (2, 3, 1, 1)]
        with torch.no_grad():
            executor.value("b").add_(1.0)
        target = Graph(self.MODEL)
        executor.write_back(target)
        np.testing.assert_allclose(target.initializers["b"], normal(2, seed=1) + 1)
        np.testing.assert_array_equal(target.initializers["w"], normal(2, 3, 1, 1))
        np.testing.assert_array_equal(Graph(self.MODEL).initializers["b"], normal(2, seed=1))

    def test_gradients_reach_weights_and_bias(self):
        executor = Executor(Graph(self.MODEL))
        executor(torch.from_numpy(normal(4, 3, 2, 2))).sum().backward()
        assert all(float(p.grad.abs().sum()) > 0 for p in executor.parameters())
        constant_first = Executor(Graph(small_model([node("MatMul", "w x")], {"w": normal(5, 9)})))
        assert [tuple(p.shape) for p in constant_first.parameters()] == [(5, 9)]
