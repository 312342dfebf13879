"""Which boards are predicted for which rows, from which file, and that it is said to be predicted."""

import json

import pytest

from benchmarks.predictions import Predictor, Wish, can_predict, read_wishes
from benchmarks.results import Predicted
from benchmarks.variants import plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from tests.benchmarks.tiny_run import write_bundle

predictor = pytest.importorskip("benchmarks.predictor")


def test_wishes():
    (usual,) = read_wishes(["xavier-nx"])
    assert usual == Wish("xavier-nx", usual.mode) == read_wishes(["xavier-nx:" + usual.mode])[0]
    assert read_wishes(["none"]) == [] and read_wishes([]) == []
    everything = read_wishes(["auto"])
    assert {wish.board for wish in everything} == {"xavier-agx", "xavier-nx", "x3"}
    modes = read_wishes(["xavier-nx:all"])
    assert len(modes) > 3 and len(set(modes)) == len(modes)
    assert read_wishes(["xavier-nx:all", "xavier-nx"]) == modes, "each once"
    with pytest.raises(ReidEdgeError, match="xavier-agx, xavier-nx, x3"):
        read_wishes(["orin"])
    with pytest.raises(ReidEdgeError, match="no power mode '99W'"):
        read_wishes(["xavier-nx:99W"])


@pytest.fixture
def read(monkeypatch):
    """Files whose cost was read; reading itself is the predictor's to test."""
    pytest.importorskip("onnx")
    from benchmarks.predictor.networks import network

    paths = []

    def cost(path):
        paths.append(path.name)
        return network("resnet18", 224)

    monkeypatch.setattr(predictor, "cost_of_onnx", cost)
    return paths


def rows(tmp_path, target, wishes, batches=(1, 8)):
    bundle = Bundle.open(write_bundle(tmp_path / target, target=target, nv12=target == "x3"))
    made = Predictor(read_wishes(wishes), batches)
    return {v.name: made.rows(bundle, v)[0] for v in plan_variants(bundle)}


def test_a_xaviers_rows(tmp_path, read):
    found = rows(tmp_path, "xavier", ["xavier-nx", "x3"])
    assert set(found) >= {"fp32", "int8"}
    for name, predicted in found.items():
        assert {p.board for p in predicted} <= {"xavier-nx"}, "an X3 runs another export"
        assert all(p.precision == name for p in predicted)
    assert [p.batch for p in found["int8"]] == [1, 8]
    assert "model.int8.onnx" in read and read.count("model.fp32.onnx") == 1, "each file once"
    for p in found["int8"]:
        assert isinstance(p, Predicted) and p.kind == "predicted, not measured"
        assert p.low_ms < p.latency_ms < p.high_ms and p.level == 0.9
        assert sum(p.terms.values()) == pytest.approx(p.latency_ms)
        assert "predicted, not measured" in p.note


def test_an_x3s_rows(tmp_path, read):
    found = rows(tmp_path, "x3", ["auto"])
    assert found["fp32"] == [], "the BPU computes int8"
    for name in ("int8", "int8_nv12"):
        assert [(p.board, p.batch) for p in found[name]] == [("x3", 1)]
    assert set(read) == {"model.fp32.onnx"}, "hb_mapper takes the float file"


def test_rows_of_a_cpu_bundle_are_not_predicted(tmp_path, read):
    assert rows(tmp_path, "cpu", ["auto"]) == {"fp32": [], "int8": []} and read == []


def test_refitted_on_a_board(tmp_path, read):
    measured = tmp_path / "measured.json"
    network = {"network": "resnet18", "size": [224, 224], "precision": "int8", "batch": 1}
    record = {
        "schema_version": 1,
        "kind": "reid-edge measured latencies",
        "board": "xavier-nx",
        "power_mode": "15W_6CORE",
        "measurements": [{**network, "latency_ms": 30.0}],
    }
    measured.write_text(json.dumps(record))
    bundle = Bundle.open(write_bundle(tmp_path / "x", target="xavier"))
    int8 = next(v for v in plan_variants(bundle) if v.name == "int8")
    wishes = [Wish("xavier-nx", "15W_6CORE")]
    published = Predictor(wishes, [1]).rows(bundle, int8)[0][0]
    refitted = Predictor(wishes, [1], measured).rows(bundle, int8)[0][0]
    assert published.latency_ms < refitted.latency_ms <= 33, "towards what the board takes"
    with pytest.raises(ReidEdgeError):
        Predictor(wishes, [1], tmp_path / "none.json")


def test_whether_files_can_be_read_here(monkeypatch):
    monkeypatch.setattr("benchmarks.predictions.find_spec", lambda name: None)
    assert can_predict() is False
