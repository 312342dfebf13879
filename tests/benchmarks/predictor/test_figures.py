"""The published figures."""

import json

import pytest

from benchmarks.predictor.figures import FILE, host_wait_ms, read_figures, weights
from runtime.errors import ReidEdgeError


@pytest.fixture(scope="module")
def figures():
    return {figure.id: figure for figure in read_figures()}


def test_every_row_has_a_source_and_every_exclusion_a_reason(figures):
    assert all(len(figure.source) > 20 for figure in figures.values())
    excluded = [figure for figure in figures.values() if figure.excluded]
    assert all(figure.excluded.endswith(".") and len(figure.excluded) > 40 for figure in excluded)
    assert len(figures) - len(excluded) == 83


def test_rows_against_the_publications(figures):
    """A sample, as printed."""
    assert figures["agx-torch2trt-resnet50"].fps == 326
    assert figures["agx-torch2trt-resnet50"].latency_ms == 3.37
    assert figures["agx-gpu-b64-resnet50"].fps == 1478.33
    assert figures["nx-mlperf-v1.1-offline-resnet50"].fps == 1245.1
    assert figures["agx-maxq-v1.1-resnet50"].clocks["gpu_mhz"] == 828.75
    assert figures["x3-manual-resnet50"].latency_ms == 17.326
    assert figures["x3-zoo-yolov5x"].latency_ms == 1021.5


def test_time_of_one_inference(figures):
    assert figures["agx-torch2trt-resnet50"].measured_ms == pytest.approx(1000 / 326)
    assert figures["agx-mlperf-v1.1-resnet50"].measured_ms == 1.820
    # 64 images per inference
    assert figures["nx-gpu-b64-resnet50"].measured_ms == pytest.approx(64e3 / 739)
    # three units side by side: per image
    assert figures["nx-jetson_benchmarks-resnet50"].measured_ms == pytest.approx(1000 / 824)


def test_rounds_of_one_benchmark_share_a_weight(figures):
    rows = [figure for figure in figures.values() if not figure.excluded]
    weight = dict(zip((figure.id for figure in rows), weights(rows)))
    assert weight["nx-mlperf-v0.7-resnet50"] == 0.25
    assert weight["agx-torch2trt-resnet50"] == 0.5  # two tables of the same project
    assert weight["agx-dividiti-v0.7-resnet50"] == 1  # another software


def test_jobs(figures):
    gpu, first, second = figures["agx-maxq-v1.1-offline-resnet50"].jobs()
    assert (gpu.unit, gpu.batch, gpu.tuned) == ("gpu", 64, True)
    assert (first.unit, first.batch) == (second.unit, second.batch) == ("dla", 32)
    assert gpu.clocks.dla_mhz == 1100
    assert gpu.clocks.gb_per_s == pytest.approx(136.5 * 1331 / 2133)
    assert not figures["x3-manual-yolov5s_v2"].jobs()[0].dequantize
    assert figures["x3-zoo-yolov5s_v2"].jobs()[0].dequantize


def test_waiting_for_a_result(figures):
    assert 0.2 < host_wait_ms(list(figures.values())) < 0.3


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"board": "orin"}, "orin"),
        ({"wrong": 1}, "wrong"),
        ({"units": [["bpu", 1]]}, "bpu"),
        ({"power_mode": "5W"}, "5W"),
        ({"id": None}, "different ids"),
    ],
)
def test_bad_data_is_refused(tmp_path, change, expected):
    data = json.loads(FILE.read_text(encoding="utf-8"))
    if "schema_version" in change:
        data.update(change)
    elif "id" in change:
        data["figures"].append(data["figures"][0])
    else:
        data["figures"][0].update(change)
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReidEdgeError, match=expected):
        read_figures(path)
