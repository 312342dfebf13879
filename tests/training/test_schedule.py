"""The learning rate over a run."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import LearningRate


def test_warmup_is_linear_from_its_factor_to_the_peak():
    rate = LearningRate("cosine", 100, warmup_epochs=10, warmup_factor=0.01)
    assert [rate.at(e) for e in (0, 5, 10)] == pytest.approx([0.01, 0.505, 1.0])


def test_cosine_is_half_way_in_the_middle_and_ends_on_the_floor():
    rate = LearningRate("cosine", 110, warmup_epochs=10, floor=0.1)
    assert rate.at(60) == pytest.approx(0.55)
    assert rate.at(35) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate.at(110) == pytest.approx(0.1)


def test_steps_multiply_at_their_milestones():
    rate = LearningRate("step", 120, warmup_epochs=10, milestones=(40, 70), gamma=0.1)
    assert [rate.at(e) for e in (39.9, 40, 69.9, 70)] == pytest.approx([1, 0.1, 0.1, 0.01])


@given(
    st.sampled_from(["cosine", "step"]),
    st.floats(1, 500),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_share_stays_between_zero_and_one_and_falls_behind_the_warmup(kind, epochs, part, a, b):
    rate = LearningRate(
        kind, epochs, warmup_epochs=part * epochs, milestones=(epochs * 0.5, epochs * 0.8)
    )
    early, late = sorted((a * epochs, b * epochs))
    assert 0 <= rate.at(early) <= 1
    if early >= part * epochs:
        assert rate.at(late) <= rate.at(early) + 1e-12
