"""``reid-export --ranges`` quantizes the layers for which the ranges were learned."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import json
from dataclasses import replace

import onnx
import pytest

from calibration.collect import collect_ranges
from calibration.table import CalibrationTable
from export.graph import Graph
from export.ranges import model_sha256, tensors_to_calibrate
from export.stored_placement import stored_placement
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from tests.export.cli_helpers import (
    SIZE,
    checkpoint,
    drawn_pixels,
    float_graph,
    place,
    run,
    small_network,
)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return float_graph(small_network())


@pytest.fixture(scope="module")
def table(graph) -> CalibrationTable:
    histograms = collect_ranges(
        graph.to_model(), tensors_to_calibrate(graph), [drawn_pixels(8)], threads=1
    )
    return CalibrationTable.from_histograms(
        histograms.values(), "mse", model_sha256(graph.to_model()), {"target": "cpu"}
    )


def learned(table, **selection) -> CalibrationTable:
    return replace(table, selection={"target": "cpu", **selection})


def test_layers_trained_in_float_stay_there_without_timing(
    monkeypatch, capsys, checkpoint, graph, table, place
):
    def timed(*_):
        raise AssertionError("the placement is known")

    monkeypatch.setattr("export.pipeline.fastest_placement", timed)
    kept = [n.name for n in graph.nodes if n.op_type == "Conv"][:3]
    learned(table, keep_float=kept).save(place / "small.table.json")
    outcome = run(
        capsys, "--target", "cpu", "--weights", checkpoint, *SIZE,
        "--ranges", place / "small.table.json", "--threads", "1", "--out", place / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    shipped = Graph(onnx.load(Bundle.open(place / "bundle").find("model.int8")))
    made_by = {output: n.op_type for n in shipped.nodes for output in n.output}
    convs = [n for n in shipped.nodes if n.op_type == "Conv"]
    rounded = {n.name: made_by.get(n.input[1]) == "DequantizeLinear" for n in convs}
    assert [n.name for n in convs if not rounded[n.name]] == kept


def test_ranges_learned_for_another_target_are_said(capsys, checkpoint, table, place):
    learned(table, keep_float=[]).save(place / "small.table.json")
    outcome = run(
        capsys, "--target", "xavier", "--weights", checkpoint, *SIZE, "--json",
        "--ranges", place / "small.table.json", "--threads", "1", "--out", place / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    warnings = json.loads(outcome.out)["warnings"]
    assert any("learned for target cpu; for xavier they are what" in text for text in warnings)


def test_tables_that_say_nothing_leave_the_choice_to_the_export(graph, table):
    assert stored_placement(None, "cpu", graph) is None
    assert stored_placement(table, "cpu", graph) is None
    assert stored_placement(replace(table, selection=None), "cpu", graph) is None
    assert stored_placement(learned(table, keep_float=[]), "xavier", graph) is None
    assert stored_placement(learned(table, keep_float=[]), "cpu", graph) == frozenset()


@pytest.mark.parametrize("names", [["conv_of_another"], [{}], "conv1", 3])
def test_layers_of_another_network_are_refused(graph, table, names):
    with pytest.raises(ReidEdgeError, match="which is no layer of this network; pass the table"):
        stored_placement(learned(table, keep_float=names), "cpu", graph)
