"""Latency of several runners on one batch, and the record of the machine it was measured on."""

from __future__ import annotations

import math
import os
import platform
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Mapping

import numpy as np

from runtime.errors import ReidEdgeError

CPU_FLAGS = (
    "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "asimddp", "asimdhp", "i8mm",
)  # fmt: skip
"""Instruction sets that decide whether INT8 and FP16 pay on a CPU, as Linux names them."""

PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "opencv-python")


def compare_latency(
    runners: Mapping[str, Callable[[np.ndarray], Any]],
    batch: np.ndarray,
    *,
    warmup: int = 10,
    repeats: int = 100,
    burst: int = 5,
    lead_in: int = 3,
    settle_s: float = 0.02,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, dict[str, float]]:
    """Time each runner on the same batch, in interleaved rounds.

    In each round every runner has one turn, and each round starts one runner later, so clock drift,
    heat and other load meet all runners alike. A turn is a rest (worker threads of the runner before
    spin for a while after their work), a few untimed calls (caches and threads of this runner wake
    up), then timed calls: a steady stream, as on a robot. Calls are timed from host to host: what a
    caller waits for.

    Args:
        runners: Name to callable; each must return only when its result is ready.
        batch: Input handed to every runner.
        warmup: Untimed calls of each runner first (memory arenas, lazy kernels, clocks).
        repeats: Timed calls of each runner.
        burst: Timed calls in one turn.
        lead_in: Untimed calls before them.
        settle_s: Rest before each turn, in seconds.
        clock_ns: Monotonic clock in nanoseconds.

    Returns:
        Name to ``{"p50_ms", "p90_ms", "p99_ms", "mean_ms", "n"}``, in the order of ``runners``.

    Raises:
        ReidEdgeError: No runners, or a count out of range.
    """
    timed = interleave(
        {name: partial(run, batch) for name, run in runners.items()},
        warmup=warmup, repeats=repeats, burst=burst, lead_in=lead_in, settle_s=settle_s,
        clock_ns=clock_ns,
    )  # fmt: skip
    return {name: summary(times_ms) for name, times_ms in timed.items()}


def interleave(
    calls: Mapping[str, Callable[[], Any]],
    *,
    warmup: int = 10,
    repeats: int = 100,
    budget_s: float = math.inf,
    least: int = 10,
    burst: int = 5,
    lead_in: int = 3,
    settle_s: float = 0.02,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    advance: Callable[[int], Any] | None = None,
) -> dict[str, np.ndarray]:
    """Time calls in turns, as :func:`compare_latency` describes.

    Args:
        calls: Name to what is timed; each must return only when its result is ready.
        warmup, repeats, burst, lead_in, settle_s, clock_ns: As in :func:`compare_latency`.
        budget_s: What the timed calls of one name may take together, judged by its warm-up: a slow
            network on a small board gets fewer than ``repeats``, but ``least``. Its warm-up is
            bounded likewise, to a tenth of it and 2 calls.
        least: Timed calls of each, whatever they take.
        advance: Called after each turn with the timed calls in it.

    Returns:
        Name to the times in milliseconds, (repeats,) float64, in the order of ``calls``.

    Raises:
        ReidEdgeError: No calls, or a count out of range.
    """
    if not calls or warmup < 0 or repeats < 1 or burst < 1 or lead_in < 0:
        raise ReidEdgeError(
            "Comparing latency needs at least one runner, warmup and lead_in >= 0, repeats and burst "
            f">= 1, got {len(calls)} runners, {warmup}, {lead_in}, {repeats} and {burst}."
        )
    names = list(calls)
    wanted = dict.fromkeys(names, repeats)
    spent_ns = dict.fromkeys(names, 0)
    for done in range(warmup):
        for name in names:
            if done >= 2 and spent_ns[name] > budget_s * 1e8:
                continue
            started_ns = clock_ns()
            calls[name]()
            spent_ns[name] += clock_ns() - started_ns
            if done:  # the first call builds what later ones use
                seconds = spent_ns[name] / 1e9 / (done + 1)
                fits = int(min(budget_s / max(seconds, 1e-9), repeats))
                wanted[name] = min(repeats, max(least, fits))
    elapsed_ns: dict[str, list[int]] = {name: [] for name in names}
    turn = 0
    while any(len(elapsed_ns[name]) < wanted[name] for name in names):
        shift = turn % len(names)
        turn += 1
        for name in names[shift:] + names[:shift]:
            call, left = calls[name], wanted[name] - len(elapsed_ns[name])
            if left < 1:
                continue
            time.sleep(settle_s)
            for _ in range(lead_in):
                call()
            for _ in range(min(burst, left)):
                started_ns = clock_ns()
                call()
                elapsed_ns[name].append(clock_ns() - started_ns)
            if advance is not None:
                advance(min(burst, left))
    return {name: np.array(times) / 1e6 for name, times in elapsed_ns.items()}


def summary(times_ms: np.ndarray) -> dict[str, float]:
    """Percentiles, mean and number of (N,) times in milliseconds."""
    p50, p90, p99 = np.percentile(times_ms, (50, 90, 99))
    return {
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "mean_ms": float(times_ms.mean()),
        "n": len(times_ms),
    }


def machine_record() -> dict[str, Any]:
    """What a latency figure must be quoted with.

    Returns:
        JSON-able: ``cpu`` (model), ``cores`` and ``usable_cores``, ``cpu_flags`` (those of
        ``CPU_FLAGS`` present), ``os``, ``arch``, ``python``, and ``packages`` (name to version,
        installed ones only). ``cpu`` is None and ``cpu_flags`` empty where the system does not
        publish them.
    """
    cpuinfo = Path("/proc/cpuinfo")
    model, flags = parse_cpuinfo(cpuinfo.read_text() if cpuinfo.is_file() else "")
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = os.cpu_count()
    return {
        "cpu": model or platform.processor() or None,
        "cores": cores,
        "usable_cores": len(affinity(0)) if affinity else cores,
        "cpu_flags": flags,
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "python": platform.python_version(),
        "packages": _versions(PACKAGES),
    }


def parse_cpuinfo(text: str) -> tuple[str | None, list[str]]:
    """Read the CPU model and the ``CPU_FLAGS`` present from the text of Linux's /proc/cpuinfo.

    x86 kernels list "flags" per processor, ARM kernels "Features" and often no model name.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    return fields.get("model name"), [flag for flag in CPU_FLAGS if flag in present]


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
