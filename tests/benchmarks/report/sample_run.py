"""A run with everything a report can show, made by hand so that every figure is known."""

from dataclasses import replace

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
from benchmarks.results import (
    MEASURED,
    SIMULATED_X3,
    SIMULATED_XAVIER,
    BundleRecord,
    Predicted,
    Results,
    Row,
)
from tests.benchmarks.tiny_run import MACHINE, latency

DATASET = DatasetRecord(
    "market1501", "market", "market", None, "from names", None, 1120, 1120, 5601, 250, 1000, 300, [],
    "f" * 64,
)  # fmt: skip


def bundle(target, name="net", sha256=None, **changes):
    made = BundleRecord(
        "%s_%s" % (name, target), target, "fam", name, True, "market1501", "5" * 64, 128, 64, 512,
        sha256 or (target[0] * 64).replace("x", "e"),
    )  # fmt: skip
    return replace(made, **changes)


def worst(query="query/0001_c1s1_000000_00.jpg"):
    right = Ranked("bounding_box_test/0001_c2s1_000000_00.jpg", True, 0.91)
    wrong = Ranked("bounding_box_test/0002_c2s1_000000_00.jpg", False, 0.87)
    return WorstQuery(query, 1, 1, 97.25, 61.5, [right, wrong], [wrong, right])


def accuracy(mAP=80.25, rank1=91.5, drop=None, dataset=DATASET, queries=()):
    record = cosine = None
    at = OperatingPoint(0.612, 0.001, 0.2345)
    if drop is not None:
        record = DropRecord(
            "fp32", Interval(drop, drop - 0.15, drop + 0.17), Interval(0.36, -0.4, 1.1),
            Interval(0.5, 0.1, 0.9), 0.95, 2000, 0,
        )  # fmt: skip
        cosine = Cosines(
            0.9987, 0.9123, 0.9765, 0.99, 0.999, 100, [0.97, 0.98, 0.99, 1.0], [2, 8, 90]
        )
    curve = [OperatingPoint(0.5, 0.01, 0.1), at, OperatingPoint(0.8, 0.0001, 0.5)]
    kept = None if drop is None else OperatingPoint(0.6, 0.0013, 0.2222)
    return Accuracy(
        dataset, False, mAP, rank1, 96.75, 98.25, 45.5, record, cosine,
        OpenSet(0.001, at, kept, None if drop is None else 0.0117, curve, 40, 500, 9000), list(queries),
    )  # fmt: skip


def predicted(board="xavier-nx", precision="int8", ms=3.14, batch=1, mode="15W_6CORE", unit="gpu"):
    return Predicted(
        board, unit, mode, precision, batch, ms, ms - 1.03, ms + 2.09, 0.9,
        {"launch": 1.66, "compute": ms - 1.66}, "predicted, not measured: a model",
    )  # fmt: skip


def row(target, variant, how=MEASURED, sha="a", **parts):
    return Row(
        parts.pop("bundle", None) or bundle(target), variant, variant[:4], "onnxruntime-cpu", how, None,
        sha * 64, 12.1, MACHINE, **parts,
    )  # fmt: skip


def run():
    """fp32 in two bundles that share the file; int8 on a CPU, and simulated for two boards."""
    rows = [
        row("cpu", "fp32", latency=[latency(network_ms=5.55)], accuracy=[accuracy()]),
        row(
            "cpu", "int8", sha="b", latency=[latency(network_ms=1.23), latency(8, network_ms=9.87)],
            accuracy=[accuracy(80.0, 91.25, 0.25, queries=[worst()])],
        ),
        row(
            "xavier", "fp32", accuracy=[accuracy()],
            predicted=[predicted(precision="fp32", ms=7.77), predicted(precision="fp32", ms=20.5, batch=8)],
        ),
        row(
            "xavier", "int8", SIMULATED_XAVIER, "c", accuracy=[accuracy(79.5, 90.75, 0.75)],
            predicted=[predicted()], notes=["int8 is the Q/DQ graph."],
        ),
        row(
            "x3", "int8", SIMULATED_X3, "d", accuracy=[accuracy(80.3, 91.5, -0.05)],
            predicted=[predicted("x3", ms=6.28, mode="1.2GHZ", unit="bpu")], warnings=["a row's warning"],
        ),
    ]  # fmt: skip
    return Results(
        "2026-01-02T03:04:05+00:00", "reid-bench --bundle a b", True, MACHINE, rows, ["seen"]
    )
