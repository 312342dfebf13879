"""What the operator checker makes of neighbours and of the model as a whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from export.x3.check_report import BPU, CPU, FOLDED, UNSUPPORTED
from export.x3.checker import check_model
from runtime.errors import ReidEdgeError
from tests.export.small_models import node, normal
from tests.export.x3.models import check, conv, only, x3_model

# -- what the toolchain fuses or folds -------------------------------------------------------------


def batchnorm(inputs: str, output: str, channels: int):
    names = [output + suffix for suffix in ("_s", "_b", "_m", "_v")]
    constants = {n: np.ones(channels, np.float32) for n in names}
    return node("BatchNormalization", " ".join([inputs, *names]), output), constants


def test_convolution_batchnorm_relu_is_one():
    a, weights = conv("x", "a", (4, 3, 3, 3))
    norm, constants = batchnorm("a", "n", 4)
    report = check([a, norm, node("Relu", "n")], {**weights, **constants})
    assert [n.fused_into for n in report.nodes] == ["", "a_node", "a_node"]
    assert report.segments == 1 and report.ok and not report.assumptions


def test_a_batchnorm_whose_convolution_has_another_reader_is_not_fused():
    a, weights = conv("x", "a", (4, 3, 3, 3))
    norm, constants = batchnorm("a", "n", 4)
    report = check([a, norm, node("Mul", "a n")], {**weights, **constants})
    found = only(report, "BatchNormalization")
    assert found.on == BPU and not found.fused_into and "without a convolution" in found.assumption


def test_batchnorm_of_a_flat_embedding_stays_on_the_cpu():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    pool, flat = node("GlobalAveragePool", "a", "p"), node("Flatten", "p", "f")
    norm, constants = batchnorm("f", "y", 4)
    report = check([a, pool, flat, norm], {**weights, **constants})
    assert only(report, "Flatten").on == CPU
    assert "rank is 2, allowed 4" in only(report, "BatchNormalization").reason


def test_a_residual_block_is_all_convolutions():
    a, a_weights = conv("x", "a", (3, 3, 1, 1))
    norm, constants = batchnorm("a", "n", 3)
    nodes = [a, norm, node("Add", "n x", "s"), node("Relu", "s")]
    report = check(nodes, {**a_weights, **constants})
    assert [n.fused_into for n in report.nodes[1:]] == ["a_node"] * 3


def test_flattening_before_gemm_and_the_reshape_behind_it():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    pool, flat = node("GlobalAveragePool", "a", "p"), node("Flatten", "p", "f")
    report = check([a, pool, flat, node("Gemm", "f g")], {**weights, "g": normal(4, 5)})
    assert only(report, "Flatten").fused_into == "y_node" and only(report, "Gemm").on == BPU
    assert report.segments == 1
    assert any("CPU Reshape" in a for a in report.assumptions)


def test_a_mean_without_its_dimensions_gets_a_reshape_unless_a_convolution_follows():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    mean = node("ReduceMean", "a", "m", axes=[2, 3], keepdims=0)
    report = check([a, mean], weights, outputs=("m",))
    assert only(report, "ReduceMean").on == BPU and "CPU Reshape" in report.assumptions[0]
    report = check([a, mean, node("Gemm", "m g")], {**weights, "g": normal(4, 5)})
    assert not only(report, "ReduceMean").assumption and only(report, "Gemm").assumption


def test_constants_and_dropout_leave_no_node():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    nodes = [a, node("Transpose", "k", "t", perm=[1, 0, 2, 3]), node("Mul", "a t", "m")]
    nodes.append(node("Dropout", "m"))
    report = check(nodes, {**weights, "k": normal(4, 1, 1, 1)})
    assert only(report, "Transpose").on == FOLDED and only(report, "Dropout").on == FOLDED
    assert only(report, "Mul").on == BPU
    assert report.counts == {BPU: 2, CPU: 0, UNSUPPORTED: 0, FOLDED: 2}


def test_a_passive_operator_among_cpu_operators_goes_with_them():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    nodes = [
        a,
        node("Transpose", "a", "t", perm=[0, 1, 3, 2]),
        node("MaxPool", "t", "m", kernel_shape=[2, 2]),
        node("Transpose", "m", "y", perm=[0, 1, 3, 2]),
    ]
    found = only(check(nodes, weights), "MaxPool")
    assert found.on == CPU and "no BPU operator is beside it" in found.reason
    # With an active operator behind it, it stays; also through another passive one.
    b, b_weights = conv("c", "z", (4, 4, 1, 1))
    nodes = [*nodes[:3], node("Clip", "m", "c"), b]
    report = check(nodes, {**weights, **b_weights}, outputs=("z",))
    assert only(report, "MaxPool").on == BPU and only(report, "Clip").on == BPU


def test_swish_is_marked_as_uncertain():
    a, weights = conv("x", "a", (64, 3, 1, 1))
    nodes = [a, node("Sigmoid", "a", "s"), node("Mul", "a s")]
    found = only(check(nodes, weights, (1, 3, 64, 64)), "Sigmoid")
    assert found.on == CPU and "hb_mapper 1.15.5" in found.assumption


# -- the model ------------------------------------------------------------------------------------


def test_a_good_header_has_no_problems():
    a, weights = conv("x", "y", (4, 3, 1, 1))
    report = check([a], weights)
    assert report.ok and not report.problems and report.inputs == {"x": [1, 3, 9, 7]}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"opset": 13}, "opset: 13, allowed 10 or 11 (export it with opset 11)"),
        ({"opset": 9}, "opset: 9, allowed 10 or 11 (export it with opset 11)"),
        (
            {"ir_version": 8},
            "ir_version: 8, allowed at most 7 (set model.ir_version = 7 and save it again)",
        ),
        (
            {"shape": ("n", 3, 9, 7)},
            "open dimensions of input x: 1, allowed at most 0 (export it with a fixed size)",
        ),
        ({"shape": (2, 3, 9, 7)}, "batch of input x: 2, allowed 1 (export it with batch 1)"),
    ],
)
def test_bad_headers(options, problem):
    a, weights = conv("x", "y", (4, 3, 1, 1))
    report = check([a], weights, **options)
    assert report.problems == [problem] and not report.ok
    assert report.nodes[0].on == BPU


def test_half_precision_is_refused():
    a, weights = conv("x", "y", (4, 3, 1, 1))
    model = x3_model([a], weights)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    (problem,) = check_model(model).problems
    assert problem.startswith("type of input x: float16, allowed float32 (convert")


def test_rank_outputs_and_missing_convolution():
    report = check([node("Exp", "x")], shape=(1, 3, 9))
    assert any(p.startswith("rank of input x: 3, allowed 4 (") for p in report.problems)
    assert any(
        p.startswith("Conv nodes on the BPU: 0, allowed at least 1") for p in report.problems
    )
    a, weights = conv("x", "y", (33, 3, 1, 1))
    outputs = ["o%d" % i for i in range(33)]
    split = node("Split", "y", " ".join(outputs), axis=1)
    report = check([a, split], weights, outputs=outputs)
    assert report.problems == ["outputs: 33, allowed at most 32 (concatenate some)"]


def test_unknown_sizes_are_said():
    a, weights = conv("x", "a", (4, 3, 1, 1))
    report = check([a, node("Sigmoid", "a")], weights, (1, 3, "h", "w"))
    found = only(report, "Sigmoid")
    assert found.on == BPU and found.assumption == "unknown shapes keep the limits"


def test_nodes_out_of_order_are_refused():
    model = x3_model([node("Relu", "a", "y"), node("Exp", "x", "a")])
    with pytest.raises(ReidEdgeError, match="'y_node' reads tensor 'a' before"):
        check_model(model)
