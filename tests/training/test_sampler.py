"""Plans of epochs: coverage, no person twice in a batch, weights, ranks, determinism."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.sampler import PKSampler, UniformSampler, _deal, _shares


def labels(counts, seed=0):
    """Identities 0, 10, 20, ... with the given numbers of images, in mixed order."""
    ids = np.repeat(np.arange(len(counts)) * 10, counts)
    return np.random.default_rng(seed).permutation(ids)


@st.composite
def pk_cases(draw):
    """(image counts, P, K, world size) that a sampler accepts."""
    counts = draw(st.lists(st.integers(1, 30), min_size=2, max_size=40))
    world = draw(st.integers(1, 3))
    assume(len(counts) >= 2 * world)
    persons = draw(st.integers(2, len(counts) // world))
    return counts, persons, draw(st.integers(1, 6)), world


SEEDS = st.integers(0, 2**40)


@settings(max_examples=150, deadline=None)
@given(pk_cases(), SEEDS, st.integers(0, 1000))
def test_batches_hold_p_different_persons_with_k_images_each(case, seed, n):
    counts, persons, images, _ = case
    ids = labels(counts)
    sampler = PKSampler(ids, persons=persons, images=images, seed=seed)
    plan = sampler.epoch(n)
    steps = max(sum(counts) // (persons * images), 1)
    assert plan.shape == (steps, persons * images) == (sampler.steps, sampler.batch)
    assert plan.dtype == np.int64 and plan.flags.c_contiguous
    who = ids[plan].reshape(steps, persons, images)
    assert (who == who[:, :, :1]).all()
    for row in who[:, :, 0]:
        assert len(set(row)) == persons
    images_of = dict(zip(*np.unique(ids, return_counts=True)))
    for group in plan.reshape(-1, images):
        repeats = np.unique(group, return_counts=True)[1]
        available = images_of[ids[group[0]]]
        assert repeats.max() <= math.ceil(images / available)
        assert len(repeats) == min(images, available)


@settings(max_examples=150, deadline=None)
@given(pk_cases(), SEEDS, st.integers(0, 50))
def test_every_person_appears_in_every_epoch_or_round(case, seed, n):
    counts, persons, images, _ = case
    ids = labels(counts)
    sampler = PKSampler(ids, persons=persons, images=images, seed=seed)
    places = sampler.steps * persons
    epochs = max(math.ceil(len(counts) / places), 1)
    rounds = [sampler.epoch(n * epochs + i) for i in range(epochs)]
    assert set(ids[np.concatenate([plan.ravel() for plan in rounds])]) == set(ids)
    if places < len(counts):  # nobody twice in an epoch before everyone was there
        for plan in rounds:
            assert len(set(ids[plan].ravel())) == places


@pytest.mark.parametrize("persons, places", [(20, 20), (21, 20), (50, 20), (81, 40)])
def test_persons_take_turns_if_there_are_more_than_places(persons, places):
    ids = labels([2] * persons)  # K = 4: places for about half of them
    sampler = PKSampler(ids, persons=20, images=4, seed=0)
    assert sampler.steps * 20 == places
    epochs = math.ceil(persons / places)
    orders = []
    for start in range(0, 4 * epochs, epochs):
        who = [set(ids[sampler.epoch(start + i)].ravel()) for i in range(epochs)]
        assert all(len(seen) == places for seen in who)
        assert set().union(*who) == set(ids)
        orders.append(tuple(map(frozenset, who)))
    assert persons == places or len(set(orders)) == 4  # another order in every round


@settings(max_examples=100, deadline=None)
@given(pk_cases(), SEEDS)
def test_a_persons_images_are_drawn_equally_often_in_an_epoch(case, seed):
    counts, persons, images, _ = case
    ids = labels(counts)
    plan = PKSampler(ids, persons=persons, images=images, seed=seed).epoch(0)
    drawn = np.bincount(plan.ravel(), minlength=len(ids))
    for person in set(ids):
        of_person = drawn[ids == person]
        assert np.ptp(of_person) <= 1 and of_person.sum() % images == 0


def test_an_epoch_draws_nearly_every_image_once():
    counts = np.random.default_rng(0).integers(4, 40, 200)
    ids = labels(counts)
    plan = PKSampler(ids, persons=16, images=4, seed=0).epoch(0)
    drawn = np.bincount(plan.ravel(), minlength=len(ids))
    assert np.mean(drawn == 1) > 0.9 and drawn.max() <= 2
    assert plan.size == len(ids) // 64 * 64


@settings(max_examples=60, deadline=None)
@given(pk_cases(), SEEDS, st.integers(0, 100))
def test_ranks_share_out_the_batches_of_one_process(case, seed, n):
    counts, persons, images, world = case
    ids = labels(counts)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(ids))
    alone = PKSampler(ids, persons=persons * world, images=images, seed=seed, weights=weights)
    parts = [
        PKSampler(
            ids,
            persons=persons,
            images=images,
            seed=seed,
            weights=weights,
            rank=rank,
            world_size=world,
        ).epoch(n)
        for rank in range(world)
    ]
    assert all(part.shape == (alone.steps, persons * images) for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), alone.epoch(n))


@settings(max_examples=40, deadline=None)
@given(pk_cases(), SEEDS, st.integers(0, 2**33))
def test_an_epoch_is_a_pure_function(case, seed, n):
    counts, persons, images, _ = case
    ids = labels(counts)
    sampler = PKSampler(ids, persons=persons, images=images, seed=seed)
    first = sampler.epoch(n)
    sampler.epoch(n + 1)
    np.testing.assert_array_equal(sampler.epoch(n), first)
    again = PKSampler(list(map(int, ids)), persons=persons, images=images, seed=seed)
    np.testing.assert_array_equal(again.epoch(n), first)


def test_epochs_and_seeds_differ():
    ids = labels([8] * 30)
    plans = [
        PKSampler(ids, persons=8, images=4, seed=seed).epoch(n).tobytes()
        for seed in range(3)
        for n in range(3)
    ]
    assert len(set(plans)) == 9


def test_a_persons_turns_are_proportional_to_its_images():
    counts = np.array([2, 4, 8, 8, 12, 16, 20, 30] * 4)
    ids = labels(counts)
    sampler = PKSampler(ids, persons=4, images=4, seed=0)
    places = sampler.steps * 4
    turns = np.zeros(len(counts))
    epochs = 300
    for n in range(epochs):
        turns += np.bincount(ids[sampler.epoch(n)].ravel() // 10, minlength=len(counts)) / 4
    turns /= epochs
    # At least 1, else in proportion: the proportion that fills all places.
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        want = np.maximum(counts * share, 1)
        low, high = (share, high) if want.sum() < places else (low, share)
    assert turns == pytest.approx(want, abs=0.15)


def test_a_person_with_most_images_is_still_once_per_batch():
    ids = labels([500, 4, 4, 4])
    plan = PKSampler(ids, persons=3, images=4, seed=0).epoch(0)
    who = ids[plan].reshape(len(plan), 3, 4)[:, :, 0]
    assert len(plan) == 512 // 12
    assert (np.sort(who, axis=1)[:, 0] == 0).all()  # in each batch, once
    assert np.bincount(who.ravel() // 10)[1:].min() > 15  # the others take equal turns


def test_batches_mix_persons():
    """Any two persons meet about as often as chance has it."""
    persons, epochs = 40, 150
    ids = labels([16] * persons)
    sampler = PKSampler(ids, persons=8, images=4, seed=0)
    together = np.zeros((persons, persons))
    for n in range(epochs):
        for row in ids[sampler.epoch(n)].reshape(-1, 8, 4)[:, :, 0] // 10:
            together[np.ix_(row, row)] += 1
    pairs = together[np.triu_indices(persons, 1)]
    expected = epochs * sampler.steps * (8 * 7) / (persons * (persons - 1))
    assert pairs.mean() == pytest.approx(expected)
    assert np.abs(pairs - expected).max() < 5.5 * np.sqrt(expected)


def test_weights_set_how_often_an_image_is_drawn():
    rng = np.random.default_rng(2)
    ids = labels([6, 10, 14, 20, 9, 7, 12, 10])
    weights = rng.choice([1.0, 1.5, 3.0], len(ids))
    sampler = PKSampler(ids, persons=4, images=4, seed=0, weights=weights)
    drawn = sum(np.bincount(sampler.epoch(n).ravel(), minlength=len(ids)) for n in range(500))
    statistic, freedom = 0.0, 0
    for person in set(ids):
        mine = ids == person
        expected = drawn[mine].sum() * weights[mine] / weights[mine].sum()
        statistic += ((drawn[mine] - expected) ** 2 / expected).sum()
        freedom += mine.sum() - 1
        assert drawn[mine] == pytest.approx(expected, rel=0.15)
    # Spread evenly, so closer to the expectation than independent draws would be.
    assert statistic < freedom
    # Without weights all are drawn equally often.
    plain = PKSampler(ids, persons=4, images=4, seed=0)
    drawn = sum(np.bincount(plain.epoch(n).ravel(), minlength=len(ids)) for n in range(200))
    for person in set(ids):
        assert drawn[ids == person] == pytest.approx(drawn[ids == person].mean(), rel=0.1)


def test_a_heavy_image_is_repeated_within_a_batch():
    ids = np.array([0] * 5 + [1] * 5)
    weights = [16, 1, 1, 1, 1] + [1] * 5
    sampler = PKSampler(ids, persons=2, images=4, seed=0, weights=weights)
    groups = np.concatenate([sampler.epoch(n).reshape(-1, 4) for n in range(200)])
    heavy = np.sum(groups[groups[:, 0] < 5] == 0, axis=1)
    assert set(heavy) == {3, 4}  # 16 / 20 of 4 is 3.2
    assert heavy.mean() == pytest.approx(3.2, abs=0.08)


def test_equal_weights_are_no_weights():
    ids = labels([5, 6, 7, 8])
    plain = PKSampler(ids, persons=2, images=4, seed=3)
    same = PKSampler(ids, persons=2, images=4, seed=3, weights=[2.5] * len(ids))
    np.testing.assert_array_equal(plain.epoch(1), same.epoch(1))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any),
    st.integers(0, 200),
    st.integers(0, 2**32),
)
def test_shares_are_exact_up_to_rounding(weights, total, seed):
    weights = np.array(weights)
    got = _shares(weights, total, np.random.default_rng(seed))
    exact = weights * total / weights.sum()
    assert got.sum() == total
    assert (got >= np.floor(exact - 1e-9)).all() and (got <= np.ceil(exact + 1e-9)).all()


def test_shares_are_unbiased():
    weights = np.array([5, 3, 1, 1, 7])
    rng = np.random.default_rng(0)
    mean = np.mean([_shares(weights, 6, rng) for _ in range(4000)], axis=0)
    assert mean == pytest.approx(weights * 6 / 17, abs=0.03)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=20),
    st.integers(1, 9),
    st.integers(0, 2**32),
)
def test_dealing_spreads_every_item_over_the_rows(turns, rows, seed):
    turns = np.array(turns)
    turns[0] += -turns.sum() % rows
    assume(turns.sum() > 0)
    before = turns.copy()
    dealt = _deal(turns, rows, np.random.default_rng(seed))
    assert dealt.shape == (rows, turns.sum() // rows)
    np.testing.assert_array_equal(turns, before)
    per_row = np.array([np.bincount(row, minlength=len(turns)) for row in dealt])
    np.testing.assert_array_equal(per_row.sum(axis=0), turns)
    assert (per_row >= turns // rows).all() and (per_row <= -(-turns // rows)).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 4), SEEDS, st.integers(0, 1000))
def test_uniform_epochs_draw_each_image_at_most_once(count, batch, world, seed, n):
    assume(count >= batch * world)
    parts = [UniformSampler(count, batch, seed, rank, world) for rank in range(world)]
    plans = [part.epoch(n) for part in parts]
    steps = count // (batch * world)
    for part, plan in zip(parts, plans):
        assert plan.shape == (steps, batch) == (part.steps, part.batch)
        assert plan.dtype == np.int64 and plan.flags.c_contiguous
        np.testing.assert_array_equal(part.epoch(n), plan)
    drawn = np.concatenate([plan.ravel() for plan in plans])
    assert len(set(drawn)) == len(drawn) == steps * batch * world
    assert drawn.min() >= 0 and drawn.max() < count
    alone = UniformSampler(count, batch * world, seed).epoch(n)
    np.testing.assert_array_equal(np.concatenate(plans, axis=1), alone)


def test_uniform_epochs_leave_out_other_images_each_time():
    sampler = UniformSampler(13, 5, seed=0)
    left_out = [frozenset(range(13)) - set(sampler.epoch(n).ravel()) for n in range(100)]
    assert all(len(rest) == 3 for rest in left_out)
    assert set().union(*left_out) == set(range(13)) and len(set(left_out)) > 50
    assert (sampler.epoch(0) != UniformSampler(13, 5, seed=1).epoch(0)).any()


GOOD = {"person_ids": [0, 0, 1, 1, 2, 2], "persons": 2, "images": 2, "seed": 0}


@pytest.mark.parametrize(
    "bad, words",
    [
        ({"person_ids": []}, "no images"),
        ({"person_ids": [7] * 5}, "All 5 training images show one person"),
        ({"persons": 4}, "4 persons .* needs 4 identities, .* has 3; use at most 3 persons"),
        ({"world_size": 2}, "2 persons on 2 process.* needs 4 identities, .* has 3; use at most 1"),
        ({"person_ids": [0, -1, 1]}, "smallest -1"),
        ({"person_ids": [0.0, 1.0]}, "float64"),
        ({"person_ids": [[0, 1], [2, 3]]}, r"\(2, 2\)"),
        ({"persons": 1}, "at least 2 persons"),
        ({"images": 0}, "at least 2 persons and 1 image"),
        ({"seed": -1}, "seed"),
        ({"rank": 1}, "rank 1 of 1"),
        ({"rank": -1}, "rank -1 of 1"),
        ({"world_size": 0}, "of 0"),
        ({"weights": [1.0]}, r"6, got shape \(1,\)"),
        ({"weights": [1, 1, 1, 1, 1, 0]}, "positive and finite.* got 0 to 1"),
        ({"weights": [1, 1, 1, 1, 1, -1]}, "positive and finite"),
        ({"weights": [1, 1, 1, 1, 1, float("nan")]}, "positive and finite"),
        ({"weights": [1, 1, 1, 1, 1, float("inf")]}, "positive and finite"),
        ({"weights": [1, 1, 1, 1, 1, 1e6]}, "1/10000"),
    ],
)
def test_pk_mistakes_are_named(bad, words):
    PKSampler(**GOOD)
    with pytest.raises(ReidEdgeError, match=words):
        PKSampler(**{**GOOD, **bad})


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((0, 1, 0), "needs at least 1 training images, got 0"),
        ((7, 4, 0, 0, 2), "4 images on 2 process.* at least 8 .* got 7"),
        ((7, 0, 0), "at least 1 image"),
        ((7, 4, -1), "seed"),
        ((7, 2, 0, 2, 2), "rank 2 of 2"),
    ],
)
def test_uniform_mistakes_are_named(arguments, words):
    with pytest.raises(ReidEdgeError, match=words):
        UniformSampler(*arguments)
