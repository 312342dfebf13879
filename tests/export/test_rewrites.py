"""Rewrites change the graph and not the function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph import Graph, attribute
from export.rewrites import fold_batchnorm, name_nodes
from tests.export.small_models import node, normal, run, small_model


def batchnorm(channels, stem="n", seed=5, tiny=False):
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.2, 3.0, channels)
    if tiny:
        variance[0] = 1e-8  # a channel that was almost dead in training
    values = {
        "g": rng.uniform(-1.5, 1.5, channels),
        "o": rng.standard_normal(channels),
        "m": rng.standard_normal(channels),
        "v": variance,
    }
    return {stem + k: v.astype(np.float32) for k, v in values.items()}


def norm(tensor, output="y", stem="n", **attributes):
    return node(
        "BatchNormalization",
        "%s %sg %so %sm %sv" % (tensor, *[stem] * 4),
        output,
        "norm_" + stem,
        **attributes,
    )


def fold(model, images, folded=1):
    """Fold, check that nothing changed and no BatchNormalization is left; return operator names."""
    graph = Graph(model)
    assert fold_batchnorm(graph) == folded
    result = graph.to_model()
    expected, got = run(model, images), run(result, images)
    assert result.graph.output[0].name == model.graph.output[0].name
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    operators = [n.op_type for n in result.graph.node]
    assert "BatchNormalization" not in operators
    return operators


IMAGES = normal(2, 3, 9, 7)


@settings(max_examples=50, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    epsilon=st.sampled_from([1e-5, 1e-3, 1e-1]),
    tiny=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_convolution(groups, bias, epsilon, tiny, seed):
    constants = {"w": normal(8, 4 // groups, 3, 3, seed=seed), **batchnorm(8, seed=seed, tiny=tiny)}
    if bias:
        constants["b"] = normal(8, seed=seed + 1)
    model = small_model(
        [node("Conv", "x w b" if bias else "x w", "c", group=groups), norm("c", epsilon=epsilon)],
        constants,
        ("batch", 4, 6, 5),
    )
    assert fold(model, normal(2, 4, 6, 5, seed=seed)) == ["Conv"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", ["", " b"])
def test_fully_connected(transposed, bias):
    constants = {"w": normal(*((6, 5) if transposed else (5, 6))), **batchnorm(6)}
    if bias:
        constants["b"] = normal(6, seed=8)
    model = small_model(
        [node("Gemm", "x w" + bias, "c", transB=transposed), norm("c")], constants, ("batch", 5)
    )
    assert fold(model, normal(3, 5)) == ["Gemm"]


@pytest.mark.parametrize("factor", ["alpha", "beta"])
def test_scaled_gemm_is_left_alone(factor):
    constants = {"w": normal(5, 6), "b": normal(6), **batchnorm(6)}
    model = small_model(
        [node("Gemm", "x w b", "c", **{factor: 0.5}), norm("c")], constants, ("batch", 5)
    )
    assert fold(model, normal(3, 5)) == ["Gemm", "Mul", "Add"]


def test_neck_becomes_one_product_and_one_sum():
    model = small_model(
        [node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "f"), norm("f")], batchnorm(3)
    )
    assert fold(model, IMAGES) == ["GlobalAveragePool", "Flatten", "Mul", "Add"]


def test_a_norm_of_its_own_as_a_depthwise_convolution():
    model = small_model(
        [
            node("GlobalAveragePool", "x", "p"),
            norm("p", "q"),
            node("Conv", "q w", "c"),
            norm("c", "y", "k"),
        ],
        {"w": normal(4, 3, 1, 1), **batchnorm(3), **batchnorm(4, "k", seed=6)},
    )
    graph = Graph(model)
    assert fold_batchnorm(graph, depthwise=True) == 2
    result = graph.to_model()
    operators = [(n.op_type, attribute(n, "group", 1)) for n in result.graph.node]
    assert operators == [("GlobalAveragePool", 1), ("Conv", 3), ("Conv", 1)]
    expected = run(model, IMAGES)
    np.testing.assert_allclose(run(result, IMAGES), expected, atol=2e-5 * np.abs(expected).max())


def test_before_a_convolution_and_behind_a_split():
    constants = {
        "w": normal(4, 3, 1, 1),
        "s": np.array([2, 2]),
        **batchnorm(3),
        **batchnorm(2, "k"),
    }
    model = small_model(
        [
            norm("x", "a"),
            node("Conv", "a w", "c"),
            node("Split", "c s", "l r", axis=1),
            norm("l", "m", "k"),
            node("Concat", "m r", "y", axis=1),
        ],
        constants,
    )
    assert fold(model, IMAGES, folded=2) == ["Mul", "Add", "Conv", "Split", "Mul", "Add", "Concat"]


def test_convolution_read_elsewhere_keeps_its_weights():
    constants = {"w": normal(4, 3, 1, 1), **batchnorm(4)}
    model = small_model(
        [node("Conv", "x w", "c"), norm("c", "d"), node("Add", "c d", "y")], constants
    )
    assert fold(model, IMAGES) == ["Conv", "Mul", "Add", "Add"]


def test_weights_shared_by_two_convolutions():
    """OSNet's gate is one module used four times."""
    constants = {
        "w": normal(3, 3, 1, 1),
        "b": normal(3),
        **batchnorm(3),
        **batchnorm(3, "k", seed=6),
    }
    model = small_model(
        [
            node("Conv", "x w b", "c", "same"),
            norm("c", "d"),
            node("Conv", "d w b", "e", "same2"),
            norm("e", "y", "k"),
        ],
        constants,
    )
    assert fold(model, IMAGES, folded=2) == ["Conv", "Conv"]


def test_chain_of_norms_and_unused_names():
    constants = {"w": normal(4, 3, 3, 3), **batchnorm(4), **batchnorm(4, "k", seed=6)}
    chain = [node("Conv", "x w", "c"), norm("c", "d"), norm("d", "y", "k")]
    for n in chain:
        n.name = ""  # exporters may leave names out
    assert fold(small_model(chain, constants), IMAGES, folded=2) == ["Conv"]


def test_unnamed_norms_get_distinct_nodes():
    constants = {**batchnorm(3), **batchnorm(3, "k", seed=6)}
    chain = [norm("x", "a"), node("Relu", "a", "r"), norm("r", "y", "k")]
    for n in chain:
        n.name = ""
    graph = Graph(small_model(chain, constants))
    fold_batchnorm(graph)
    name_nodes(graph)
    names = [n.name for n in graph.nodes]
    assert all(names) and len(set(names)) == len(names), names


def test_convolution_with_a_computed_weight_is_left_alone():
    constants = {"w": normal(4, 3, 1, 1), **batchnorm(4)}
    model = small_model([node("Tanh", "w", "t"), node("Conv", "x t", "c"), norm("c")], constants)
    assert fold(model, IMAGES) == ["Tanh", "Conv", "Mul", "Add"]


def test_names_and_kernels_are_filled_in():
    model = small_model(
        [node("Conv", "x w", "c"), node("Relu", "c", "y", "relu")], {"w": normal(4, 3, 3, 1)}
    )
    model.graph.node[0].name = ""
    graph = Graph(model)
    name_nodes(graph)
    assert list(attribute(graph.nodes[0], "kernel_shape")) == [3, 1]
    assert graph.nodes[0].name and graph.nodes[1].name == "relu"
    np.testing.assert_array_equal(run(graph.to_model(), IMAGES), run(model, IMAGES))
