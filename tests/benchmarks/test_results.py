"""The results file: what is written is read again, and anything else is refused by name."""

import dataclasses
import json

import pytest

from benchmarks.accuracy_record import (
    Accuracy,
    Cosines,
    DatasetRecord,
    DropRecord,
    Interval,
    OpenSet,
    OperatingPoint,
    Ranked,
    WorstQuery,
)
from benchmarks.results import BundleRecord, Predicted, Results, Row, write_text
from runtime.errors import ReidEdgeError
from tests.benchmarks.tiny_run import MACHINE, latency


def example():
    point = OperatingPoint(0.5, 0.001, 0.2)
    accuracy = Accuracy(
        dataset=DatasetRecord(
            "market1501", "m", "market", None, "from names", None, 4, 4, 9, 2, 0, 0, ["a.jpg"], "f" * 64
        ),
        cross_domain=None,
        mAP=80.5, rank1=90.0, rank5=95.0, rank10=100.0, mINP=40.25,
        drop=DropRecord("fp32", Interval(0.5, 0.25, 0.75), Interval(0.0, -1.0, 1.0),
                        Interval(0.1, 0.0, 0.2), 0.95, 2000, 0),
        cosine=Cosines(0.99, 0.9, 0.95, 0.97, 0.99, 13, [0.9, 0.95, 1.0], [3, 10]),
        open_set=OpenSet(0.001, point, None, None, [point, point], 2, 20, 3000),
        worst=[WorstQuery("query/a.jpg", 1, 2, 90.0, 70.0, [Ranked("g/b.jpg", True, 0.9)], [])],
    )  # fmt: skip
    bundle = BundleRecord("tiny", "cpu", "test", "linear", True, None, None, 16, 8, 24, "a" * 64)
    predicted = Predicted(
        "xavier-nx", "gpu", "15W_6CORE", "int8", 1, 3.0, 2.0, 4.0, 0.9, {"compute": 3.0}, "note"
    )
    row = Row(
        bundle, "int8", "int8", "onnxruntime-cpu", "measured", None, "b" * 64, 4.2, MACHINE,
        [latency(), latency(8, None)], [accuracy], [predicted], ["a note"], [],
    )  # fmt: skip
    return Results("2026-01-02T03:04:05+00:00", "reid-bench", True, MACHINE, [row], ["a warning"])


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "folder" / "results.json"
    example().save(path)
    assert Results.load(path) == example()
    assert [p.name for p in path.parent.iterdir()] == ["results.json"], "no temporary is left"


def test_whole_numbers_are_floats_where_those_are_meant():
    text = example().to_json().replace('"mAP": 80.5', '"mAP": 80')
    value = Results.from_json(text).rows[0].accuracy[0].mAP
    assert value == 80.0 and type(value) is float


def changed(change):
    data = json.loads(example().to_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema_version=1), "schema version 1, but .* reads version 2"),
        (lambda d: d.pop("schema_version"), "schema version None"),
        (lambda d: d.pop("kind"), "not a benchmark's results"),
        (lambda d: d.update(more=1), r"unknown fields \['more'\]"),
        (lambda d: d["rows"][0].pop("how"), r"rows\[0\] has .* lacks fields \['how'\]"),
        (lambda d: d["rows"][0].update(how="guessed"), "a row was 'guessed'; expected one of"),
        (lambda d: d["rows"][0]["bundle"].update(dim="24"), "bundle.dim must be int, got '24'"),
        (lambda d: d["rows"][0]["bundle"].update(trained=1), "bundle.trained must be bool, got 1"),
        (lambda d: d["rows"][0]["bundle"].update(dim=True), "bundle.dim must be int, got True"),
        (lambda d: d["rows"][0].update(latency={}), "latency must be a list, got an object"),
        (lambda d: d["rows"][0].update(bundle=None), "bundle must be a JSON object, got null"),
        (
            lambda d: d["rows"][0]["latency"][1]["network"].update(p50_ms=None),
            r"latency\[1\].network.p50_ms must be float, got None",
        ),
        (lambda d: d["machine"]["versions"].update(numpy=2), "versions.numpy must be str, got 2"),
    ],
)
def test_another_file_is_refused_in_one_sentence(change, message):
    with pytest.raises(ReidEdgeError, match=message) as caught:
        Results.from_json(changed(change), "old.json")
    assert str(caught.value).startswith("old.json") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not valid JSON"), ("[]", "not a benchmark's results"), ("NaN", "not a benchmark's")],
)
def test_no_results_at_all(text, message):
    with pytest.raises(ReidEdgeError, match=message):
        Results.from_json(text)


def test_infinity_in_a_file_is_refused():
    with pytest.raises(ReidEdgeError, match="mAP must be float, got inf"):
        Results.from_json(changed(lambda d: d["rows"][0]["accuracy"][0].update(mAP=float("inf"))))


def test_a_figure_that_is_no_number_is_not_written(tmp_path):
    results = example()
    broken = dataclasses.replace(results.rows[0].accuracy[0], mAP=float("nan"))
    row = dataclasses.replace(results.rows[0], accuracy=[broken])
    with pytest.raises(ReidEdgeError, match=r"rows\[0\]\.accuracy\[0\]\.mAP is nan"):
        dataclasses.replace(results, rows=[row]).save(tmp_path / "results.json")
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Cannot read the results .*none\.json"):
        Results.load(tmp_path / "none.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        write_text(tmp_path / "file" / "below", "text")


def test_an_older_file_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchmarks.results.os.replace", fail)
    with pytest.raises(ReidEdgeError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
