"""Paired bootstrap: known differences, seeds, coverage, and refusal of unpaired results."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.bootstrap import paired_drop
from benchmarks.metrics import RetrievalResult, evaluate_retrieval
from runtime.errors import ReidEdgeError


def result_of(ap, first_hit=None):
    """A result whose queries have one match each; NaN marks a skipped query."""
    ap = np.asarray(ap, float)
    valid = ~np.isnan(ap)
    first = np.where(valid, 1 if first_hit is None else first_hit, 0)
    return RetrievalResult(ap, first, first, valid.astype(np.int64))


def test_a_result_does_not_differ_from_itself():
    result = result_of(np.random.default_rng(0).random(50))
    drop = paired_drop(result, result)
    for part in (drop.mAP, drop.rank1):
        assert (part.points, part.low, part.high) == (0.0, 0.0, 0.0)


def test_a_constant_loss_is_certain():
    ap = np.random.default_rng(0).uniform(0.2, 1.0, 80)
    drop = paired_drop(result_of(ap), result_of(ap - 0.01))
    assert [drop.mAP.points, drop.mAP.low, drop.mAP.high] == pytest.approx([1.0, 1.0, 1.0])


def test_rank1_drop_counts_queries_whose_nearest_became_wrong_and_ignores_skipped_ones():
    reference = result_of([1.0, 1.0, 1.0, 0.5, np.nan], [1, 1, 1, 2, 0])
    candidate = result_of([1.0, 0.5, 0.5, 1.0, np.nan], [1, 2, 2, 1, 0])
    drop = paired_drop(reference, candidate)
    assert drop.n_queries == 4
    assert drop.rank1.points == pytest.approx(100 * (2 - 1) / 4)
    assert drop.rank1.low < drop.rank1.points < drop.rank1.high
    assert drop.mAP.points == pytest.approx(reference.mAP - candidate.mAP)


def test_the_drop_of_minp_is_that_of_the_last_hits():
    matches = np.array([2, 2, 1, 0])
    reference = RetrievalResult(
        np.array([1.0, 1, 1, np.nan]), matches, np.array([2, 4, 1, 0]), matches
    )
    candidate = replace(reference, last_hit=np.array([4, 4, 2, 0]))
    drop = paired_drop(reference, candidate)
    # 2/2, 2/4 and 1/1 against 2/4, 2/4 and 1/2; the fourth query counts in none.
    assert drop.mINP.points == pytest.approx(100 * (2.5 - 1.5) / 3)
    assert drop.mINP.points == pytest.approx(reference.mINP - candidate.mINP)
    assert 0 <= drop.mINP.low < drop.mINP.high


def test_rank1_may_be_a_share_of_draws():
    result = result_of([1.0, 0.5, np.nan], [1, 2, 0])
    shares = np.array([1.0, 0.25, np.nan]), np.array([0.5, 0.25, np.nan])
    drop = paired_drop(result, result, rank1=shares)
    assert drop.rank1.points == pytest.approx(25.0) and drop.mAP.points == 0.0


def test_the_interval_follows_the_seed_and_nothing_else():
    rng = np.random.default_rng(0)
    pair = result_of(rng.random(60)), result_of(rng.random(60))
    assert paired_drop(*pair, seed=3) == paired_drop(*pair, seed=3)
    assert paired_drop(*pair, seed=3).mAP.low != paired_drop(*pair, seed=4).mAP.low
    narrow, wide = paired_drop(*pair, level=0.5).mAP, paired_drop(*pair, level=0.99).mAP
    assert wide.low < narrow.low < narrow.points < narrow.high < wide.high


def test_the_interval_has_the_width_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    ap, change = rng.random(400), rng.normal(0.0, 0.05, 400)
    drop = paired_drop(result_of(ap), result_of(ap - change)).mAP
    half = 1.96 * 100 * change.std() / np.sqrt(400)
    assert drop.low == pytest.approx(drop.points - half, abs=0.1 * half)
    assert drop.high == pytest.approx(drop.points + half, abs=0.1 * half)


def test_95_percent_intervals_cover_the_true_drop_about_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        ap = rng.random(150)
        change = rng.normal(0.02, 0.1, 150)  # true drop: 2 points
        part = paired_drop(result_of(ap), result_of(ap - change), resamples=400, seed=seed).mAP
        covered += part.low <= 2.0 <= part.high
    assert 0.90 <= covered / 200 <= 0.985


def test_pairing_is_narrower_than_the_spread_between_queries():
    rng = np.random.default_rng(2)
    ids, cams = rng.integers(0, 15, 200), rng.integers(0, 3, 200)
    features = rng.standard_normal((15, 24))[ids] + 0.9 * rng.standard_normal((200, 24))
    noisy = features + 0.02 * rng.standard_normal((200, 24))
    a, b = (
        evaluate_retrieval(f[:50], ids[:50], cams[:50], f[50:], ids[50:], cams[50:])
        for f in (features, noisy)
    )
    drop = paired_drop(a, b).mAP
    unpaired_half_width = 1.96 * 100 * np.nanstd(a.ap) * np.sqrt(2 / 50)
    assert drop.high - drop.low < unpaired_half_width / 3


def test_results_of_different_queries_are_refused():
    with pytest.raises(ReidEdgeError, match="same queries"):
        paired_drop(result_of([0.5, 0.5]), result_of([0.5, 0.5, 0.5]))
    with pytest.raises(ReidEdgeError, match="same queries"):
        paired_drop(result_of([0.5, 0.5]), result_of([0.5, np.nan]))
    other = replace(result_of([0.5, 0.5]), n_matches=np.array([1, 2]))
    with pytest.raises(ReidEdgeError, match="same queries"):
        paired_drop(result_of([0.5, 0.5]), other)


@pytest.mark.parametrize("arguments", [{"resamples": 10}, {"level": 0.0}, {"level": 1.0}])
def test_arguments_out_of_range_are_refused(arguments):
    result = result_of([0.5, 0.6])
    with pytest.raises(ReidEdgeError, match="at least 100 resamples"):
        paired_drop(result, result, **arguments)
