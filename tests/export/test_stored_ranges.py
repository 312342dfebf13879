"""``reid-export --ranges``: a checkpoint and the table that belongs to it, quantized as they are."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from calibration.collect import collect_ranges
from calibration.table import CalibrationTable
from export.graph import Graph
from export.options import ExportOptions
from export.ranges import model_sha256, tensors_to_calibrate
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from tests.export.cli_helpers import (
    SIZE,
    checkpoint,
    data,
    drawn_pixels,
    float_graph,
    place,
    refuse,
    run,
    small_network,
)

FACTOR = 1.05  # no calibration method chooses a range beyond the data


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(small_network())


@pytest.fixture(scope="module")
def table(graph) -> CalibrationTable:
    """Ranges like learned ones: under "mse", but not what that method finds."""
    histograms = collect_ranges(
        graph.to_model(), tensors_to_calibrate(graph), [drawn_pixels(12)], threads=1
    )
    found = CalibrationTable.from_histograms(
        histograms.values(), "mse", model_sha256(graph.to_model())
    )
    tensors = {}
    for name, tensor in found.tensors.items():
        amax = FACTOR * tensor.losses["minmax"].amax
        low, high = FACTOR * tensor.losses["minmax"].low, FACTOR * tensor.losses["minmax"].high
        loss = replace(tensor.losses["mse"], amax=amax, low=low, high=high)
        losses = {**tensor.losses, "mse": loss}
        tensors[name] = replace(tensor, amax=amax, low=low, high=high, losses=losses)
    return replace(found, tensors=tensors)


@pytest.fixture
def file(table, tmp_path) -> Path:
    table.save(tmp_path / "small.table.json")
    return tmp_path / "small.table.json"


@pytest.mark.parametrize("target", ["xavier", "cpu"])
@pytest.mark.parametrize("with_crops", [True, False])
def test_ranges_of_the_file_are_in_the_bundle(
    monkeypatch, capsys, checkpoint, data, file, table, place, target, with_crops
):
    # Which layers integer kernels run is a matter of timing, and this test is about ranges.
    monkeypatch.setattr("export.pipeline.fastest_placement", lambda *_: (frozenset(), {}))
    crops = ["--calib", data] if with_crops else []
    outcome = run(
        capsys, "--target", target, "--weights", checkpoint, *SIZE, "--ranges", file, *crops,
        "--threads", "1", "--out", place / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "ranges come from small.table.json" in outcome.out
    assert "another float network" not in outcome.out
    bundle = Bundle.open(place / "bundle")
    constants = Graph(onnx.load(bundle.find("model.int8"))).initializers
    names = [name for name in table.tensors if name + "_scale" in constants]
    assert len(names) > 15
    for name in names:
        tensor = table.tensors[name]
        expected = tensor.amax / 127 if target == "xavier" else (tensor.high - tensor.low) / 255
        assert constants[name + "_scale"] == pytest.approx(expected, rel=1e-6)
    record = bundle.manifest.calibration
    assert record["improvements"] == [] and record["ranges"] == "small.table.json"
    # The table in the bundle is the one given, and so is the float network it belongs to.
    stored = CalibrationTable.load(bundle.find("calibration.table"))
    assert stored.tensors == table.tensors
    assert stored.network_sha256 == bundle.manifest.files["model.fp32.onnx"]["sha256"]


def test_ranges_of_other_weights_are_said(capsys, checkpoint, file, table, place):
    replace(table, network_sha256="0" * 64).save(file)
    outcome = run(
        capsys, "--target", "xavier", "--weights", checkpoint, *SIZE, "--ranges", file,
        "--threads", "1", "--out", place / "bundle", "--json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    warnings = json.loads(outcome.out)["warnings"]
    assert any("found on another float network" in text for text in warnings)


def test_ranges_of_another_network_are_refused(refuse, checkpoint, file, table):
    tensors = dict(table.tensors)
    missing = list(tensors)[3]
    del tensors[missing]
    replace(table, tensors=tensors).save(file)
    sentence = refuse("--target", "xavier", "--weights", checkpoint, *SIZE, "--ranges", file)
    assert "small.table.json lacks " + missing in sentence


def test_missing_file_is_refused(refuse, checkpoint, tmp_path):
    absent = tmp_path / "absent.json"
    sentence = refuse("--target", "xavier", "--weights", checkpoint, *SIZE, "--ranges", absent)
    assert "absent.json" in sentence


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp16"},
        {"precision": "fp32"},
        {"calib_method": "mse"},
        {"improve": "bias"},
        {"improve": "distill"},
    ],
)
def test_what_would_change_trained_ranges_is_refused(options):
    with pytest.raises(ReidEdgeError, match="--ranges"):
        ExportOptions("xavier", weights=Path("w.pth"), ranges=Path("t.json"), **options)


def test_ranges_replace_calibration_crops():
    ranged = ExportOptions("xavier", weights=Path("w.pth"), ranges=Path("t.json"))
    assert ranged.calib is None and ranged.quantizes
    with pytest.raises(ReidEdgeError, match="--calib DIR"):
        ExportOptions("xavier", weights=Path("w.pth"))
