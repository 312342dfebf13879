"""Greedy k-center: quality, shares, determinism."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.coverage import k_center
from runtime.errors import ReidEdgeError


def unit(rng, shape):
    points = rng.normal(size=shape)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def choose(points, count, persons=None, cameras=None, seed=0):
    unknown = np.full(len(points), -1)
    persons = unknown if persons is None else persons
    cameras = unknown if cameras is None else cameras
    return k_center(points, count, persons, cameras, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 6), st.integers(1, 4), st.integers(0))
def test_choices_are_distinct_and_as_many_as_possible(points, count, persons, cameras, seed):
    rng = np.random.default_rng(seed)
    chosen = choose(
        unit(rng, (points, 5)),
        count,
        rng.integers(-1, persons, points),
        rng.integers(-1, cameras, points),
        seed,
    )
    assert len(set(chosen)) == len(chosen) == min(points, count)
    assert set(chosen) <= set(range(points))


def test_every_choice_is_the_farthest_point_left():
    points = unit(np.random.default_rng(0), (200, 8))
    chosen = choose(points, 20)
    for position in range(1, 20):
        nearest = (points @ points[chosen[:position]].T).max(axis=1)
        assert nearest[chosen[position]] == pytest.approx(nearest.min(), abs=1e-5)


def test_clusters_are_each_visited_before_any_twice():
    rng = np.random.default_rng(1)
    centres = np.eye(10)
    points = np.repeat(centres, [1000, 500] + [5] * 8, axis=0) + rng.normal(size=(1540, 10)) * 0.02
    chosen = choose(points * rng.uniform(0.1, 10, (1540, 1)), 10)  # length must not matter
    assert {int(np.argmax(points[i])) for i in chosen} == set(range(10))


def test_shares_of_cameras_and_identities_hold():
    rng = np.random.default_rng(2)
    points = unit(rng, (600, 16))
    cameras, persons = np.arange(600) % 4, np.arange(600) % 50
    points[cameras == 0] *= -1
    points[cameras == 0, 0] += 3 * rng.normal(size=150)  # the camera k-center alone would prefer
    chosen = choose(points, 100, persons, cameras)
    assert np.bincount(cameras[chosen]).max() <= 32  # 100 / 4 and a quarter more
    assert np.bincount(persons[chosen]).max() <= 2


def test_shares_grow_when_a_group_is_too_small():
    points = unit(np.random.default_rng(3), (50, 4))
    cameras = np.array([0] * 48 + [1] * 2)
    chosen = choose(points, 40, cameras=cameras)
    assert len(set(chosen)) == 40


def test_the_seed_decides_the_choice():
    points = unit(np.random.default_rng(4), (300, 8))
    np.testing.assert_array_equal(choose(points, 30, seed=5), choose(points, 30, seed=5))
    assert list(choose(points, 30, seed=5)) != list(choose(points, 30, seed=6))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [(np.ones((3, 4)), "one embedding per crop"), (np.full((5, 4), np.nan), "NaN")],
)
def test_bad_embeddings_are_refused(embeddings, message):
    labels = np.zeros(5, int)
    with pytest.raises(ReidEdgeError, match=message):
        k_center(embeddings, 2, labels, labels, np.random.default_rng(0))
