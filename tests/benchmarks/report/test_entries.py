"""Rows of a run as networks and their kinds."""

from dataclasses import replace

from benchmarks.report.entries import entries, headline_cases, network_names, predicted_at
from benchmarks.results import MEASURED
from tests.benchmarks.report.sample_run import accuracy, bundle, predicted, row, run
from tests.benchmarks.tiny_run import MACHINE, latency


def labels(rows):
    return {
        network: [entry.label for entry in kinds]
        for network, kinds in entries(replace(run(), rows=rows)).items()
    }


def test_the_same_file_in_two_bundles_is_one_entry_with_what_both_know():
    found = entries(run())
    assert list(found) == ["net"]
    assert [entry.label for entry in found["net"]] == ["fp32", "int8 CPU", "int8 Xavier", "int8 X3"]
    fp32 = found["net"][0]
    assert [r.bundle.target for r in fp32.rows] == ["cpu", "xavier"]
    assert fp32.latency[0].network.p50_ms == 5.55, "timed in the first bundle"
    assert [p.latency_ms for p in fp32.predicted] == [7.77, 20.5], "predicted in the second"
    assert headline_cases(run()) == [
        ("xavier-nx", "gpu", "15W_6CORE", 1),
        ("x3", "bpu", "1.2GHZ", 1),
    ]
    assert predicted_at(fp32, ("xavier-nx", "gpu", "15W_6CORE", 8)).latency_ms == 20.5
    assert predicted_at(fp32, ("x3", "bpu", "1.2GHZ", 1)) is None


def test_entries_that_would_be_called_alike_are_told_apart():
    rows = [row("cpu", "fp32"), row("x3", "fp32", sha="b")]
    assert labels(rows) == {"net": ["fp32", "fp32, X3 graph"]}
    again = bundle("cpu", sha256="9" * 64, name="net")
    rows = [row("cpu", "int8"), row("cpu", "int8", sha="b", bundle=replace(again, name="again"))]
    assert labels(rows) == {"net": ["int8 CPU, net_cpu", "int8 CPU, again"]}
    other = replace(MACHINE, cpu="another CPU")
    rows = [row("cpu", "fp32"), replace(row("cpu", "fp32"), machine=other)]
    assert labels(rows) == {"net": ["fp32, a CPU", "fp32, another CPU"]}


def test_networks_of_one_architecture_are_told_apart_and_fp32_comes_first():
    other = bundle("cpu", source_sha256="6" * 64)
    rows = [
        row("cpu", "int8"),
        row("cpu", "fp32", sha="b"),
        row("cpu", "fp32", sha="c", bundle=other),
    ]
    assert labels(rows) == {"net (55555555)": ["fp32", "int8 CPU"], "net (66666666)": ["fp32"]}
    unknown = bundle("cpu", source_sha256=None)
    assert list(network_names([unknown, other]).values()) == ["net (net_cpu)", "net (66666666)"]


def test_an_alternative_keeps_its_name():
    rows = [
        row("cpu", "fp32"),
        replace(row("cpu", "int8", sha="b"), variant="ort_static", alternative="x"),
    ]
    assert labels(rows) == {"net": ["fp32", "ort_static"]}


def test_predictions_of_the_same_case_are_listed_once():
    twice = row("cpu", "fp32", predicted=[predicted(ms=1.0), predicted(ms=2.0)], how=MEASURED)
    found = entries(replace(run(), rows=[twice]))["net"][0]
    assert [p.latency_ms for p in found.predicted] == [1.0]


def test_the_headline_has_the_usual_power_mode_and_the_smallest_batch():
    cases = [
        predicted(mode="10W_2CORE"), predicted(batch=8), predicted(mode="10W_4CORE", batch=1),
        predicted(batch=4), predicted("jetson-unknown", mode="m", batch=4), predicted("jetson-unknown", mode="n"),
    ]  # fmt: skip
    results = replace(run(), rows=[row("cpu", "int8", predicted=cases)])
    assert headline_cases(results) == [
        ("xavier-nx", "gpu", "15W_6CORE", 4),
        ("jetson-unknown", "gpu", "n", 1),
    ]


def test_accuracy_is_that_of_the_data_set_asked_for():
    one = accuracy()
    key = (one.dataset.sha256, None)
    entry = entries(replace(run(), rows=[row("cpu", "fp32", accuracy=[one], latency=[latency()])]))[
        "net"
    ][0]
    assert entry.accuracy(key) == one and entry.accuracy(("0" * 64, None)) is None
