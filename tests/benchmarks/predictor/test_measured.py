"""Refitting on a user's own measurements."""

import json

import pytest

from benchmarks.predictor import predict
from benchmarks.predictor.measured import KIND, read_measured, refit
from benchmarks.predictor.networks import network
from benchmarks.predictor.predict import published_parameters
from runtime.errors import ReidEdgeError

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "vgg11", "googlenet")


def measured(path, slower, networks=NETWORKS, **change):
    """A board that takes ``slower`` times what is predicted."""
    rows = [
        {
            "network": name,
            "size": 224,
            "precision": "fp16",
            "batch": batch,
            "latency_ms": slower
            * predict(network(name, 224), "xavier-nx", "fp16", batch).latency_ms,
        }
        for name in networks
        for batch in (1, 8)
    ]
    data = {
        "schema_version": 1,
        "kind": KIND,
        "board": "xavier-nx",
        "power_mode": "15W_6CORE",
        "measurements": rows,
        **change,
    }
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("slower", [0.75, 1.4])
def test_a_refit_follows_the_board(tmp_path, slower):
    path = measured(tmp_path / "measured.json", slower)
    parameters, held_out = refit(path, published_parameters())
    before = predict(network("resnet34"), "xavier-nx", "fp16")
    after = predict(network("resnet34"), "xavier-nx", "fp16", parameters=parameters)
    assert after.latency_ms / before.latency_ms == pytest.approx(slower, rel=0.06)
    assert abs(held_out[0].fitted_ms / held_out[0].figure.measured_ms - 1) < 0.06
    assert "10 measurements of 5 networks on one Jetson Xavier NX" in after.note
    assert after.note.startswith("predicted, not measured")


def test_consistent_measurements_narrow_the_interval_and_few_do_not(tmp_path):
    published = published_parameters()
    many, _ = refit(measured(tmp_path / "many.json", 1.0), published)
    width = published.models["xavier"].log_half_width
    assert many.models["xavier"].log_half_width < width / 2
    few, _ = refit(measured(tmp_path / "few.json", 1.0, NETWORKS[:2]), published)
    assert few.models["xavier"].log_half_width == width


def test_a_network_from_an_onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor("w", onnx.TensorProto.FLOAT, (4, 3, 1, 1), [0.0] * 12)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(model, tmp_path / "small.onnx")
    row = {"onnx": "small.onnx", "latency_ms": 0.2}
    board, rows = read_measured(measured(tmp_path / "m.json", 1.0, measurements=[row]))
    assert board.name == "xavier-nx" and rows[0].job.network.macs == 64 * 12
    assert (rows[0].job.unit, rows[0].job.precision, rows[0].job.batch) == ("gpu", "fp16", 1)
    assert rows[0].measured_ms == 0.2


ROW = {"network": "resnet18", "precision": "fp16", "latency_ms": 2.0}


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"schema_version": 2}, "schema_version 1, got"),
        ({"kind": "reid-edge report"}, "reid-edge measured latencies"),
        ({"board": "nano"}, "xavier-agx, xavier-nx, x3"),
        ({"power_mode": "99W"}, "15W_2CORE"),
        ({"extra": 1}, "no keys but"),
        ({"measurements": []}, "no measurements"),
        ({"measurements": {}}, "list"),
        ({"measurements": [{"network": "resnet18"}]}, "lacks 'latency_ms'"),
        ({"measurements": [dict(ROW, latency_ms=-1)]}, "positive"),
        ({"measurements": [dict(ROW, latency_ms="fast")]}, "fast"),
        ({"measurements": [dict(ROW, batch=0)]}, "from 1"),
        ({"measurements": [dict(ROW, unit="bpu")]}, "bpu"),
        ({"measurements": [dict(ROW, network="resnet19")]}, "resnet19"),
        ({"measurements": [dict(ROW, onnx="a.onnx")]}, "either"),
        ({"measurements": [dict(ROW, fps=3)]}, "no keys but"),
    ],
)
def test_bad_files_are_refused(tmp_path, change, expected):
    path = measured(tmp_path / "m.json", 1.0, NETWORKS[:1], **change)
    with pytest.raises(ReidEdgeError, match=expected):
        refit(path, published_parameters())
