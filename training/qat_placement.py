"""Which layers stay in float while a network is fine-tuned: those that an export would leave."""

from __future__ import annotations

import numpy as np

from calibration.table import CalibrationTable
from export.fastest import fastest_placement
from export.graph import Graph
from export.ranges import model_sha256
from training.qat_table import collect_histograms

RANGE_CROPS = 8  # speed does not depend on the ranges, so any will do


def chosen_by_export(
    graph: Graph, calibration: np.ndarray, target: str, threads: int | None
) -> frozenset[str]:
    """Names of the nodes reid-export would choose to leave in float, on this machine.

    For the target cpu that is a matter of timing, so the choice goes into the table of ranges and
    the export takes it from there. For xavier the export chooses none.

    Args:
        graph: The float graph.
        calibration: (M, 3, H, W) float32.
        target: "xavier" or "cpu".
        threads: CPU threads, as the export will have.
    """
    if target != "cpu":
        return frozenset()
    histograms = collect_histograms(graph, calibration[:RANGE_CROPS], threads)
    table = CalibrationTable.from_histograms(
        histograms.values(), "minmax", model_sha256(graph.to_model())
    )
    return fastest_placement(graph, table, calibration[:1], threads)[0]
