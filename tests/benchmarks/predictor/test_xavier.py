"""The model of the Xavier: what every prediction must obey, and terms worked out by hand."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.predictor.boards import board
from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.networks import network
from benchmarks.predictor.parameters import guesses
from benchmarks.predictor.predict import published_parameters
from benchmarks.predictor.table import Job
from benchmarks.predictor.xavier import PARAMETERS, XavierModel, fallbacks

AGX = board("xavier-agx").modes["MAXN"]
VALUES = published_parameters().models["xavier"].values
GUESSES = guesses(PARAMETERS)


def terms(job, values=VALUES):
    return {name: float(ms[0]) for name, ms in XavierModel([job]).terms(values).items()}


def total_ms(job, values=VALUES):
    return sum(terms(job, values).values())


def one_conv(channels=64, size=16, window=1, out=64, groups=1):
    net = NetworkBuilder("one", size, channels)
    return net.cost(net.conv(net.input, out, window, groups=groups))


def test_one_tile_by_hand():
    """256 positions by 64 channels: one tile of 256x128 or four of 64x64, each kind in one wave."""
    values = dict(GUESSES, tensor_fp16=0.5, reuse_elements=16.0, fill_depth=36.0, ramp_waves=1.0)
    job = Job(one_conv(), "gpu", "fp16", 1, AGX)
    # 4 tiles on 8 multiprocessors: one wave, and one of ramp; depth 64 + 36; the smallest tile wins
    work = 2 * 100 * (64 * 64 + 16 * 128)
    macs_per_us = 512 * 0.5 * (1 + 16 * 2 / 128) * 1377
    assert terms(job, values)["compute"] == pytest.approx(work / macs_per_us * 1e-3)


def test_waves_are_counted_in_halves():
    """9 tiles of 64x64 or more on 8 multiprocessors with two places each: a wave and a half."""
    values = dict(GUESSES, reuse_elements=1e-9, fill_depth=1e-9, ramp_waves=1e-9)
    tall = [Job(one_conv(size=(64 * n, 1)), "gpu", "fp16", 1, AGX) for n in (8, 9, 12, 13)]
    times = [terms(job, values)["compute"] for job in tall]
    assert [t / times[0] for t in times] == pytest.approx([1, 1.5, 1.5, 2])


def test_memory_bound_layer_by_hand():
    """A fully connected layer at batch 1 reads its weights: 4096*4097 at fp16."""
    net = NetworkBuilder("fc", 1, 4096)
    job = Job(net.cost(net.dense(net.input, 4096)), "gpu", "fp16", 1, AGX)
    found = terms(job)
    assert found["compute"] == 0
    expected_ms = 2 * 4096 * 4097 / (136.5e9 * VALUES["dram"]) * 1e3
    assert found["memory"] == pytest.approx(expected_ms)


def test_launch_and_enqueue_count_kernels():
    job = Job(network("mobilenet_v1"), "gpu", "fp16", 1, AGX)
    found = terms(job)
    assert found["launch"] == pytest.approx(29 * VALUES["kernel_us"] * 1e-3)
    assert found["enqueue"] == pytest.approx(29 * VALUES["enqueue_us"] * 1e-3)
    graph = terms(replace(job, tuned=True))
    assert graph["enqueue"] == 0 and graph["launch"] == pytest.approx(
        found["launch"] * VALUES["tuned"]
    )
    slow_cpu = terms(replace(job, clocks=replace(AGX, cpu_mhz=AGX.cpu_mhz / 2)))
    assert slow_cpu["enqueue"] == pytest.approx(2 * found["enqueue"])


def test_shapes_cost_nothing_and_a_transpose_three_kernels():
    def launches(function):
        net = NetworkBuilder("copy", 8, 8)
        net.copy(net.input, function)
        return terms(Job(net.cost(), "gpu", "fp16", 1, AGX))["launch"] / VALUES["kernel_us"] * 1e3

    assert launches("reshape") == 0
    assert launches("slice") == pytest.approx(1)
    assert launches("transpose") == pytest.approx(3)


def test_channels_are_filled_to_the_tensor_cores():
    """Channels in steps of 8 in fp16, 32 in int8; 3 of an image count as 4."""

    def compute(channels, precision):
        values = dict(GUESSES, fill_depth=1e-9)
        return terms(Job(one_conv(channels), "gpu", precision, 1, AGX), values)["compute"]

    assert compute(33, "fp16") == compute(40, "fp16") > compute(32, "fp16")
    assert compute(33, "int8") == compute(64, "int8") > compute(32, "int8")
    assert compute(3, "fp16") == compute(4, "fp16") < compute(5, "fp16")


def test_a_layer_left_in_float_takes_longer_in_an_int8_engine():
    cost = network("resnet18")
    float_kernels = tuple(replace(kernel, int8=False) for kernel in cost.kernels)
    left = replace(cost, kernels=float_kernels, quantized=True)
    int8 = total_ms(Job(cost, "gpu", "int8", 8, AGX))
    assert total_ms(Job(left, "gpu", "int8", 8, AGX)) == pytest.approx(
        total_ms(Job(cost, "gpu", "fp16", 8, AGX))
    )
    assert int8 < total_ms(Job(left, "gpu", "int8", 8, AGX))


def test_what_a_dla_cannot_run_goes_to_the_gpu():
    """A window of 16x8 is larger than a DLA pools; a 7x7 one is not."""
    net = NetworkBuilder("bot", (16, 8), 64)
    net.mean(net.conv(net.input, 64))
    reid = Job(net.cost(), "dla", "int8", 1, AGX)
    assert fallbacks(reid) == 1
    assert fallbacks(Job(network("resnet50"), "dla", "int8", 1, AGX)) == 0
    assert fallbacks(replace(reid, unit="gpu")) == 0
    switch_ms = 2 * VALUES["dla_switch_us"] * 1e-3
    assert terms(reid)["launch"] == pytest.approx(
        (VALUES["dla_layer_us"] + VALUES["kernel_us"]) * 1e-3 + switch_ms
    )


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["resnet18", "mobilenet_v2", "vgg11", "shufflenet_v2_x1_0"]),
    unit=st.sampled_from(["gpu", "dla"]),
    precision=st.sampled_from(["fp16", "int8"]),
    batch=st.integers(1, 40),
    more=st.integers(1, 24),
    part=st.floats(0.2, 1.0),
    clock=st.sampled_from(["gpu_mhz", "gb_per_s", "dla_mhz", "cpu_mhz"]),
)
def test_less_work_or_faster_clocks_never_take_longer(
    name, unit, precision, batch, more, part, clock
):
    job = Job(network(name), unit, precision, batch, AGX)
    base = total_ms(job)
    assert total_ms(replace(job, batch=batch + more)) >= base
    slower = replace(AGX, **{clock: getattr(AGX, clock) * part})
    assert total_ms(replace(job, clocks=slower)) >= base * (1 - 1e-12)
    assert total_ms(replace(job, clocks=replace(AGX, sms=6))) >= base


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 300),
    out=st.integers(1, 300),
    size=st.integers(1, 40),
    window=st.sampled_from([1, 3, 5]),
    precision=st.sampled_from(["fp32", "fp16", "int8"]),
)
def test_more_multiplications_never_take_less(channels, out, size, window, precision):
    def time(channels, out, size):
        cost = one_conv(channels, size, window, out)
        return total_ms(Job(cost, "gpu", precision, 1, AGX))

    base = time(channels, out, size)
    # A grouped convolution of an image is another kernel, so compare within the same kind.
    assert time(channels, out + 8, size) >= base
    assert time(channels, out, size + 1) >= base
    assert time(channels + 32, out, size) >= base


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_several_jobs_at_once_are_the_jobs_one_by_one(name):
    jobs = [
        Job(network(name), unit, precision, batch, AGX)
        for unit, precision, batch in (("gpu", "fp16", 1), ("dla", "int8", 2), ("gpu", "int8", 8))
    ]
    together = XavierModel(jobs).terms(VALUES)
    for index, job in enumerate(jobs):
        for term, ms in terms(job).items():
            assert together[term][index] == pytest.approx(ms)
