"""Names of figures, and two runs side by side."""

import json
from dataclasses import replace

import pytest

from benchmarks.accuracy_record import Interval
from benchmarks.comparison import compare_results
from benchmarks.metric_paths import Scope, figures_of
from tests.benchmarks.test_results import example
from tests.benchmarks.tiny_run import latency

HERE = Scope("tiny", "cpu", "market1501/m")


def with_row(**changes):
    results = example()
    return replace(results, rows=[replace(results.rows[0], **changes)])


def with_drop(points, half_width):
    accuracy = example().rows[0].accuracy[0]
    interval = Interval(points, points - half_width, points + half_width)
    return with_row(accuracy=[replace(accuracy, drop=replace(accuracy.drop, mAP=interval))])


def test_every_figure_has_a_name():
    results = with_row(latency=[latency(1, 1, 2.0), latency(1, 2, 1.5), latency(8, 1, 9.0)])
    figures = figures_of(results)[HERE]
    expected = {
        "mAP": 80.5, "rank1": 90.0, "rank5": 95.0, "rank10": 100.0, "mINP": 40.25,
        "mAP_drop": 0.5, "mAP_drop_low": 0.25, "mAP_drop_high": 0.75, "rank1_drop": 0.0,
        "mINP_drop": 0.1, "cosine_mean": 0.99, "cosine_min": 0.9, "threshold": 0.5,
        "false_accept": 0.1, "false_reject": 20.0, "network_p50_ms": 2.0, "network_p99_ms": 3.0,
        "end_to_end_p50_ms": 2.6, "preprocess_p90_ms": 0.6, "peak_memory_mb": 80.0, "model_mb": 4.2,
        "b1.network_p50_ms": 2.0, "b1t2.network_p50_ms": 1.5, "b8.network_p50_ms": 9.0,
        "b8t1.network_p50_ms": 9.0, "xavier-nx.predicted_ms": 3.0,
    }  # fmt: skip
    for name, value in expected.items():
        assert figures["int8." + name] == pytest.approx(value), name
    assert "int8.threshold_shift" not in figures, "what was not measured is not there"


def test_scopes_without_accuracy_and_rows_of_one_bundle():
    row = example().rows[0]
    fp32 = replace(row, variant="fp32", accuracy=[], latency=[])
    results = replace(example(), rows=[fp32, replace(row, accuracy=[])])
    ((scope, figures),) = figures_of(results).items()
    assert scope == Scope("tiny", "cpu", None) and str(scope) == "tiny (cpu)"
    assert {"fp32.model_mb", "int8.model_mb", "int8.network_p50_ms"} <= set(figures)
    assert str(HERE) == "tiny (cpu) on market1501/m"


def change(before, after, path):
    found = [c for c in compare_results(before, after).changes if c.path == path]
    assert len(found) == 1
    return found[0]


def test_changes_for_better_and_worse():
    faster = change(example(), with_row(latency=[latency(1, 1, 1.0)]), "int8.network_p50_ms")
    assert (faster.before, faster.after, faster.change) == (2.0, 1.0, -1.0)
    assert faster.worse is False and faster.beyond_noise is True
    slower = change(example(), with_row(latency=[latency(1, 1, 2.1)]), "int8.network_p50_ms")
    assert slower.worse is True and slower.beyond_noise is False
    same = change(example(), example(), "int8.mAP")
    assert same.worse is False and same.change == 0
    lower = with_row(accuracy=[replace(example().rows[0].accuracy[0], mAP=70.0)])
    assert change(example(), lower, "int8.mAP").worse is True
    assert change(example(), example(), "int8.threshold").worse is None


def test_drops_against_their_intervals():
    # Half widths 0.3 and 0.4 explain a change of 0.5, as independent errors add.
    path = "int8.mAP_drop"
    inside = change(with_drop(0.2, 0.3), with_drop(0.69, 0.4), path)
    beyond = change(with_drop(0.2, 0.3), with_drop(0.71, 0.4), path)
    assert (inside.beyond_noise, beyond.beyond_noise) == (False, True)
    assert inside.worse and beyond.worse


def test_what_only_one_run_has_and_what_else_differs():
    before = example()
    machine = replace(before.machine, cpu="another", versions={"python": "3.11.7", "numpy": "2"})
    row = before.rows[0]
    data = replace(row.accuracy[0].dataset, sha256="0" * 64)
    rows = [replace(row, variant="fp16", accuracy=[replace(row.accuracy[0], dataset=data)])]
    found = compare_results(before, replace(before, machine=machine, rows=rows, complete=False))
    assert found.changes == []
    assert found.only_before == ["tiny (cpu) on market1501/m: int8"]
    assert found.only_after == ["tiny (cpu) on market1501/m: fp16"]
    assert found.differences == [
        "The CPU was a CPU and is another.",
        "numpy was absent and is 2.",
        "python was 3.8.18 and is 3.11.7.",
        "The files or labels of market1501 are not the same.",
        "At least one of the runs is not complete.",
    ]


def test_as_json():
    found = compare_results(example(), with_row(latency=[latency(1, 1, 1.0)]))
    data = json.loads(found.to_json())
    assert data["schema_version"] == 1
    entry = next(c for c in data["changes"] if c["path"] == "int8.network_p50_ms")
    assert entry == {
        "bundle": "tiny", "target": "cpu", "dataset": "market1501/m", "path": "int8.network_p50_ms",
        "before": 2.0, "after": 1.0, "change": -1.0, "worse": False, "beyond_noise": True,
    }  # fmt: skip
