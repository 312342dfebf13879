"""Learned activation scales as a calibration table, the form in which reid-export takes ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from calibration.collect import collect_ranges
from calibration.histogram import TensorHistogram
from calibration.methods import TensorRange, asymmetric_mse, symmetric_mse
from calibration.table import CalibrationTable
from export.graph import Graph
from export.placement.base import Placement
from export.qdq import Scale, asymmetric, symmetric
from export.ranges import model_sha256, tensors_to_calibrate


def scales_of(table: CalibrationTable, placement: Placement, target: str) -> dict[str, Scale]:
    """Activation tensor -> scale, in the form the target runs."""
    ranges = {t: table.tensors[t] for t in placement.tensors}
    if target == "xavier":
        return {t: symmetric(r.amax) for t, r in ranges.items()}
    return {t: asymmetric(r.low, r.high) for t, r in ranges.items()}


def collect_histograms(
    graph: Graph, images: np.ndarray, threads: int | None
) -> dict[str, TensorHistogram]:
    """Histogram of every tensor any target may quantize, of (N, 3, H, W) float32 images."""
    tensors = tensors_to_calibrate(graph)
    return collect_ranges(graph.to_model(), tensors, [images], threads=threads)


def learned_table(
    graph: Graph,
    images: np.ndarray,
    scales: dict[str, Scale],
    method: str,
    record: dict[str, Any],
    threads: int | None,
) -> CalibrationTable:
    """The table of a trained network: learned ranges where it has learned any.

    Its other tensors, and the form the target does not use, get what ``method`` finds on the
    trained network. The learned range stands under ``method`` too, because the table's version
    has no name for it; ``record["learned"]`` names the tensors.

    Args:
        graph: The trained float graph, as reid-export will trace it.
        images: (N, 3, H, W) float32 calibration inputs.
        scales: Activation tensor -> learned scale.
        method: One of calibration.methods.METHODS.
        record: Stored as the table's ``selection``.
        threads: CPU threads.
    """
    histograms = collect_histograms(graph, images, threads)
    sha256 = model_sha256(graph.to_model())
    record = {**record, "learned": list(scales)}
    table = CalibrationTable.from_histograms(histograms.values(), method, sha256, record)
    learned = {
        t: _with_scale(table.tensors[t], histograms[t], scale) for t, scale in scales.items()
    }
    return replace(table, tensors={**table.tensors, **learned})


def _with_scale(found: TensorRange, histogram: TensorHistogram, scale: Scale) -> TensorRange:
    amax, low, high, loss = found.amax, found.low, found.high, found.losses[found.method]
    if scale.dtype == "int8":
        amax = 127.0 * scale.scale
        loss = replace(loss, amax=amax, mse=float(symmetric_mse(histogram, amax)))
    else:
        low, high = -scale.zero_point * scale.scale, (255 - scale.zero_point) * scale.scale
        mse = float(asymmetric_mse(histogram, low, high))
        loss = replace(loss, low=low, high=high, mse_asymmetric=mse)
    losses = {**found.losses, found.method: loss}
    return replace(found, amax=amax, low=low, high=high, losses=losses)
