"""Kernels described by hand: sizes and multiply-accumulates worked out on paper."""

import pytest

from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import Gemm, Kernel, Shape


def test_a_convolution_by_hand():
    net = NetworkBuilder("n", (9, 7), channels=4)
    out = net.conv(net.input, 8, 3, 2, pad=1)
    (kernel,) = net.kernels
    assert out == Shape(8, 5, 4)
    # 5*4 positions, 8 filters of 4*3*3
    assert kernel.gemm == Gemm(20, 8, 36, 1) and kernel.macs == 20 * 8 * 36
    assert kernel.weights == 8 * 36 + 8
    assert (kernel.reads, kernel.writes) == (4 * 9 * 7, 8 * 5 * 4)
    assert kernel.op == "conv" and kernel.functions == ()


def test_a_shortcut_is_read_by_the_convolution_that_adds_it():
    net = NetworkBuilder("n", 4, channels=8)
    net.conv(net.input, 8, 3, add=net.input)
    assert len(net.kernels) == 1
    assert net.kernels[0].reads == 2 * 8 * 16


def test_depthwise_and_grouped_convolutions():
    net = NetworkBuilder("n", 6, channels=8)
    net.depthwise(net.input, 5)
    net.conv(net.input, 16, 3, groups=4)
    depthwise, grouped = net.kernels
    assert depthwise.op == "depthwise" and depthwise.macs == 36 * 8 * 25
    assert grouped.op == "conv" and grouped.gemm == Gemm(36, 4, 2 * 9, 4)
    assert grouped.macs == 36 * 16 * 2 * 9


def test_a_transposed_convolution_multiplies_at_its_inputs_positions():
    net = NetworkBuilder("n", 5, channels=6)
    assert net.deconv(net.input, 3, 4, 2) == Shape(3, 10, 10)
    assert net.kernels[0].macs == 25 * 6 * 3 * 16


def test_dense_mean_and_pool():
    net = NetworkBuilder("n", 8, channels=2)
    assert net.dense(net.mean(net.input), 10) == Shape(10, 1, 1)
    assert net.kernels[-1].macs == 20 and net.kernels[-1].weights == 30
    assert net.pool(net.input, 3, 2) == Shape(2, 3, 3)
    assert net.pool(net.input, 3, 2, ceil=True) == Shape(2, 4, 4)
    assert net.pool(net.input, 2, 2) == Shape(2, 4, 4)


def test_a_window_that_overhangs_must_start_inside():
    """PyTorch's ceil mode: the last window starts in the map or its left padding, else it is dropped."""
    net = NetworkBuilder("n", 7, channels=1)
    assert net.pool(net.input, 2, 2, ceil=True).height == 4  # starts at 6 of 7
    net = NetworkBuilder("n", 5, channels=1)
    assert net.pool(net.input, 2, 2, pad=1, ceil=True).height == 3  # a fourth would start at 5


def test_an_activation_no_convolution_absorbs_is_a_kernel():
    net = NetworkBuilder("n", 4, channels=8)
    net.conv(net.input, 16, act="silu")
    net.conv(net.input, 16, act="leaky")
    assert [kernel.op for kernel in net.kernels] == ["conv", "pointwise", "conv"]
    assert net.kernels[1].functions == ("sigmoid", "mul")


def test_a_network_adds_up():
    net = NetworkBuilder("n", 4, channels=8)
    left, right = net.conv(net.input, 4), net.depthwise(net.input)
    cost = net.cost(net.concat([left, right]))
    assert len(cost.kernels) == 2  # concatenation is free
    assert cost.macs == 16 * 4 * 8 + 16 * 8 * 9
    assert cost.macs_by_op() == {"conv": 512, "depthwise": 1152}
    assert cost.outputs == 12 * 16 and cost.weights == 4 * 9 + 8 * 10


def test_an_unknown_op_is_refused():
    with pytest.raises(ValueError, match="conv"):
        Kernel("x", "convolution", Shape(1, 1, 1), Shape(1, 1, 1))
