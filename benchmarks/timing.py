"""Latency of all variants of a run, batch size by batch size and thread count by thread count.

Everything that is timed takes turns (benchmarks.latency), so what slows the machine meets all alike.
Three things are timed for each: the network alone, the preparation of the crops, and all of it from
crops to embeddings of unit length, as on the robot.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from benchmarks.latency import interleave, summary
from benchmarks.machine import read_conditions, usable_cores
from benchmarks.progress import progress_bar
from benchmarks.results import Latency, Percentiles
from benchmarks.variants import Variant, prepare_of
from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError

CROP_HEIGHT, CROP_WIDTH = 240, 96  # pixels: a person some metres from the robot
_PROBE_S = 300.0


@dataclass(frozen=True)
class TimingOptions:
    """How to time.

    Attributes:
        batches: Crops per call.
        threads: CPU threads of the network; None is all cores.
        repeats, warmup: Timed and untimed calls of each.
        budget_s: What the timed calls of one network at one batch may take, see ``interleave``.
        memory: Whether to measure peak memory, in a process for each.
    """

    batches: Tuple[int, ...] = (1,)
    threads: Tuple[Optional[int], ...] = (None,)
    repeats: int = 100
    warmup: int = 10
    budget_s: float = 30.0
    memory: bool = True

    def __post_init__(self) -> None:
        counts = [*self.batches, *(t for t in self.threads if t is not None)]
        if not self.batches or not self.threads or min(counts) < 1:
            raise ReidEdgeError(
                "--batch and --threads take whole numbers from 1, such as 1,8; got %s and %s."
                % (list(self.batches), list(self.threads))
            )
        if self.repeats < 1 or self.warmup < 0 or not self.budget_s > 0:
            raise ReidEdgeError(
                "--repeats must be at least 1, --warmup at least 0 and the budget more than 0 s, got "
                "%d, %d and %g." % (self.repeats, self.warmup, self.budget_s)
            )


@dataclass(frozen=True)
class Timed:
    """Where a latency belongs: bundle and variant by their numbers in the run."""

    bundle: int
    variant: Variant
    latency: Latency


@dataclass(frozen=True)
class _Cell:
    bundle: int
    variant: Variant
    batch: int
    threads: Optional[int]
    backend: Backend


def measure_latency(
    bundles: Sequence[Tuple[Bundle, Sequence[Variant]]],
    options: TimingOptions,
    progress: bool = True,
) -> List[Timed]:
    """Time the variants of bundles against each other; those that only simulate are left out.

    Args:
        bundles: Each with its variants.
        options: How.
        progress: Show a bar.

    Returns:
        One entry for each bundle, variant, batch and number of threads, in this order.

    Raises:
        ReidEdgeError: A network cannot be opened or run.
    """
    backends: Dict[Tuple[int, str, Optional[int]], Backend] = {}
    cells: List[_Cell] = []
    try:
        for number, (bundle, variants) in enumerate(bundles):
            for variant in variants:
                if not variant.timed:
                    continue
                for threads in options.threads if _uses_threads(variant) else (None,):
                    backend = variant.open(bundle, threads)
                    backends[number, variant.name + variant.label, threads] = backend
                    cells += [
                        _Cell(number, variant, batch, threads, backend) for batch in options.batches
                    ]
        if not cells:
            return []
        return _measure(bundles, cells, options, progress)
    finally:
        for backend in backends.values():
            backend.close()


def _measure(bundles, cells: List[_Cell], options: TimingOptions, progress: bool) -> List[Timed]:
    calls: Dict[Tuple[int, str], Callable[[], Any]] = {}
    for number, cell in enumerate(cells):
        bundle = bundles[cell.bundle][0]
        for name, call in calls_of(bundle, cell.backend, _crops(cell.batch)).items():
            calls[number, name] = call
    before = read_conditions()
    with progress_bar(len(calls) * options.repeats, "timing", "call", show=progress) as bar:
        times = interleave(
            {"%d %s" % key: call for key, call in calls.items()},
            warmup=options.warmup,
            repeats=options.repeats,
            budget_s=options.budget_s,
            advance=bar.update,
        )
    after = read_conditions()
    found = []
    for number, cell in enumerate(cells):
        parts = {
            name: times["%d %s" % (number, name)]
            for name in ("network", "preprocess", "end_to_end")
        }
        bundle, variant = bundles[cell.bundle][0], cell.variant
        memory = overhead = None
        if options.memory:
            memory = peak_memory_mb(bundle, variant, cell.batch, cell.threads)
        if cell.batch == min(options.batches):
            pixels = prepare_of(cell.backend)(_crops(cell.batch), bundle.manifest.input)
            overhead = overhead_percent(cell.backend, pixels, len(parts["network"]))
        latency = Latency(
            batch=cell.batch,
            threads=_threads(cell),
            network=_percentiles(parts["network"]),
            preprocess=_percentiles(parts["preprocess"]),
            end_to_end=_percentiles(parts["end_to_end"]),
            repeats=len(parts["network"]),
            warmup=options.warmup,
            crop_height=CROP_HEIGHT,
            crop_width=CROP_WIDTH,
            peak_memory_mb=memory,
            overhead_percent=overhead,
            before=before,
            after=after,
        )
        found.append(Timed(cell.bundle, variant, latency))
    return found


def calls_of(
    bundle: Bundle, backend: Backend, crops: List[np.ndarray]
) -> Dict[str, Callable[[], Any]]:
    """What is timed of a network on some crops: "network", "preprocess" and "end_to_end"."""
    contract, prepare = bundle.manifest.input, prepare_of(backend)
    embedder = Embedder(bundle, backend)
    prepared = prepare(crops, contract)
    return {
        "network": lambda: backend.run(prepared),
        "preprocess": lambda: prepare(crops, contract),
        "end_to_end": lambda: embedder.embed(crops),
    }


def overhead_percent(backend: Backend, prepared: np.ndarray, repeats: int) -> Optional[float]:
    """How much longer a call through the backend takes than one of its session alone.

    The two take turns call by call, so that a busy machine slows both alike.

    Args:
        backend: The network; None is returned where it is not ONNX Runtime's.
        prepared: Its input.
        repeats: Calls of each.

    Returns:
        Difference of the medians in percent of the session's.
    """
    session: Any = getattr(backend, "_session", None)
    if session is None or backend.max_batch is not None:
        return None
    feed = {session.get_inputs()[0].name: prepared}
    calls: Tuple[Callable[[], Any], ...] = (
        lambda: backend.run(prepared),
        lambda: session.run(None, feed),
    )
    times_ns: Tuple[List[int], List[int]] = ([], [])
    for turn in range(repeats + 2):
        for which in (0, 1) if turn % 2 else (1, 0):
            started_ns = time.perf_counter_ns()
            calls[which]()
            if turn >= 2:
                times_ns[which].append(time.perf_counter_ns() - started_ns)
    through, alone = (float(np.median(times)) for times in times_ns)
    return 100.0 * (through / alone - 1.0)


def _crops(count: int) -> List[np.ndarray]:
    # Noise: the time of these networks does not depend on what they see.
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (CROP_HEIGHT, CROP_WIDTH, 3), np.uint8) for _ in range(count)]


def peak_memory_mb(
    bundle: Bundle, variant: Variant, batch: int, threads: Optional[int]
) -> Optional[float]:
    """Peak resident memory of a process of its own that embeds a few batches, in MiB.

    That is Python, the libraries, the network and its buffers. None where the system does not tell,
    or where the network cannot be opened twice.
    """
    work = json.dumps(
        {
            "bundle": str(bundle.path),
            "variant": asdict(variant),
            "batch": batch,
            "threads": threads,
            "crop": [CROP_HEIGHT, CROP_WIDTH],
        }
    )
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory_probe", work],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PROBE_S,
            env=dict(os.environ, PYTHONPATH=path),
        )  # fmt: skip
        return float(json.loads(done.stdout.decode())["peak_memory_mb"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None


def _uses_threads(variant: Variant) -> bool:
    return variant.backend == "onnxruntime"


def _threads(cell: _Cell) -> Optional[int]:
    if not _uses_threads(cell.variant):
        return None
    return cell.threads or usable_cores()


def _percentiles(times_ms: np.ndarray) -> Percentiles:
    return Percentiles(**summary(times_ms))  # type: ignore[arg-type]
