"""Where the X3's BPU rounds, on graphs small enough to say so by hand."""

from __future__ import annotations

import numpy as np
import pytest

from export.graph import Graph
from export.placement import x3
from export.x3.operators import operator_table
from tests.export.small_models import node, normal, small_model

W = {
    "w0": normal(8, 3, 3, 3),
    "w1": normal(8, 8, 1, 1, seed=1),
    "w2": normal(8, 8, 1, 1, seed=2),
    "half": np.array([0.5], np.float32),
}
STEM = node("Conv", "x w0", "a", "stem", pads=[1] * 4)
STEM_RELU = node("Relu", "a", "r", "stem_relu")


def placed(nodes, keep_float=("flatten",), constants=W) -> x3.X3Placement:
    return x3.place(Graph(small_model(nodes, constants)), frozenset(keep_float))


def tail(tensor: str) -> list:
    """A pooling on the BPU and a flattening on the CPU behind ``tensor``."""
    return [
        node("GlobalAveragePool", tensor, "p", "pool"),
        node("Flatten", "p", "y", "flatten"),
    ]


def rounded(nodes, keep_float=("flatten",)) -> set[str]:
    return set(placed(nodes, keep_float).tensors)


def test_convolution_and_relu_are_one_operator():
    assert rounded([STEM, STEM_RELU, *tail("r")]) == {"x", "r", "p"}


def test_relu_of_a_convolution_with_other_readers_is_an_operator_of_its_own():
    placement = placed([STEM, STEM_RELU, node("Add", "a r", "s", "add"), *tail("s")], ["flatten"])
    assert set(placement.tensors) == {"x", "a", "r", "s", "p"}
    assert placement.owners["r"] == "a"


def test_shortcut_is_fused_into_its_convolution():
    nodes = [
        STEM,
        STEM_RELU,
        node("Conv", "r w1", "c", "main"),
        node("Add", "c r", "s", "add"),
        node("Relu", "s", "t", "relu"),
        *tail("t"),
    ]
    placement = placed(nodes)
    assert set(placement.tensors) == {"x", "r", "t", "p"}
    assert placement.reads["r"] == {"main", "add"}
    assert placement.weights == ["stem", "main"]


def test_of_two_convolutions_the_first_operand_is_fused():
    nodes = [
        STEM,
        node("Conv", "a w1", "c", "main"),
        node("Conv", "a w2", "d", "downsample"),
        node("Add", "c d", "s", "add"),
        *tail("s"),
    ]
    assert rounded(nodes) == {"x", "a", "d", "s", "p"}


@pytest.mark.parametrize(
    "change",
    ["stride", "read twice", "constant", "same operand", "convolution on the CPU"],
)
def test_shortcuts_that_are_not_fused(change):
    strides = [3, 3] if change == "stride" else [1, 1]
    other = {"constant": "half", "same operand": "c"}.get(change, "r")
    stem = node("Conv", "x w0", "a", "stem", pads=[1] * 4, strides=strides)
    nodes = [
        stem,
        STEM_RELU,
        node("Conv", "r w1" if change != "stride" else "x w0", "c", "main", strides=strides,
             pads=[1 if change == "stride" else 0] * 4),
        node("Add", "c " + other, "s", "add"),
        *([node("Mul", "c s", "m", "again")] if change == "read twice" else []),
        *tail("m" if change == "read twice" else "s"),
    ]  # fmt: skip
    on_cpu = ["flatten", *(["main"] if change == "convolution on the CPU" else [])]
    placement = placed(nodes, on_cpu)
    assert "c" in placement.tensors
    assert "add" in placement.reads["c"]


def test_products_are_rounded_before_they_are_added():
    nodes = [
        STEM,
        STEM_RELU,
        node("GlobalAveragePool", "r", "q", "squeeze"),
        node("Conv", "q w1", "g", "gate"),
        node("Sigmoid", "g", "h", "sigmoid"),
        node("Mul", "r h", "m", "scale"),
        node("Add", "m r", "s", "add"),
        node("Relu", "s", "t", "relu"),
        *tail("t"),
    ]
    assert rounded(nodes) == {"x", "r", "q", "g", "h", "m", "t", "p"}


def test_operators_that_move_codes_keep_the_scale():
    nodes = [
        STEM,
        node("MaxPool", "a", "m", "shrink", kernel_shape=[2, 2]),
        node("Relu", "m", "r", "own_relu"),
        node("Split", "r", "u v", "split", axis=1),
        node("Mul", "u v", "s", "product"),
        *tail("s"),
    ]
    placement = placed(nodes)
    assert set(placement.tensors) == {"x", "a", "m", "r", "u", "v", "s", "p"}
    assert placement.owners == {"x": "x", **dict.fromkeys("amruv", "a"), "s": "s", "p": "p"}


def test_a_pooling_on_the_cpu_breaks_the_chain_of_scales():
    nodes = [STEM, node("MaxPool", "a", "m", "shrink", kernel_shape=[2, 2]), *tail("m")]
    placement = placed(nodes, ["flatten", "shrink"])
    assert placement.reads["a"] == {"shrink"}, "what the BPU hands over is int8"
    assert placement.owners["m"] == "m"


def test_operands_of_a_concatenation():
    """What only it reads has its scale; what others read, or only moves codes, has its own."""
    nodes = [
        STEM,
        node("Conv", "a w1", "c", "only_here"),
        node("Conv", "a w2", "d", "also_there"),
        node("MaxPool", "a", "m", "carried", kernel_shape=[1, 1]),
        node("Concat", "c d m", "k", "concat", axis=1),
        node("Concat", "k d", "l", "outer", axis=1),
        *tail("l"),
    ]
    placement = placed(nodes)
    assert placement.owners == {
        "x": "x",
        "a": "a",
        "c": "l",
        "d": "d",
        "m": "a",
        "k": "l",
        "l": "l",
        "p": "p",
    }


def test_the_cpu_computes_in_float():
    nodes = [
        STEM,
        node("Erf", "a", "e", "on_cpu"),
        node("Conv", "e w1", "c", "cpu_conv"),
        node("Neg", "c", "n", "on_cpu_too"),
        node("Conv", "n w2", "d", "back"),
        *tail("d"),
    ]
    placement = placed(nodes, ["flatten", "on_cpu", "cpu_conv", "on_cpu_too"])
    assert placement.reads == {
        "x": {"stem"},
        "a": {"on_cpu"},
        "n": {"back"},
        "d": {"pool"},
        "p": {"flatten"},
    }
    assert placement.weights == ["stem", "back"]
    assert placement.skipped == {"cpu_conv": x3.ON_CPU}


@pytest.mark.parametrize(
    ("behind", "is_rounded"),
    [
        ([], False),
        ([node("Relu", "c", "y4", "relu")], True),
        ([node("Tanh", "c", "y4", "t")], True),
    ],
)
def test_only_a_bare_convolution_gives_int32_as_output(behind, is_rounded):
    last = "y4" if behind else "c"
    nodes = [
        STEM,
        node("GlobalAveragePool", "a", "p", "pool"),
        node("Conv", "p w1", "c", "last"),
        *behind,
        node("Reshape", last + " shape", "z", "reshape"),
        node("Flatten", "z", "y", "flatten"),
    ]
    constants = {**W, "shape": np.array([0, 8, 1, 1], np.int64)}
    placement = placed(nodes, ["reshape", "flatten"], constants)
    assert (last in placement.tensors) == is_rounded
    assert "z" not in placement.tensors, "made on the CPU"


def test_constant_operands_are_rounded_and_bounds_are_not():
    nodes = [
        STEM,
        node("Mul", "a half", "m", "scale"),
        node("Clip", "m zero six", "c", "clip"),
        *tail("c"),
    ]
    constants = {**W, "zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    placement = placed(nodes, ["flatten"], constants)
    assert set(placement.tensors) == {"x", "a", "half", "m", "c", "p"}
    assert placement.owners["c"] == "m"


def test_carriers_are_the_operators_the_table_calls_passive():
    passive = {
        name for name, row in operator_table().operators.items() if row.quantization == "passive"
    }
    # A concatenation has several inputs, an arg-max holds no values.
    assert passive - {"Concat", "ArgMax"} == set(x3.CARRIERS) - set(x3.RESHAPERS)
