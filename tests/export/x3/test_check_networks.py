"""The checker on real files: people detectors and a trained network."""

from __future__ import annotations

import onnx
import pytest

from export.trace import trace
from export.x3.check_report import BPU, CPU
from export.x3.checker import check_model
from models.checkpoint import load_network


@pytest.fixture(scope="module")
def detector(shared):
    def read(name):
        path = shared / "detectors" / name
        if not path.is_file():
            pytest.skip("no %s" % path)
        return check_model(onnx.load(path))

    return read


def operators(report, on):
    return {n.op for n in report.on(on)}


def test_yolox_breaks_the_size_limit_of_sigmoid(detector):
    report = detector("yolox_nano_416x416.onnx")
    assert report.ok and report.inputs == {"images": [1, 3, 416, 416]}
    assert operators(report, CPU) == {"Sigmoid", "Reshape", "Concat", "Transpose"}
    sigmoids = [n for n in report.nodes if n.op == "Sigmoid"]
    on_cpu = [n for n in sigmoids if n.on == CPU]
    # Only the 13 x 13 maps of one channel are small enough: 16 * 13 * 4 = 832.
    assert len(sigmoids) == 110 and len(on_cpu) == 108
    # Behind the stem: 16 channels of 208 x 208, which are multiples of 8 and 4 already.
    assert on_cpu[0].broken[0].actual == 16 * 208 * 208
    assert sum(bool(n.assumption) for n in on_cpu) == 104  # x * Sigmoid(x), the others are scores


def test_nanodet_shuffles_channels_and_splits_unequally(detector):
    report = detector("nanodet_m_416.onnx")
    assert report.ok and operators(report, CPU) == {"Reshape", "Transpose", "Split", "Sigmoid"}
    splits = [n for n in report.nodes if n.op == "Split"]
    assert [n.broken[0].quantity for n in splits] == ["different sizes"] * 3
    assert report.segments > 10


def test_fastestdet_shuffles_channels(detector):
    report = detector("FastestDet.onnx")
    assert report.ok and operators(report, CPU) == {"Reshape", "Transpose", "Gather", "Softmax"}
    assert {"Resize", "Pad", "AveragePool", "Sigmoid"} <= operators(report, BPU)


@pytest.mark.slow
def test_osnet_runs_on_the_bpu_as_it_is(shared):
    loaded = load_network(shared / "weights" / "osnet_x0_25_market1501.pth")
    report = check_model(trace(loaded.for_export(), loaded.input, opset=11))
    assert not report.on(CPU) and report.segments == 1
    assert report.problems == [
        "open dimensions of input images: 1, allowed at most 0 (export it with a fixed size)"
    ]
