"""Each limit of the operator table on both of its sides, values computed by hand."""

from __future__ import annotations

import pytest
from onnx import helper

from export.x3.check_report import BPU, CPU, UNSUPPORTED
from export.x3.checker import check_model
from tests.export.small_models import node, normal
from tests.export.x3.limit_cases import BROKEN, KEPT, conv_case, ints, resize, zeros
from tests.export.x3.models import check, conv, only, x3_model


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_inside_the_limits(case):
    report = check(*case)
    last = report.nodes[-1]
    assert last.on == BPU and not last.broken and not last.reason, last


@pytest.mark.parametrize(("case", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_beyond_a_limit(case, why):
    report = check(*case)
    last = report.nodes[-1]
    assert last.on == CPU and why in last.reason, last
    if "run_on_bpu" not in why:
        assert last.broken and all(b.device == BPU for b in last.broken)
        assert last.broken[0].source in report.sources


def test_a_broken_limit_names_actual_and_allowed_value():
    (broken,) = only(check(*conv_case((4, 8, 1, 9))), "Conv").broken
    assert (broken.quantity, broken.actual, broken.allowed) == ("kernel", 9, "1 to 7")


NOWHERE = {
    "not integrated": ([node("Einsum", "x x", equation="abcd,abcd->abcd")], "not integrated"),
    "not listed": ([node("NonMaxSuppression", "x x")], "not in the toolchain's list"),
    "kernel and padding": (
        [node("Conv", "x w", pads=[0, 1, 1, 1])],
        "kernel is 8, allowed 1 to 7; on the CPU: padding difference between sides is 1",
    ),
    "dilated pooling": (
        [node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])],
        "dilation is 2, allowed 1; on the CPU: dilation is 2, allowed 1",
    ),
    "auto_pad": (
        [node("Conv", "x w", auto_pad="SAME_UPPER")],
        "on the CPU: auto_pad is SAME_UPPER, allowed NOTSET",
    ),
    "reduction of two axes": (
        [node("ReduceSum", "x", axes=[1, 2])],
        "on the CPU: number of axes is 2, allowed 0 or 1 or all",
    ),
}


@pytest.mark.parametrize(("nodes", "why"), NOWHERE.values(), ids=NOWHERE.keys())
def test_without_any_kernel(nodes, why):
    report = check(nodes, {"w": zeros(4, 3, 8, 8)}, (1, 3, 9, 9))
    (found,) = report.nodes
    assert found.on == UNSUPPORTED and why in found.reason and not report.ok


def test_a_coordinate_mode_that_neither_kernel_has():
    (found,) = check(*resize([1, 1, 2, 2], coordinates="tf_half_pixel_for_nn")).nodes
    assert found.on == UNSUPPORTED
    assert [b.device for b in found.broken] == [BPU, CPU]
    assert found.broken[0].actual == "tf_half_pixel_for_nn"


def test_an_operator_of_another_domain_has_no_kernel():
    own = helper.make_node("Special", ["x"], ["y"], "own", domain="com.example")
    model = x3_model([own])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    (found,) = check_model(model).nodes
    assert found.on == UNSUPPORTED and "com.example" in found.reason


# -- operators with several data inputs -----------------------------------------------------------


def two_maps(first, second, *nodes, shape=(1, 3, 8, 8)):
    """Maps ``a`` and ``b`` of the given channels made by convolutions, then ``nodes``."""
    a, a_weights = conv("x", "a", (first, 3, 1, 1))
    b, b_weights = conv("x", "b", (second, 3, 1, 1))
    return [a, b, *nodes], {**a_weights, **b_weights}, shape


def test_matmul_of_two_maps_needs_one_matrix_on_the_right():
    good = only(check(*two_maps(4, 1, node("MatMul", "a b"))), "MatMul")
    assert good.on == BPU
    bad = only(check(*two_maps(4, 4, node("MatMul", "a b"))), "MatMul")
    assert bad.on == CPU
    assert "1x4x8x8 @ 1x4x8x8 (feature, feature), allowed 1xBxMxK @ 1x1xKxN" in bad.reason


@pytest.mark.parametrize(
    ("left", "right", "on"),
    [
        ((8,), (8, 4), BPU), ((5, 8), (8, 4), BPU), ((5, 8), (1, 8, 4), CPU), ((1, 5, 8), (1, 8, 4), BPU),
        ((2, 5, 8), (8, 4), BPU), ((2, 5, 8), (2, 8, 4), CPU), ((1, 3, 5, 8), (8, 4), BPU),
        ((2, 3, 5, 8), (8, 4), BPU), ((1, 1, 5, 8), (1, 1, 8, 4), BPU), ((1, 3, 5, 8), (1, 3, 8, 4), CPU),
    ],
)  # fmt: skip
def test_matmul_with_weights(left, right, on):
    report = check([node("MatMul", "x w")], {"w": normal(*right)}, left)
    assert only(report, "MatMul").on == on


def test_add_of_a_map_and_a_vector_that_was_computed():
    pooled = node("GlobalAveragePool", "b", "v")
    assert only(check(*two_maps(4, 4, pooled, node("Add", "a v"))), "Add").on == BPU


def test_spatial_gate_is_no_shape_that_mul_and_div_know():
    for op in ("Mul", "Div"):
        assert only(check(*two_maps(4, 1, node(op, "a b"))), op).on == CPU
        assert only(check(*two_maps(4, 4, node(op, "a b"))), op).on == BPU


def test_concat_limits_its_output_too():
    assert only(check(*two_maps(1024, 1024, node("Concat", "a b", axis=1))), "Concat").on == BPU
    bad = only(check(*two_maps(1024, 1025, node("Concat", "a b", axis=1))), "Concat")
    assert bad.on == CPU and "channels in and out is 2049" in bad.reason


def test_split_needs_equal_parts():
    a, weights = conv("x", "a", (6, 3, 1, 1))

    def split(**attributes):
        nodes = [a, node("Split", "a", "y z", **attributes)]
        return only(check(nodes, weights, outputs=("y", "z")), "Split")

    assert split(axis=1).on == BPU and split(axis=1, split=[3, 3]).on == BPU
    assert "different sizes is 2" in split(axis=1, split=[2, 4]).reason
    assert split(axis=-1, split=[3, 4]).on == CPU


def test_a_shortcut_add_limits_the_stride_of_the_convolution_before_it():
    def strided(stride):
        a, a_weights = conv("x", "a", (4, 3, 1, 1), strides=[stride, stride])
        b, b_weights = conv("x", "b", (4, 3, 1, 1), strides=[stride, stride])
        return check([a, b, node("Add", "a b")], {**a_weights, **b_weights}).nodes[0]

    assert strided(2).on == BPU
    assert "stride is 3, allowed 1 or 2" in strided(3).reason


def test_padding_of_channels():
    a, weights = conv("x", "a", (4, 3, 1, 1))

    def padded(*pads):
        nodes = [a, node("Pad", "a pads")]
        return only(check(nodes, {**weights, "pads": ints(*pads)}), "Pad")

    assert padded(0, 0, 1, 1, 0, 0, 1, 1).on == BPU
    assert "padding of N and C is 2" in padded(0, 2, 1, 1, 0, 0, 1, 1).reason
