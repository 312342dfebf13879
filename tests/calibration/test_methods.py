"""Ranges and their errors, against quantizing the very values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.histogram import TensorHistogram
from calibration.methods import (
    DEAD_AMAX,
    METHODS,
    asymmetric_mse,
    asymmetric_range,
    choose,
    symmetric_amax,
    symmetric_mse,
)
from runtime.errors import ReidEdgeError


def histogram_of(values, bins=2048):
    histogram = TensorHistogram("layer/relu", bins)
    histogram.update(np.asarray(values))
    return histogram


def quantized(values, scale, zero_point, lowest, highest):
    codes = np.clip(np.rint(values / scale) + zero_point, lowest, highest)
    return (codes - zero_point) * scale


RNG = np.random.default_rng(1)
TENSORS = {
    "normal": RNG.normal(size=200_000),
    "relu": np.maximum(RNG.normal(size=200_000), 0),
    "heavy": RNG.standard_t(3, size=200_000),
    "negative": -np.abs(RNG.normal(size=200_000)),
    "shifted": RNG.normal(size=200_000) * 0.2 - 1.5,
    "silu": (lambda x: x / (1 + np.exp(-x)))(RNG.normal(size=200_000) * 3),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("share", [1.0, 0.6, 0.25])
def test_estimated_error_is_the_error_of_quantizing_the_values(kind, share):
    values = TENSORS[kind].astype(np.float32).astype(np.float64)
    histogram = histogram_of(values)
    amax = histogram.peak * share
    real = np.mean((quantized(values, amax / 127, 0, -128, 127) - values) ** 2)
    assert symmetric_mse(histogram, amax) == pytest.approx(real, rel=0.03)
    low, high = min(histogram.low, 0) * share, max(histogram.high, 0) * share
    scale = (high - low) / 255
    zero_point = np.rint(-low / scale)
    real = np.mean((quantized(values, scale, zero_point, 0, 255) - values) ** 2)
    assert asymmetric_mse(histogram, low, high) == pytest.approx(real, rel=0.03)


@pytest.mark.parametrize("kind", TENSORS)
def test_mse_finds_the_best_of_a_dense_search(kind):
    histogram = histogram_of(TENSORS[kind])
    dense = histogram.peak * np.linspace(0.01, 1, 400)
    least = symmetric_mse(histogram, dense).min()
    assert symmetric_mse(histogram, symmetric_amax(histogram, "mse")) <= least * 1.01


@pytest.mark.parametrize("kind", TENSORS)
def test_asymmetric_mse_is_near_the_best_of_a_grid(kind):
    histogram = histogram_of(TENSORS[kind])
    lows = min(histogram.low, 0) * np.linspace(0.02, 1, 60)[:, None]
    highs = max(histogram.high, 0) * np.linspace(0.02, 1, 60)[None, :]
    least = asymmetric_mse(histogram, lows, highs).min()
    assert asymmetric_mse(histogram, *asymmetric_range(histogram, "mse")) <= least * 1.01


@pytest.mark.parametrize("kind", TENSORS)
def test_percentile_is_the_quantile_of_the_values(kind):
    histogram = histogram_of(TENSORS[kind])
    bin_width = histogram.limit / histogram.bins
    for percentile in (99.0, 99.9, 99.99):
        expected = np.quantile(np.abs(TENSORS[kind]), percentile / 100)
        got = symmetric_amax(histogram, "percentile", percentile=percentile)
        assert got == pytest.approx(expected, abs=2 * bin_width, rel=0.02)
        tail = (1 - percentile / 100) / 2
        low, high = np.quantile(TENSORS[kind], [tail, 1 - tail])
        got_low, got_high = asymmetric_range(histogram, "percentile", percentile=percentile)
        assert got_low == pytest.approx(min(low, 0), abs=2 * bin_width, rel=0.02)
        assert got_high == pytest.approx(max(high, 0), abs=2 * bin_width, rel=0.02)


def test_percentile_of_a_nearly_dead_tensor_is_that_of_its_live_values():
    values = np.zeros(1_000_000)
    values[:20] = np.linspace(1, 2, 20)
    assert 1.9 < choose(histogram_of(values), "percentile").amax <= 2.0
    assert 1.9 < choose(histogram_of(values), "percentile").high <= 2.0


def test_a_rare_negative_tail_is_cut_by_the_percentile():
    values = np.abs(TENSORS["normal"]).copy()
    values[:5] = -3.0  # 0.0025 %, below the 0.005 % cut
    low, high = asymmetric_range(histogram_of(values), "percentile")
    assert low == 0.0 and high > 3.0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60),
    st.sampled_from(METHODS),
)
def test_ranges_stay_within_the_data_and_are_always_usable(values, method):
    histogram = histogram_of(values)
    chosen = choose(histogram, method)
    assert chosen.amax > 0 and chosen.low <= 0 <= chosen.high and chosen.low < chosen.high
    for name, loss in chosen.losses.items():
        assert np.isfinite([loss.mse, loss.mse_asymmetric]).all(), name
        if histogram.peak > 1e-6:
            assert loss.amax <= histogram.peak * (1 + 1e-12), name
            assert loss.low >= min(histogram.low, 0) - 1e-6, name
            assert loss.high <= max(histogram.high, 0) + 1e-6, name
    losses = chosen.losses
    assert losses["mse"].mse <= losses["minmax"].mse * (1 + 1e-9)
    assert losses["mse"].mse_asymmetric <= losses["minmax"].mse_asymmetric * (1 + 1e-9)


@pytest.mark.parametrize("constant", [0.7, -3.25, 1.0, 1e-4])
@pytest.mark.parametrize("method", METHODS)
def test_a_constant_is_represented_almost_exactly(constant, method):
    chosen = choose(histogram_of(np.full(1000, constant)), method)
    assert chosen.losses[method].mse <= (constant / 127) ** 2
    assert chosen.amax == pytest.approx(abs(constant), rel=0.01)


def test_dead_tensors_are_flagged_and_get_the_callers_range():
    histogram = histogram_of(np.zeros(10))
    for method in METHODS:
        chosen = choose(histogram, method)
        assert chosen.dead and chosen.amax == DEAD_AMAX and chosen.high == DEAD_AMAX
    assert choose(histogram, "mse", dead_amax=0.25).amax == 0.25
    faint = choose(histogram_of(np.full(10, 1e-20)), "minmax", min_amax=1e-3)
    assert not faint.dead and faint.amax == 1e-3


def test_with_method_gives_what_choosing_it_would_have():
    histogram = histogram_of(TENSORS["heavy"])
    for method in METHODS:
        assert choose(histogram, "minmax").with_method(method) == choose(histogram, method)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, "magic"),
        ({"method": "percentile", "percentile": 0.9999}, "above 50"),
        ({"method": "mse", "min_amax": 0.0}, "positive"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ReidEdgeError, match=message):
        choose(histogram_of([1.0]), **arguments)


def test_a_tensor_without_values_is_refused():
    with pytest.raises(ReidEdgeError, match="layer/relu"):
        choose(TensorHistogram("layer/relu"), "mse")
