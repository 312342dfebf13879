"""What the people of a scene have in common, and similarities without it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.crop_quality import assess, cut
from runtime.memory import BystanderBank, RecentLooks, SceneMean, TargetMemory
from runtime.preprocess import read_image
from tests.runtime.real_osnet import real_osnet


def unit(seed, dim=16):
    v = np.random.default_rng(seed).standard_normal(dim)
    return (v / np.linalg.norm(v)).astype(np.float32)


def normal(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_mean_of_a_scene_by_hand():
    a, b, c = np.eye(3)
    scene = SceneMean(prior_weight=2)
    assert scene.without(np.stack([a, b])).tolist() == [[1, 0, 0], [0, 1, 0]]  # nothing known
    scene.add(1, a)
    scene.add(2, b)
    # The mean of two people and two zeros is (1/4, 1/4, 0).
    np.testing.assert_allclose(scene.without(a[None])[0], normal(np.array([3, -1, 0])))
    prior = SceneMean(prior=np.stack([a, c]), prior_weight=2)
    np.testing.assert_allclose(prior.without(b[None])[0], normal(np.array([-0.5, 1, -0.5])))
    prior.add(1, b)  # (0.5, 0, 0.5) counts for two people
    np.testing.assert_allclose(prior.without(b[None])[0], normal(np.array([-1, 2, -1])))


def test_each_person_counts_once_with_its_moving_average():
    a, b, c = np.eye(3)
    scene = SceneMean(prior_weight=0)
    for _ in range(9):
        scene.add(1, a)
    scene.add(2, b)
    np.testing.assert_allclose(scene.without(c[None])[0], normal(np.array([-0.5, -0.5, 1])))
    scene.add(2, c)  # 0.8 b + 0.2 c
    np.testing.assert_allclose(scene.without(c[None])[0], normal(np.array([-0.5, -0.4, 0.9])))
    assert len(scene) == 2


def test_the_person_not_seen_for_longest_is_forgotten():
    scene, other = SceneMean(people=2), SceneMean()
    for person in (1, 2, 1, 3):
        scene.add(person, unit(person))
    for person in (1, 3):
        other.add(person, unit(person))
    probe = unit(9)[None]
    assert len(scene) == 2
    np.testing.assert_allclose(scene.without(probe), other.without(probe), atol=1e-6)


def test_the_mean_of_one_look_leaves_nothing_of_it_but_no_nan():
    scene = SceneMean(prior_weight=0)
    scene.add(1, unit(1))
    assert scene.without(unit(1)[None]).tolist() == [[0.0] * 16]


def test_a_small_move_of_the_mean_changes_nothing():
    scene = SceneMean()
    for person in range(30):
        scene.add(person, unit(person))
    version, before = scene.version, scene.without(unit(99)[None])
    scene.add(3, unit(3) + 0.05 * unit(4))  # a fifth of 0.05, of one person in 32
    assert scene.version == version
    np.testing.assert_array_equal(scene.without(unit(99)[None]), before)
    scene.add(31, unit(31))
    assert scene.version == version + 1


def test_embeddings_are_copied():
    batch = np.stack([unit(0), unit(1)])
    scene, recent = SceneMean(prior_weight=0), RecentLooks()
    memory, bank = TargetMemory(), BystanderBank()
    scene.add(1, batch[0])
    recent.add(batch[0], 0.0)
    memory.enrol(batch[0])
    bank.add(1, batch[0])
    batch[:] = 0
    scene.add(2, unit(2))
    other = SceneMean(prior_weight=0)
    other.add(1, unit(0))
    other.add(2, unit(2))
    np.testing.assert_array_equal(scene.without(unit(5)[None]), other.without(unit(5)[None]))
    for known in (memory, bank):
        assert known.similarity(unit(0))[0] == pytest.approx(1, abs=1e-6)
    assert recent.similarity(unit(0), SceneMean(), 0.0)[0] == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 8))
def test_similarity_in_a_scene_is_that_of_what_is_left(seed, prototypes, strangers):
    memory, bank, recent = TargetMemory(per_bucket=99), BystanderBank(), RecentLooks(99)
    rows = [unit(seed + i) for i in range(prototypes)]
    for i, row in enumerate(rows):
        memory.learn(row, i % 2)
        bank.add(i, row)
        recent.add(row, float(i))
    first, second = SceneMean(), SceneMean(prior=unit(seed + 900))
    probes = np.stack([unit(seed + 500 + i) for i in range(3)])
    for i in range(strangers):
        first.add(i, unit(seed + 100 + i))
        second.add(i, unit(seed + 200 + i))
        # In turns, because what is left of the prototypes is kept for the scene of the last call.
        for scene in (first, second):
            left = scene.without(probes) @ scene.without(np.stack(rows)).T
            for known in (memory, bank):
                likeness = known.similarity(probes, scene)
                np.testing.assert_allclose(likeness, left.max(axis=1), atol=1e-5)
            likeness = recent.similarity(probes, scene, 0.0)
            np.testing.assert_allclose(likeness, left.max(axis=1), atol=1e-5)


def test_similarity_follows_the_mean_of_its_scene():
    memory, bank, scene = TargetMemory(), BystanderBank(), SceneMean()
    memory.enrol(unit(0))
    bank.add(1, unit(0))
    for seed in range(10, 15):
        scene.add(seed, unit(seed))
        left = scene.without(unit(1)[None]) @ scene.without(unit(0)[None]).T
        for known in (memory, bank):
            assert known.similarity(unit(1), scene)[0] == pytest.approx(left[0, 0], abs=1e-5)


# -- what SceneMean says of real streets ---------------------------------------------------------


def of_strangers(looks, scene=None):
    """Cosines of all pairs of looks of two people; ``looks`` has (N, D) per person."""
    rows = np.concatenate(list(looks.values()))
    rows = rows if scene is None else scene.without(rows)
    who = np.repeat(np.arange(len(looks)), [len(each) for each in looks.values()])
    return (rows @ rows.T)[np.triu(who[:, None] != who[None], 1)]


def mean_of(looks):
    scene = SceneMean(people=len(looks))
    for person, rows in looks.items():
        for row in rows:
            scene.add(person, row)
    return scene


@pytest.mark.slow
def test_the_mean_makes_streets_alike(shared):
    embed = real_osnet(shared)
    from benchmarks.datasets import open_retrieval_set
    from benchmarks.footage import read_footage
    from benchmarks.open_set import embed_all, tracklets

    market = open_retrieval_set(shared / "data" / "market1501")
    kept = tracklets(market, {crop.person_id for crop in market.query})
    first = {}
    for (person, _), paths in kept.items():  # up to four crops of each person's first camera
        first.setdefault(person, paths[:4])
    home = embed_all(first, embed)
    raw, left = of_strangers(home), of_strangers(home, mean_of(home))
    limits = [np.quantile(likeness, 0.999) for likeness in (raw, left)]
    assert raw.mean() == pytest.approx(0.37, abs=0.01)
    for name, mean, accepted in (
        ("ETH-Sunnyday", 0.55, (74, 12)),
        ("TUD-Stadtmitte", 0.62, (228, 11)),
    ):
        footage, crops = read_footage(shared / "video" / name), {}
        for row in range(0, len(footage), 5):
            people = sorted(footage.visible[row])
            frame = read_image(footage.frames[row])
            boxes = np.array([footage.truth[row][person] for person in people]).reshape(-1, 4)
            quality = assess(frame, boxes).quality
            for person, crop, good in zip(people, cut(frame, boxes), quality >= 0.4):
                if good:
                    crops.setdefault(person, []).append(crop)
        street = {person: embed(seen) for person, seen in crops.items()}
        cosines = of_strangers(street), of_strangers(street, mean_of(street))
        assert cosines[0].mean() == pytest.approx(mean, abs=0.02)
        rates = [1000 * (c > limit).mean() for c, limit in zip(cosines, limits)]
        assert rates[0] == pytest.approx(accepted[0], rel=0.2)
        assert rates[1] == pytest.approx(accepted[1], abs=4)
