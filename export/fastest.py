"""Picks, by timing on this machine, which layers integer kernels should run (target cpu)."""

from __future__ import annotations

import numpy as np

from benchmarks.latency import compare_latency
from calibration.table import CalibrationTable
from export.graph import Graph
from export.judge import open_model
from export.placement import cpu
from export.qdq import asymmetric, insert

# A placement with fewer integer layers must win by this much: timings wander by a few percent.
MARGIN = 0.03


def fastest_placement(
    graph: Graph, table: CalibrationTable, image: np.ndarray, threads: int | None
) -> tuple[frozenset[str], dict[str, float]]:
    """Time every alternative placement and return the fastest.

    Args:
        graph: The float graph.
        table: Ranges; any will do, speed does not depend on them.
        image: (1, 3, H, W) float32.
        threads: CPU threads.

    Returns:
        The nodes to keep in float, and placement name -> median latency in ms.
    """
    candidates = cpu.alternatives(graph)
    if len(candidates) < 2:
        return next(iter(candidates.values()), frozenset()), {}
    runners = {}
    for name, kept in candidates.items():
        placement = cpu.place(graph, kept)
        scales = {
            t: asymmetric(table.tensors[t].low, table.tensors[t].high) for t in placement.tensors
        }
        runners[name] = open_model(insert(graph, placement, scales, store_int8=True), threads).run
    measured = {
        k: v["p50_ms"] for k, v in compare_latency(runners, image, warmup=3, repeats=30).items()
    }
    best = next(iter(measured))  # in order from most to fewest integer layers
    for name, latency_ms in measured.items():
        if latency_ms < measured[best] * (1 - MARGIN):
            best = name
    return candidates[best], measured
