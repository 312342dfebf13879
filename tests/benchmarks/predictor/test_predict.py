"""The prediction a user gets."""

import json

import pytest

from benchmarks.predictor import predict
from benchmarks.predictor.builder import NetworkBuilder
from benchmarks.predictor.networks import network
from benchmarks.predictor.networks.resnet import resnet
from benchmarks.predictor.params import FILE, load_parameters
from benchmarks.predictor.predict import UNSEEN, published_parameters
from runtime.errors import ReidEdgeError

RESNET = network("resnet50")


def test_terms_add_up_and_lie_inside_the_interval():
    found = predict(RESNET, "xavier-nx", "int8", batch=4, power_mode="MODE_10W_4CORE")
    assert (found.board, found.power_mode, found.unit) == ("xavier-nx", "10W_4CORE", "gpu")
    assert found.latency_ms == pytest.approx(sum(found.terms.values()))
    assert 0 < found.low_ms < found.latency_ms < found.high_ms
    assert found.low_ms * found.high_ms == pytest.approx(found.latency_ms**2)
    assert found.note.startswith("predicted, not measured")
    record = json.loads(json.dumps(found.record()))
    assert record["label"] == "predicted, not measured" and record["batch"] == 4


def test_units_are_milliseconds():
    """ResNet-50 in int8 on an AGX Xavier: MLPerf's single stream is at 2 ms."""
    assert 1.7 < predict(RESNET, "xavier-agx", "int8").latency_ms < 2.8
    assert 14 < predict(RESNET, "x3", "int8").latency_ms < 22


def test_what_the_project_expected_of_bot_resnet50():
    """Ranges worked out by hand from published ResNet-50 figures and their clocks."""
    bot = resnet(50, (256, 128), 1, 0)
    assert 1.8 < predict(bot, "xavier-agx", "int8").latency_ms < 2.3
    assert 2.4 < predict(bot, "xavier-nx", "int8").latency_ms < 3.2
    assert predict(bot, "xavier-agx", "int8", 1, "15W_DESKTOP").latency_ms == pytest.approx(
        3.1, rel=0.1
    )
    assert 0.75 < predict(bot, "xavier-agx", "int8", 16).latency_ms / 16 < 1.0


def test_precisions_are_ordered():
    for board in ("xavier-agx", "xavier-nx"):
        times = [predict(RESNET, board, p, 8).latency_ms for p in ("int8", "fp16", "fp32")]
        assert times == sorted(times)


def test_unseen_cases_have_wider_intervals_and_say_why():
    def width(**case):
        found = predict(RESNET, "xavier-agx", **case)
        return found.high_ms / found.latency_ms, found.note

    seen, note = width(precision="fp16")
    assert "wider" not in note
    for case, reason in (
        (dict(precision="fp32"), "fp32"),
        (dict(precision="int8", unit="dla"), "DLA alone"),
    ):
        wider, note = width(**case)
        assert wider == pytest.approx(seen**UNSEEN) and reason in note
    many = predict(RESNET, "x3", "int8", batch=8)
    assert "batch 1" in many.note


def test_layers_on_the_cpu_are_named():
    note = predict(network("yolov5n"), "x3", "int8").note
    assert "57 layers run on the CPU (sigmoid)" in note


def test_products_of_maps_are_called_unseen():
    net = NetworkBuilder("attention", 8, 8)
    cost = net.cost(net.input)
    from dataclasses import replace

    from benchmarks.predictor.cost import Gemm, Kernel

    product = Kernel("m", "matmul", net.input, net.input, Gemm(64, 64, 8), reads=1, writes=1)
    found = predict(replace(cost, kernels=(product,)), "xavier-agx", "fp16")
    assert "products of two activations" in found.note


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"board": "tx2"}, "xavier-agx, xavier-nx, x3"),
        ({"precision": "fp8"}, "fp32, fp16, int8"),
        ({"board": "x3", "precision": "fp16"}, "int8"),
        ({"unit": "dla", "precision": "fp32"}, "fp16, int8"),
        ({"unit": "bpu"}, "gpu or dla"),
        ({"power_mode": "5W"}, "MAXN"),
        ({"batch": 0}, "from 1"),
        ({"batch": 1.5}, "from 1"),
    ],
)
def test_bad_requests(change, expected):
    request = {"board": "xavier-agx", "precision": "fp16", **change}
    with pytest.raises(ReidEdgeError, match=expected):
        predict(RESNET, **request)


def test_parameter_files(tmp_path):
    published = published_parameters()
    path = tmp_path / "p.json"
    published.save(path)
    assert load_parameters(path) == published
    assert [p.name for p in tmp_path.iterdir()] == ["p.json"]
    text = FILE.read_text(encoding="utf-8")
    for wrong, expected in (
        (text.replace('"schema_version": 1', '"schema_version": 9'), "schema_version 1"),
        (text.replace('"kernel_us"', '"kernel_ms"'), "kernel_ms"),
        (text.replace('"macs": ', '"macs": -'), "positive"),
        ("[]", "kind"),
        ("{", "Cannot read"),
    ):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(ReidEdgeError, match=expected):
            load_parameters(path)
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        published.save(tmp_path / "no" / "p.json")


def test_parameters_of_another_board_are_refused(tmp_path):
    data = json.loads(FILE.read_text(encoding="utf-8"))
    del data["models"]["x3"]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ReidEdgeError, match="do not cover the Horizon"):
        predict(RESNET, "x3", "int8", parameters=load_parameters(path))
