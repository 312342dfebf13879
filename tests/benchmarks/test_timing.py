"""Which calls are timed, in which order, and what is said about them. No test needs an idle machine."""

import os
import subprocess
import time

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.latency import interleave
from benchmarks.memory_probe import peak_rss_mb
from benchmarks.timing import (
    CROP_HEIGHT,
    CROP_WIDTH,
    TimingOptions,
    calls_of,
    measure_latency,
    overhead_percent,
    peak_memory_mb,
)
from benchmarks.timing_store import measure_once
from benchmarks.variants import plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from tests.benchmarks.tiny_run import MACHINE, write_bundle

QUICK = TimingOptions(batches=(1, 3), threads=(1,), repeats=4, warmup=2, memory=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle.open(write_bundle(tmp_path_factory.mktemp("timing") / "bundle"))


def test_one_entry_for_each_variant_batch_and_number_of_threads(bundle):
    options = TimingOptions(batches=(1, 3), threads=(1, 2), repeats=3, warmup=1, memory=False)
    variants = plan_variants(bundle)
    timed = measure_latency([(bundle, variants), (bundle, variants[:1])], options, progress=False)
    assert [(t.bundle, t.variant.name, t.latency.batch, t.latency.threads) for t in timed] == [
        (0, "fp32", 1, 1), (0, "fp32", 3, 1), (0, "fp32", 1, 2), (0, "fp32", 3, 2),
        (0, "int8", 1, 1), (0, "int8", 3, 1), (0, "int8", 1, 2), (0, "int8", 3, 2),
        (1, "fp32", 1, 1), (1, "fp32", 3, 1), (1, "fp32", 1, 2), (1, "fp32", 3, 2),
    ]  # fmt: skip
    for entry in timed:
        found = entry.latency
        for part in (found.network, found.preprocess, found.end_to_end):
            assert 0 < part.p50_ms <= part.p90_ms <= part.p99_ms and part.n == found.repeats == 3
        assert (found.crop_height, found.crop_width) == (CROP_HEIGHT, CROP_WIDTH)
        assert (found.overhead_percent is not None) == (found.batch == 1)
        assert found.peak_memory_mb is None and found.warmup == 1
    assert len({id(t.latency.before) for t in timed}) == 1, "one run, one state of the machine"


def test_everything_takes_turns(bundle, monkeypatch):
    order = []

    def record(calls, **options):
        order.extend(calls)
        assert options["warmup"] == 2 and options["repeats"] == 4 and options["budget_s"] == 30
        return {name: np.ones(4) for name in calls}

    monkeypatch.setattr(timing, "interleave", record)
    measure_latency([(bundle, plan_variants(bundle))], QUICK, progress=False)
    # One call of interleave has all of them, so drift meets all alike (test_latency.py).
    assert order == [
        "%d %s" % (cell, part)
        for cell in range(4)
        for part in ("network", "preprocess", "end_to_end")
    ]


def test_what_is_timed_gives_what_it_says(bundle):
    variant = plan_variants(bundle)[0]
    crops = [np.full((CROP_HEIGHT, CROP_WIDTH, 3), 40 * i, np.uint8) for i in range(1, 4)]
    with variant.open(bundle, 1) as backend:
        calls = calls_of(bundle, backend, crops)
        prepared = calls["preprocess"]()
        assert prepared.shape == (3, *bundle.manifest.input.shape)
        raw = calls["network"]()
        np.testing.assert_array_equal(raw, backend.run(prepared))
        whole = calls["end_to_end"]()
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        whole, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


def test_simulations_are_not_timed(tmp_path):
    xavier = Bundle.open(write_bundle(tmp_path / "x", target="xavier", roles=("model.int8",)))
    variants = plan_variants(xavier, precisions=["int8"])
    assert measure_latency([(xavier, variants)], QUICK, progress=False) == []


def test_the_wrapper_costs_little_beside_a_bare_session(bundle):
    """The bar is 3 % on a network that takes milliseconds; a product of microseconds tells nothing.

    So what our call adds is held against a millisecond: alternating calls, medians, ample slack.
    """
    with plan_variants(bundle)[0].open(bundle, 1) as backend:
        pixels = np.ones((1, *backend.input_shape), np.float32)
        session = backend._session
        feed = {session.get_inputs()[0].name: pixels}
        through, alone = [], []
        for _ in range(300):
            for call, times in ((lambda: backend.run(pixels), through),
                                (lambda: session.run(None, feed), alone)):  # fmt: skip
                started_ns = time.perf_counter_ns()
                call()
                times.append(time.perf_counter_ns() - started_ns)
        assert np.median(through) - np.median(alone) < 0.2e6, "0.2 ms"
        assert overhead_percent(backend, pixels, 20) > -90


def test_overhead_of_a_known_wrapper():
    class Session:
        def get_inputs(self):
            return [type("Input", (), {"name": "images"})]

        def run(self, names, feed):
            time.sleep(0.004)

    class Backend:
        _session, max_batch = Session(), None

        def run(self, pixels):
            time.sleep(0.008)

    assert 40 < overhead_percent(Backend(), np.zeros(1), 5) < 160
    other = Backend()
    other._session = None
    assert overhead_percent(other, np.zeros(1), 5) is None


def test_peak_memory_is_that_of_a_process_of_its_own(bundle):
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc")
    before = peak_rss_mb()
    ballast = np.ones(40 << 20, np.uint8)  # 40 MiB that only this process has
    assert peak_rss_mb() > before + 30 or before > 200
    found = peak_memory_mb(bundle, plan_variants(bundle)[0], 2, 1)
    assert 15 < found < 2000 and ballast.any()


def test_peak_memory_that_nobody_can_tell_is_none(bundle, monkeypatch, tmp_path):
    assert peak_rss_mb(tmp_path / "none") is None

    def refuse(*_, **__):
        raise subprocess.TimeoutExpired("python", 1)

    monkeypatch.setattr(timing.subprocess, "run", refuse)
    assert peak_memory_mb(bundle, plan_variants(bundle)[0], 1, 1) is None
    monkeypatch.undo()
    monkeypatch.setattr(timing.sys, "executable", "/bin/false")
    assert peak_memory_mb(bundle, plan_variants(bundle)[0], 1, 1) is None


def test_times_of_an_interrupted_run_are_taken_again(bundle, tmp_path, monkeypatch):
    variants = plan_variants(bundle)
    arguments = ([(bundle, variants)], QUICK, MACHINE, tmp_path / "unfinished", False)
    first = measure_once(*arguments)
    monkeypatch.setattr("benchmarks.timing_store.measure_latency", lambda *_: pytest.fail("again"))
    assert measure_once(*arguments) == first
    monkeypatch.undo()
    # Not on another machine, not for other options or variants, not from a broken file.
    seen = []
    monkeypatch.setattr(
        "benchmarks.timing_store.measure_latency", lambda *_: seen.append(1) or first
    )
    from dataclasses import replace

    measure_once(*arguments[:2], replace(MACHINE, power_mode="10W"), *arguments[3:])
    measure_once(arguments[0], replace(QUICK, repeats=5), *arguments[2:])
    measure_once([(bundle, variants[:1])], *arguments[1:])
    assert len(seen) == 3
    for kept in (tmp_path / "unfinished").iterdir():
        kept.write_text("[[0, 'int8'")
    measure_once(*arguments)
    assert len(seen) == 4


def test_a_slow_network_gets_fewer_repeats():
    now_ns, calls = [0], {"slow": 0, "fast": 0}

    def runner(name, cost_s):
        def run():
            calls[name] += 1
            now_ns[0] += round(cost_s * 1e9)

        return run

    advanced = []
    times = interleave(
        {"slow": runner("slow", 2.0), "fast": runner("fast", 0.001)},
        warmup=10, repeats=100, budget_s=40.0, least=7, burst=5, lead_in=1, settle_s=0.0,
        clock_ns=lambda: now_ns[0], advance=advanced.append,
    )  # fmt: skip
    assert len(times["fast"]) == 100 and len(times["slow"]) == 20
    assert sum(advanced) == 120
    # Its warm-up stops at a tenth of the budget; each turn of 5 has one more call before it.
    assert calls == {"slow": 3 + 20 + 4, "fast": 10 + 100 + 20}
    least = interleave(
        {"slow": runner("slow", 60.0)}, warmup=2, repeats=100, budget_s=1.0, least=7,
        settle_s=0.0, clock_ns=lambda: now_ns[0],
    )  # fmt: skip
    assert len(least["slow"]) == 7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batches": (0,)}, "--batch and --threads take whole numbers from 1"),
        ({"threads": (0,)}, "--batch and --threads"),
        ({"batches": ()}, "--batch and --threads"),
        ({"repeats": 0}, "--repeats must be at least 1"),
        ({"warmup": -1}, "--warmup at least 0"),
        ({"budget_s": 0.0}, "the budget more than 0 s"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ReidEdgeError, match=said):
        TimingOptions(**options)
