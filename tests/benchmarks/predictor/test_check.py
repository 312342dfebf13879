"""The bars, and the parameters that are committed."""

import json

import numpy as np
import pytest

from benchmarks.predictor.__main__ import main
from benchmarks.predictor.check import BARS, check, fit_published, measures, met
from benchmarks.predictor.figures import figures_sha256
from benchmarks.predictor.predict import published_parameters


@pytest.fixture(scope="module")
def found():
    return check()


def test_the_bars_are_met(found):
    """MAPE at most 15 %, worst 30 %, Spearman 0.95, ResNets 8 %, 90 % inside the interval."""
    assert BARS["mape"] == 15 and BARS["worst"] == 30 and BARS["spearman"] == 0.95
    assert BARS["resnet_mape"] == 8 and BARS["coverage"] == 90
    assert met(found["overall"]) == dict.fromkeys(BARS, True)
    for board, group in found["boards"].items():
        reached = met(group)
        assert reached["mape"] and reached["worst"] and reached["spearman"], board


def test_every_usable_figure_is_scored(found):
    assert found["overall"]["figures"] == len(found["rows"]) == 80
    assert sum(group["figures"] for group in found["boards"].values()) == 80
    assert len(found["excluded"]) == 56
    ids = {row["id"] for row in found["rows"]} | {row["id"] for row in found["excluded"]}
    assert len(ids) == 136  # and three times of a part, which are fitted only


def test_measures_by_hand():
    def row(family, predicted, measured, weight, inside):
        return {
            "family": family,
            "predicted_ms": predicted,
            "measured_ms": measured,
            "images": 1,
            "error_percent": 100 * (predicted / measured - 1),
            "weight": weight,
            "inside": inside,
        }

    rows = [
        row("resnet", 1.1, 1.0, 1.0, True),
        row("resnet", 1.6, 2.0, 0.5, True),
        row("vgg", 9.0, 6.0, 0.5, False),
        row("vgg", 4.0, 4.0, 1.0, True),
    ]
    m = measures(rows)
    assert m["mape"] == pytest.approx((10 + 20 + 50 + 0) / 4)
    assert m["mape_once"] == pytest.approx((10 + 10 + 25 + 0) / 3)
    assert m["worst"] == pytest.approx(50)
    assert m["spearman"] == pytest.approx(1)
    assert m["resnet_mape"] == pytest.approx(15)
    assert (m["coverage"], m["coverage_once"]) == pytest.approx((75, 250 / 3))
    assert met(m) == {
        "mape": False,
        "worst": False,
        "spearman": True,
        "resnet_mape": False,
        "coverage": False,
    }


def test_committed_parameters_are_the_fit():
    """Fitted anew from the data file whose hash they carry."""
    committed, fitted = published_parameters(), fit_published()
    assert committed.figures_sha256 == figures_sha256()
    for name, model in fitted.models.items():
        assert committed.models[name].values == pytest.approx(model.values, rel=0.02)
        assert committed.models[name].log_half_width == pytest.approx(
            model.log_half_width, rel=0.02
        )
        assert committed.models[name].families == model.families
    assert committed.host_wait_ms == fitted.host_wait_ms


def test_the_check_command(capsys):
    assert main(["check", "--rows"]) == 0
    out = capsys.readouterr().out
    assert "not measured" in out and "bars" in out and out.rstrip().endswith("met")
    assert "not used: agx-torch2trt-densenet201" in out
    assert main(["check", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert not data["stale"] and len(data["rows"]) == 80
    assert np.isfinite([row["predicted_ms"] for row in data["rows"]]).all()


def test_a_missed_bar_is_exit_code_3(monkeypatch, capsys):
    monkeypatch.setitem(BARS, "mape", 1.0)
    assert main(["check"]) == 3
    assert "missed: mape" in capsys.readouterr().out


def test_predict_command(capsys):
    arguments = ["predict", "--network", "resnet50", "--board", "xavier-nx", "--batch", "2"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "predicted, not measured" in text and "interval" in text and "fp16" in text
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["label"] == "predicted, not measured" and data["batch"] == 2
    assert main(["predict", "--network", "resnet50", "--size", "256", "--board", "x3"]) == 0
    assert "int8" in capsys.readouterr().out


def test_errors_are_one_line(capsys, tmp_path):
    assert main(["predict", "--network", "resnet50", "--board", "tx2"]) == 2
    assert main(["predict", "--onnx", str(tmp_path / "no.onnx"), "--board", "x3"]) == 2
    assert main(["predict", "--bundle", str(tmp_path), "--board", "x3"]) == 2
    assert main(["fit", "--measured", str(tmp_path / "no.json"), "--out", "p.json"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and "xavier-agx, xavier-nx, x3" in lines[0]
    assert not any("Traceback" in line for line in lines)


def test_fit_command(tmp_path, capsys):
    out = tmp_path / "params.json"
    data = {
        "schema_version": 1,
        "kind": "reid-edge measured latencies",
        "board": "x3",
        "measurements": [
            {"network": "resnet50", "latency_ms": 17.0},
            {"network": "mobilenet_v2", "latency_ms": 2.0},
        ],
    }
    (tmp_path / "m.json").write_text(json.dumps(data), encoding="utf-8")
    assert main(["fit", "--measured", str(tmp_path / "m.json"), "--out", str(out)]) == 0
    assert "resnet50" in capsys.readouterr().out
    predict = ["predict", "--network", "resnet50", "--board", "x3", "--params", str(out), "--json"]
    assert main(predict) == 0
    refitted = json.loads(capsys.readouterr().out)
    assert refitted["latency_ms"] == pytest.approx(17.0, rel=0.06)
    assert "2 measurements" in refitted["note"]
