"""Interleaving and summary of latency with a clock the test moves; the machine record."""

import json
import os

import numpy as np
import pytest

from benchmarks.latency import compare_latency, machine_record, parse_cpuinfo
from runtime.errors import ReidEdgeError


class Bench:
    """Runners that advance a fake clock by a scripted cost and note the order of calls."""

    def __init__(self):
        self.now_ns = 0
        self.calls = []

    def clock_ns(self):
        return self.now_ns

    def runner(self, name, cost_ms):
        def run(batch):
            self.calls.append(name)
            cost = cost_ms(len(self.calls)) if callable(cost_ms) else cost_ms
            self.now_ns += round(cost * 1e6)

        return run


BATCH = np.zeros((1, 3, 8, 8), np.float32)


def test_summary_of_known_costs():
    bench = Bench()
    measured = [float(i) for i in range(1, 102)]
    # Slow warm-up, then a slow untimed call in front of each pair of timed ones.
    pairs = [measured[i : i + 2] for i in range(0, 101, 2)]
    costs = iter([100.0] * 3 + [cost for pair in pairs for cost in (500.0, *pair)])
    report = compare_latency(
        {"only": bench.runner("only", lambda _: next(costs))},
        BATCH, warmup=3, repeats=101, burst=2, lead_in=1, settle_s=0.0, clock_ns=bench.clock_ns,
    )  # fmt: skip
    assert report == {
        "only": pytest.approx(
            {"p50_ms": 51.0, "p90_ms": 91.0, "p99_ms": 100.0, "mean_ms": 51.0, "n": 101}
        )
    }


def test_rounds_are_interleaved_and_start_with_each_runner_in_turn():
    bench = Bench()
    runners = {name: bench.runner(name, 1.0) for name in "abc"}
    compare_latency(
        runners,
        BATCH,
        warmup=1,
        repeats=3,
        burst=1,
        lead_in=1,
        settle_s=0.0,
        clock_ns=bench.clock_ns,
    )
    assert "".join(bench.calls) == "abc" + "aabbcc" + "bbccaa" + "ccaabb"


def test_drift_meets_all_runners_alike():
    """A machine that slows down steadily must not make two equal runners look different."""
    bench = Bench()
    runners = {name: bench.runner(name, lambda call: 1.0 + 0.01 * call) for name in "ab"}
    report = compare_latency(
        runners, BATCH, warmup=0, repeats=100, settle_s=0.0, clock_ns=bench.clock_ns
    )
    assert report["a"]["mean_ms"] == pytest.approx(report["b"]["mean_ms"], rel=1e-9)
    assert report["a"]["p90_ms"] == pytest.approx(report["b"]["p90_ms"], rel=0.02)
    assert list(report) == ["a", "b"]


def test_real_clock_orders_a_cheap_and_a_dear_runner():
    report = compare_latency(
        {"dear": lambda x: np.sort(np.tile(x.ravel(), 2000)), "cheap": lambda x: x.sum()},
        BATCH, warmup=1, repeats=5,
    )  # fmt: skip
    assert 0 < report["cheap"]["p50_ms"] < report["dear"]["p50_ms"]


def test_the_batch_reaches_the_runner():
    seen = []
    compare_latency({"a": seen.append}, BATCH, warmup=1, repeats=2, burst=2, lead_in=3)
    assert len(seen) == 1 + 3 + 2
    assert all(batch is BATCH for batch in seen)


@pytest.mark.parametrize(
    ("runners", "arguments"),
    [({}, {}), ({"a": print}, {"repeats": 0}), ({"a": print}, {"warmup": -1})],
)
def test_nothing_to_measure_is_refused(runners, arguments):
    with pytest.raises(ReidEdgeError, match="at least one runner"):
        compare_latency(runners, BATCH, **arguments)


def test_cpuinfo_of_x86_and_arm():
    x86 = "processor\t: 0\nmodel name\t: Acme 9000\nflags\t\t: fpu avx2 avx512_vnni xyz\n\n"
    arm = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\nCPU part\t: 0x004\n"
    assert parse_cpuinfo(x86 + x86.replace("9000", "1")) == ("Acme 9000", ["avx2", "avx512_vnni"])
    assert parse_cpuinfo(arm) == (None, ["asimddp", "asimdhp"])
    assert parse_cpuinfo("") == (None, [])


def test_machine_record_is_json_and_names_what_runs_here():
    record = machine_record()
    assert json.loads(json.dumps(record)) == record
    assert record["packages"]["numpy"] == np.__version__
    assert record["cores"] == os.cpu_count()
    assert 1 <= record["usable_cores"] <= record["cores"]
    assert record["python"].startswith("3.")
