"""TensorHistogram: exact extremes, streaming equals one pass, merging, bad values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.histogram import TensorHistogram
from runtime.errors import ReidEdgeError

BINS = 256
# Values within 2**-20 of one another, so that none is negligible against a bin (see merge).
VALUES = st.floats(-1e6, 1e6, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 40), elements=VALUES)


def filled(*arrays, bins=BINS):
    histogram = TensorHistogram("t", bins)
    for array in arrays:
        histogram.update(array)
    return histogram


@settings(max_examples=200, deadline=None)
@given(st.lists(ARRAYS, min_size=1, max_size=6))
def test_streaming_equals_one_pass_over_all_data(arrays):
    streamed, whole = filled(*arrays), filled(np.concatenate(arrays))
    assert streamed.digest() == whole.digest()


@settings(max_examples=200, deadline=None)
@given(st.lists(ARRAYS, max_size=3), st.lists(ARRAYS, max_size=3))
def test_merge_equals_streaming(left, right):
    merged = filled(*left)
    merged.merge(filled(*right))
    assert merged.digest() == filled(*left, *right).digest()


@settings(max_examples=200, deadline=None)
@given(ARRAYS)
def test_counts_match_numpy_on_the_same_edges(values):
    histogram = filled(values)
    live = values[values != 0]
    assert histogram.zeros == np.count_nonzero(values == 0)
    assert histogram.count == values.size
    assert histogram.low == values.min() and histogram.high == values.max()
    if live.size:
        expected = np.histogram(live.astype(np.float64), bins=histogram.edges)[0]
        np.testing.assert_array_equal(histogram.counts, expected)
        assert histogram.magnitude_counts.sum() == live.size
        assert histogram.limit / 2 <= np.abs(values).max() < histogram.limit
    else:
        assert histogram.dead and not histogram.counts.any()


def test_every_value_is_counted_however_far_the_range_grows():
    parts = [np.full(10, 10.0**k, np.float32) for k in range(-30, 31, 5)]
    histogram = filled(*parts, *[-p for p in parts])
    assert histogram.counts.sum() == histogram.count == 20 * len(parts)
    # The first bin ends at 2**100 / 256 = 5e27: all but the largest magnitude are in it.
    assert histogram.magnitude_counts[0] == 20 * (len(parts) - 1)


def test_counts_above_float32_precision_stay_exact():
    ones = np.ones((1 << 24) + 3, np.float32)
    histogram = filled(ones, ones[:5])
    assert histogram.counts.max() == ones.size + 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_not_finite_name_the_tensor(bad):
    with pytest.raises(ReidEdgeError, match="'t'"):
        filled(np.array([1.0, bad], np.float32))


def test_only_powers_of_two_are_accepted_as_bins():
    with pytest.raises(ReidEdgeError, match="power of two"):
        TensorHistogram("t", 1000)
    with pytest.raises(ReidEdgeError, match="512"):
        filled(np.ones(1)).merge(filled(np.ones(1), bins=512))


def test_dead_and_empty_are_told_apart():
    assert not TensorHistogram("t").dead
    assert filled(np.zeros((2, 3))).dead
    late = filled(np.zeros(4), np.array([2.5]))
    assert not late.dead and late.zeros == 4 and late.counts.sum() == 1
