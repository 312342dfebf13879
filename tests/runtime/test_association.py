"""Assignment of detections to tracks."""

import builtins
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.association import appearance_distance, assign, largest_with_others
from runtime.errors import ReidEdgeError
from runtime.tracker import Tracker


def brute_force(cost, allowed):
    """Most allowed pairs, then lowest cost."""
    rows, columns = cost.shape
    best = (0, 0.0)
    wide = max(rows, columns)
    for order in itertools.permutations(range(wide), rows):
        pairs = [(r, c) for r, c in enumerate(order) if c < columns and allowed[r, c]]
        best = max(best, (len(pairs), -sum(cost[p] for p in pairs)))
    return best


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_equals_brute_force(rows, columns, seed):
    generator = np.random.default_rng(seed)
    cost = generator.random((rows, columns))
    allowed = generator.random((rows, columns)) < 0.6
    r, c = assign(cost, allowed)
    assert len(set(r)) == len(r) and len(set(c)) == len(c) and allowed[r, c].all()
    count, negative = brute_force(cost, allowed)
    assert len(r) == count
    assert cost[r, c].sum() == pytest.approx(-negative)


def test_nothing_to_assign():
    for shape in ((0, 3), (3, 0), (2, 2)):
        rows, columns = assign(np.zeros(shape), np.zeros(shape, bool))
        assert len(rows) == len(columns) == 0


def test_without_scipy(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ReidEdgeError, match="scipy"):
        assign(np.zeros((1, 1)), np.ones((1, 1), bool))
    with pytest.raises(ReidEdgeError, match="python3-scipy"):
        Tracker()  # not at the first frame with people


def test_appearance_distance():
    a = np.array([[1, 0], [np.nan, np.nan]], np.float32)
    b = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    np.testing.assert_allclose(appearance_distance(a, b)[0], [0, 1, 2])
    assert np.isnan(appearance_distance(a, b)[1]).all()
    assert appearance_distance(None, b) is None and appearance_distance(a, None) is None


def test_largest_overlap_with_others():
    overlap = np.array([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]])
    np.testing.assert_allclose(largest_with_others(overlap, np.array([0, 2])), [0.2, 0.5, 0.2])
    np.testing.assert_allclose(largest_with_others(overlap, np.array([], int)), 0)
