"""Thresholds for a stated false-accept rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from runtime.open_set import calibrate_threshold


def test_threshold_by_hand():
    impostor = np.arange(10) / 10  # 0.0 .. 0.9
    found = calibrate_threshold(np.array([0.5, 0.75, 0.95]), impostor, 0.2)
    assert found.similarity == pytest.approx(0.7)  # 0.8 and 0.9 are above: 20 %
    assert found.false_accept_rate == pytest.approx(0.2)
    assert found.false_reject_rate == pytest.approx(1 / 3)
    assert (found.impostor_pairs, found.genuine_pairs) == (10, 3)


@given(
    st.lists(st.floats(-1, 1), min_size=20, max_size=200),
    st.lists(st.floats(-1, 1), min_size=1, max_size=50),
    st.floats(0.05, 0.9),
)
def test_rate_is_never_exceeded_and_a_lower_threshold_would(impostor, genuine, rate):
    found = calibrate_threshold(np.array(genuine), np.array(impostor), rate)
    assert found.false_accept_rate <= rate + 1e-12
    lower = [v for v in impostor if v < found.similarity]
    if lower:  # any smaller observed value accepts more than allowed
        assert np.mean(np.array(impostor) > max(lower)) > rate - 1e-12


@pytest.mark.parametrize(
    ("genuine", "impostor", "rate", "said"),
    [
        ([0.9], [0.1] * 99, 0.01, "at least 100 pairs"),
        ([], [0.1] * 100, 0.01, "one of the same"),
        ([0.9], [0.1] * 100, 0.0, "between 0 and 1"),
        ([0.9], [0.1, float("nan")] * 50, 0.1, "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(genuine, impostor, rate, said):
    with pytest.raises(ReidEdgeError, match=said):
        calibrate_threshold(np.array(genuine), np.array(impostor), rate)
