"""Both entropy procedures against a direct, loop-by-loop reading of their descriptions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.entropy import (
    mlperf_amax,
    mlperf_divergences,
    pytorch_quantization_amax,
    pytorch_quantization_divergences,
)
from calibration.histogram import TensorHistogram

COUNTS = hnp.arrays(
    np.float64, 300, elements=st.sampled_from([0.0, 0.0, 1.0, 2.0, 17.0, 1000.0, 123456.0])
)


def divergence(p, q):
    """KL(p || q) of unnormalised histograms."""
    p, q = p / p.sum(), q / q.sum()
    if np.any((p > 0) & (q == 0)):
        return np.inf
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


def redrawn(counts, level_of_bin):
    """Each level's mass spread evenly over its non-empty bins."""
    result = np.zeros_like(counts)
    for level in np.unique(level_of_bin):
        inside = (level_of_bin == level) & (counts > 0)
        if inside.any():
            result[inside] = counts[inside].mean()
    return result


def slow_pytorch_quantization(counts, levels):
    divergences = []
    for kept in range(levels, counts.size + 1):
        inside = counts[:kept]
        if not inside.any():
            divergences.append(np.inf)
            continue
        edges = [k * kept for k in range(levels + 1)]  # in bins times levels: no rounding
        level = np.digitize(np.arange(kept) * levels, edges) - 1
        clipped = inside.copy()
        clipped[-1] += counts[kept:].sum()
        divergences.append(divergence(clipped, redrawn(inside, level)))
    return np.array(divergences)


def slow_mlperf(counts, levels):
    divergences = []
    for cut in range(levels, counts.size):
        if not counts[: cut + 1].any():
            divergences.append(np.inf)
            continue
        clipped = counts[: cut + 1].copy()
        clipped[-1] += counts[cut + 1 :].sum()
        # Middles of bins in half bins; the coarse bins end at the middle of the cut.
        level = (2 * np.arange(cut + 1) + 1) * levels // (2 * cut + 1)
        level = np.minimum(level, levels - 1)
        divergences.append(divergence(redrawn(clipped, level), clipped))
    return np.array(divergences)


@settings(max_examples=25, deadline=None)
@given(COUNTS)
def test_pytorch_quantization_divergences_match_the_loops(counts):
    fast = pytorch_quantization_divergences(counts, 128)
    np.testing.assert_allclose(fast, slow_pytorch_quantization(counts, 128), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(COUNTS)
def test_mlperf_divergences_match_the_loops(counts):
    counts[0] = 0.0
    fast = mlperf_divergences(counts, 127)
    np.testing.assert_allclose(fast, slow_mlperf(counts, 127), atol=1e-9)


@pytest.mark.parametrize("amax_of", [pytorch_quantization_amax, mlperf_amax])
def test_outliers_are_clipped_and_the_bulk_is_kept(amax_of):
    rng = np.random.default_rng(0)
    histogram = TensorHistogram("t")
    histogram.update(rng.normal(size=1_000_000))
    bulk = amax_of(histogram)
    assert 3.0 < bulk < 5.5
    histogram.update(np.full(3, 40.0))
    assert 3.0 < amax_of(histogram) < 10.0


@pytest.mark.parametrize("amax_of", [pytorch_quantization_amax, mlperf_amax])
def test_a_constant_tensor_keeps_its_value(amax_of):
    histogram = TensorHistogram("t")
    histogram.update(np.full(100, 0.7))
    assert amax_of(histogram) >= 0.7
