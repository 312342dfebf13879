"""CUHK03's classic Rank-k: hand-made cases, and a slow loop that draws as the paper says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.single_shot import single_shot_hits
from runtime.errors import ReidEdgeError


def angles(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def hits(query, gallery, **options):
    """query and gallery: lists of (angle, person, camera)."""
    sides = []
    for part in (query, gallery):
        degrees, ids, cams = zip(*part)
        sides += [angles(*degrees), np.array(ids), np.array(cams)]
    return single_shot_hits(*sides, **options)


def test_each_person_is_drawn_once():
    # Person 1 has a near and a far image, person 2 lies between them: half of the draws are right.
    gallery = [(1, 1, 2), (60, 1, 2), (30, 2, 2)]
    found = hits([(0, 1, 1)], gallery, ranks=(1, 2), draws=2000)
    assert found[0, 0] == pytest.approx(0.5, abs=0.04)
    assert found[0, 1] == 1.0


def test_many_images_of_one_stranger_count_once():
    gallery = [(90, 1, 2), *[(5 + i, 2, 2) for i in range(8)]]
    assert hits([(0, 1, 1)], gallery, ranks=(1, 2), draws=5).tolist() == [[0.0, 1.0]]


def test_the_own_camera_and_junk_are_left_out():
    gallery = [(0, 1, 1), (0, -1, 2), (20, 1, 2), (40, 2, 2)]
    assert hits([(0, 1, 1)], gallery, ranks=(1,), draws=50).tolist() == [[1.0]]
    only_own_camera = hits([(0, 1, 1), (40, 2, 1)], [(0, 1, 1), (40, 2, 2)], ranks=(1,), draws=3)
    assert np.isnan(only_own_camera[0, 0]) and only_own_camera[1, 0] == 1.0


def test_ties_count_against_the_query():
    assert hits([(0, 1, 1)], [(10, 1, 2), (10, 2, 2)], ranks=(1, 2), draws=9).tolist() == [[0, 1]]


def test_a_seed_gives_the_same_draws():
    rng = np.random.RandomState(0)
    side = rng.standard_normal((12, 4)), np.repeat(np.arange(4), 3), np.tile([1, 2, 2], 4)
    first, again, other = (single_shot_hits(*side, *side, draws=20, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_against_a_slow_loop(seed):
    """The mean over all galleries that can be drawn, person by person."""
    rng = np.random.RandomState(seed)
    query, gallery = rng.standard_normal((3, 4)), rng.standard_normal((7, 4))
    query_ids, gallery_ids = np.array([1, 2, 3]), np.array([1, 1, 2, 2, 3, 3, 3])
    query_cams, gallery_cams = np.ones(3, int), np.full(7, 2)
    got = single_shot_hits(
        query, query_ids, query_cams, gallery, gallery_ids, gallery_cams, ranks=(1, 2), draws=4000
    )
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    similarity = unit(query) @ unit(gallery).T
    for q in range(3):
        ranks = []
        for one in (0, 1):
            for two in (2, 3):
                for three in (4, 5, 6):
                    drawn = [one, two, three]
                    ranks.append(1 + sum(similarity[q, d] > similarity[q, drawn[q]] for d in drawn))
        for column, k in enumerate((1, 2)):
            assert got[q, column] == pytest.approx(np.mean(np.array(ranks) <= k), abs=0.05)


def test_nothing_to_draw_from():
    with pytest.raises(ReidEdgeError, match="need queries, a gallery and at least 1 draw"):
        hits([(0, 1, 1)], [(0, -1, 2)])
    with pytest.raises(ReidEdgeError, match="1 draw, got 1, 1 and 0"):
        hits([(0, 1, 1)], [(0, 1, 2)], draws=0)
