"""Entropy calibration: the range that loses least information, in two public descriptions.

Both slide a cut along the histogram of |x|, push everything beyond the cut into its last bin,
redraw what is left with as many levels as int8 has, and keep the cut with the least
Kullback-Leibler divergence between the two drawings. They differ in every detail.

``pytorch_quantization_amax`` follows NVIDIA's pytorch-quantization toolkit (``calib/histogram.py``
in the TensorRT 8.5 sources): the first bin takes its neighbour's count, 128 levels, cuts from bin
128 on, divergence of the clipped histogram from the redrawn one (which does not hold the clipped
mass), last of equal minima, range at the bin's upper edge.

``mlperf_amax`` follows the text NVIDIA publishes with its MLPerf submissions
(``closed/NVIDIA/documentation/calibration.md``): the first bin is discarded, 127 levels up to the
middle of the cut's bin, divergence of the redrawn histogram (clipped mass included) from the
clipped one, range at the middle of the bin. What the text leaves open is settled as in the
toolkit: a level's mass is spread over its non-empty bins, cuts start where redrawing loses detail,
and the last of equal minima counts.

Within a level the redrawn histogram is flat, so a level contributes to the divergence through four
sums only. Running totals give these for all cuts at once: milliseconds instead of the toolkit's
loop over bins.
"""

from __future__ import annotations

import numpy as np

from calibration.histogram import TensorHistogram


def pytorch_quantization_amax(histogram: TensorHistogram) -> float:
    """Symmetric range by the pytorch-quantization procedure; the peak where none is defined."""
    counts = histogram.magnitude_counts.astype(np.float64)
    counts[0] = counts[1]
    best = _last_minimum(pytorch_quantization_divergences(counts))
    if best is None:
        return histogram.peak
    return (best + 128) * histogram.limit / histogram.bins


def mlperf_amax(histogram: TensorHistogram) -> float:
    """Symmetric range by the MLPerf procedure; the peak where none is defined."""
    counts = histogram.magnitude_counts.astype(np.float64)
    counts[0] = 0.0
    best = _last_minimum(mlperf_divergences(counts))
    if best is None:
        return histogram.peak
    return (best + 127 + 0.5) * histogram.limit / histogram.bins


def pytorch_quantization_divergences(counts: np.ndarray, levels: int = 128) -> np.ndarray:
    """KL(clipped || redrawn) for every cut that keeps ``i`` bins, i = levels .. len(counts).

    Args:
        counts: (bins,) float64 histogram of |x|.
        levels: Quantization levels.

    Returns:
        (bins - levels + 1,) float64; inf where the cut's last bin is empty but takes clipped mass,
        or nothing is left inside the cut.
    """
    kept = np.arange(levels, counts.size + 1)
    # Level k holds the bins whose index j satisfies k <= j * levels / kept < k + 1.
    starts = -(-np.arange(levels + 1) * kept[:, None] // levels)
    mass, occupied = _per_level(counts, starts), _per_level(counts > 0, starts)
    inside = mass.sum(axis=1)
    clipped = counts.sum() - inside
    last = counts[kept - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_flat = np.where(mass > 0, np.log(mass / occupied), 0.0)
        log_last = np.where(last > 0, log_flat[:, -1], -np.inf)
        reference = _running(_x_log_x(counts))[kept - 1] + _x_log_x(last + clipped)
        redrawn = (mass * log_flat).sum(axis=1) + np.where(clipped > 0, clipped * log_last, 0.0)
        total = inside + clipped
        divergence = (reference - redrawn) / total - np.log(total) + np.log(inside)
    return np.where(inside > 0, divergence, np.inf)


def mlperf_divergences(counts: np.ndarray, levels: int = 127) -> np.ndarray:
    """KL(redrawn || clipped) for every cut at bin ``b``, b = levels .. len(counts) - 1.

    Args:
        counts: (bins,) float64 histogram of |x|, its first bin already emptied.
        levels: Quantization levels.

    Returns:
        (bins - levels,) float64; inf where nothing is left inside the cut (all of
        the mass in one bin would match its redrawing perfectly).
    """
    cut = np.arange(levels, counts.size)
    # Level k holds the bins whose middle satisfies k <= (j + 1/2) * levels / (cut + 1/2) < k + 1;
    # the cut's own bin, exactly on the upper end, belongs to the last level.
    starts = -(-(np.arange(levels + 1) * (2 * cut[:, None] + 1) - levels) // (2 * levels))
    starts[:, 0] = 0
    starts[:, -1] = cut + 1
    inside = _running(counts)[cut + 1]
    clipped = counts.sum() - inside
    last, log_counts = counts[cut], _log(counts)
    mass, occupied = _per_level(counts, starts), _per_level(counts > 0, starts)
    logs = _per_level(log_counts, starts)
    mass[:, -1] += clipped
    occupied[:, -1] += (last == 0) & (clipped > 0)
    logs[:, -1] += _log(last + clipped) - log_counts[cut]
    flat = mass / np.maximum(occupied, 1)
    divergence = (mass * _log(flat) - flat * logs).sum(axis=1)
    return np.where(inside > 0, divergence / max(counts.sum(), 1.0), np.inf)


def _last_minimum(divergences: np.ndarray) -> int | None:
    """Index of the last least divergence, None if none is finite."""
    if not np.isfinite(divergences).any():
        return None
    rounded = np.round(divergences, 12)  # ties must not hang on the order of summation
    return divergences.size - 1 - int(np.argmin(rounded[::-1]))


def _running(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _per_level(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.diff(_running(values)[starts], axis=1)


def _log(values: np.ndarray) -> np.ndarray:
    """Natural logarithm where positive, 0 elsewhere."""
    return np.log(values, out=np.zeros(values.shape), where=values > 0)


def _x_log_x(values: np.ndarray) -> np.ndarray:
    return values * _log(values)
