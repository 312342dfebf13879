"""The model of the X3."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.predictor.boards import board
from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.cost import Gemm, Kernel, Shape
from benchmarks.predictor.networks import network
from benchmarks.predictor.predict import published_parameters
from benchmarks.predictor.table import Job
from benchmarks.predictor.x3 import X3Model, aligned_elements, runs_on_cpu

CLOCKS = board("x3").modes["1.2GHZ"]
VALUES = published_parameters().models["x3"].values


def terms(job):
    return {name: float(ms[0]) for name, ms in X3Model([job]).terms(VALUES).items()}


def job_of(net, *outputs, **more):
    return Job(net.cost(*outputs), "bpu", "int8", 1, CLOCKS, **more)


def test_maps_are_filled_to_blocks_of_8_columns_and_4_channels():
    net = NetworkBuilder("n", (10, 9), 6)
    found = terms(job_of(net, net.conv(net.input, 10, 3)))
    macs = 10 * 16 * 12 * 8 * 9  # 9 columns to 16, 10 channels to 12, 6 to 8
    assert found["compute"] == pytest.approx(macs / (VALUES["macs"] * 1e6))


def test_depthwise_and_memory_by_hand():
    net = NetworkBuilder("n", 16, 32)
    found = terms(job_of(net, net.depthwise(net.input)))
    rate = VALUES["macs"] * VALUES["depthwise"] * 1e6
    assert found["depthwise"] == pytest.approx(16 * 16 * 32 * 9 / rate)
    net = NetworkBuilder("n", 1, 4096)
    found = terms(job_of(net, net.dense(net.input, 4096)))
    assert found["compute"] == 0
    assert found["memory"] == pytest.approx(4096 * 4097 / (VALUES["weight_gb_per_s"] * 1e6))


def test_the_cpu_takes_over_once_per_piece():
    """SiLU of a large map: the sigmoid leaves the BPU, and each piece is one change of processor."""
    net = NetworkBuilder("n", 64, 16)
    x = net.conv(net.input, 16, act="silu")
    net.copy(x, "transpose")  # follows on the CPU: no further change
    net.conv(x, 16, act="silu")
    found = terms(job_of(net))
    elements = 3 * 64 * 64 * 16
    assert found["cpu"] == pytest.approx(elements * VALUES["cpu_ns"] * 1e-6)
    assert found["switch"] == pytest.approx(2 * VALUES["switch_us"] * 1e-3)
    fast = job_of(net)
    fast = replace(fast, clocks=board("x3").modes["1.5GHZ"])
    assert terms(fast)["cpu"] == pytest.approx(found["cpu"] * 1.2 / 1.5)
    assert terms(fast)["compute"] == pytest.approx(found["compute"])


def test_outputs_become_float():
    net = NetworkBuilder("n", 8, 4)
    out = net.conv(net.input, 8)
    expected = out.elements * VALUES["dequantize_ns"] * 1e-6
    assert terms(job_of(net, out))["dequantize"] == pytest.approx(expected)
    assert terms(job_of(net, out, dequantize=False))["dequantize"] == 0


SHAPE = Shape(64, 16, 8)


def kernel(op, functions=(), shape=SHAPE, **more):
    return Kernel("k", op, shape, shape, functions=functions, **more)


@pytest.mark.parametrize(
    "found, cpu",
    [
        # 16 x 8 x 64 = 8192 aligned elements: just inside the table's limit
        (kernel("pointwise", ("sigmoid",)), False),
        (kernel("pointwise", ("sigmoid",), Shape(65, 16, 8)), True),
        (kernel("pointwise", ("sigmoid", "mul"), Shape(256, 1, 1)), False),
        (kernel("pointwise", ("add",)), False),
        (kernel("pointwise", ("div", "erf", "add", "mul")), True),
        (kernel("pointwise", ("hardsigmoid",), Shape(8, 1, 1)), True),
        (kernel("copy", ("transpose",)), True),
        (kernel("copy", ("slice",)), False),
        (kernel("softmax", ("softmax",)), True),
        (kernel("reduce", ("globalaveragepool",)), False),
        (kernel("reduce", ("globalaveragepool",), Shape(8, 128, 128)), True),
        (kernel("reduce", ("reducemean",)), True),
        (kernel("reduce", ("instancenormalization",)), True),
        (kernel("pool", ("averagepool",), window=(8, 8)), True),
        (kernel("pool", ("maxpool",), window=(8, 8)), False),
        (kernel("conv", gemm=Gemm(128, 64, 64 * 49), window=(7, 7)), False),
        (kernel("conv", gemm=Gemm(128, 64, 64 * 121), window=(11, 11)), True),
        (kernel("conv", gemm=Gemm(1, 4096, 4096), shape=Shape(4096, 1, 1)), False),
        (kernel("conv", gemm=Gemm(1, 64, 64, 48), shape=Shape(3072, 1, 1)), True),
        (kernel("matmul", ("matmul",), gemm=Gemm(8, 8, 8)), False),
        (kernel("matmul", ("batchmatmul",), gemm=Gemm(8, 8, 8)), True),
    ],
)
def test_the_operator_table(found, cpu):
    assert runs_on_cpu(found) == cpu


def test_aligned_elements_take_the_smaller_layout():
    assert aligned_elements(Shape(512, 1, 1)) == 512  # 32 channels; 8 columns would be 4096
    assert aligned_elements(Shape(4, 2, 7)) == 2 * 8 * 4


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["resnet18", "mobilenet_v2", "repghost_1_0", "yolov5n"]),
    batch=st.integers(1, 8),
    part=st.floats(0.2, 1.0),
    clock=st.sampled_from(["bpu_mhz", "cpu_mhz"]),
)
def test_more_images_or_slower_clocks_never_take_less(name, batch, part, clock):
    job = Job(network(name), "bpu", "int8", batch, CLOCKS)
    base = sum(terms(job).values())
    assert sum(terms(replace(job, batch=batch + 1)).values()) > base
    slower = replace(CLOCKS, **{clock: getattr(CLOCKS, clock) * part})
    assert sum(terms(replace(job, clocks=slower)).values()) >= base * (1 - 1e-12)


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 200), out=st.integers(1, 200), size=st.integers(1, 40),
    window=st.sampled_from([1, 3, 7]),
)  # fmt: skip
def test_more_multiplications_never_take_less(channels, out, size, window):
    def time(channels, out, size):
        net = NetworkBuilder("n", size, channels)
        return sum(terms(job_of(net, net.conv(net.input, out, window))).values())

    base = time(channels, out, size)
    assert time(channels + 1, out + 1, size) >= base
    assert time(channels, out, size + 1) >= base
