"""Prototypes of the target and of bystanders."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.memory import (
    SAME_VIEW,
    BystanderBank,
    RecentLooks,
    SceneMean,
    TargetMemory,
    add_prototype,
)


def unit(seed, dim=16):
    v = np.random.default_rng(seed).standard_normal(dim)
    return (v / np.linalg.norm(v)).astype(np.float32)


def test_similarity_is_to_the_nearest_prototype_of_any_bucket():
    memory = TargetMemory()
    memory.enrol(unit(0), "rear")
    memory.learn(unit(1), "front")
    probes = np.stack([unit(1), unit(2)])
    expected = [1.0, max(unit(2) @ unit(0), unit(2) @ unit(1))]
    np.testing.assert_allclose(memory.similarity(probes), expected, atol=1e-6)
    assert memory.buckets == ["rear", "front"] and len(memory) == 2


def test_empty_memory_and_bank_resemble_nobody():
    assert TargetMemory().similarity(unit(0)).tolist() == [-1.0]
    assert BystanderBank().similarity(np.stack([unit(0), unit(1)])).tolist() == [-1.0, -1.0]


def test_learning_never_pushes_out_what_was_enrolled_nor_another_bucket():
    memory = TargetMemory(per_bucket=3)
    memory.enrol(unit(0), "rear")
    memory.learn(unit(1), "side")
    for seed in range(100, 160):
        memory.learn(unit(seed), "rear")
    assert len(memory) == 1 + 1 + 3
    np.testing.assert_allclose(memory.similarity(np.stack([unit(0), unit(1)])), 1.0, atol=1e-6)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30))
def test_a_list_of_prototypes_stays_within_its_limit_and_of_unit_length(seed, limit, count):
    prototypes = []
    for i in range(count):
        add_prototype(prototypes, unit(seed + i), limit)
    assert len(prototypes) == min(limit, count)
    np.testing.assert_allclose(np.linalg.norm(np.stack(prototypes), axis=1), 1.0, atol=1e-5)


def test_a_known_view_is_averaged_and_the_two_most_alike_are_merged():
    a, b = unit(0), unit(1)
    near = a + 0.1 * b
    near /= np.linalg.norm(near)
    assert a @ near > SAME_VIEW
    prototypes = [a.copy()]
    add_prototype(prototypes, near, 4)
    assert len(prototypes) == 1 and a @ prototypes[0] > a @ near
    alike = unit(2) + 0.5 * unit(3)
    alike /= np.linalg.norm(alike)
    full = [unit(2), unit(4)]
    add_prototype(full, alike, 2)
    assert len(full) == 2
    np.testing.assert_allclose(full[1], unit(4), atol=1e-6)  # the odd one survived


def test_bank_forgets_who_was_not_seen_for_longest():
    bank = BystanderBank(people=2)
    for person in (1, 2):
        bank.add(person, unit(person))
    bank.add(1, unit(11))
    bank.add(3, unit(3))
    assert 1 in bank and 3 in bank and 2 not in bank and len(bank) == 2
    assert bank.similarity(unit(1))[0] > 0.999
    bank.forget(1)
    assert bank.similarity(unit(1))[0] < 0.999
    bank.forget(1)  # forgetting twice is harmless


def one_hot(place, dim=64):
    return np.eye(dim, dtype=np.float32)[place]


def test_a_new_owner_of_looks_has_them_beside_its_own():
    bank = BystanderBank(per_person=3)
    for place in (0, 1):
        bank.add(7, one_hot(place))
    for place in (2, 3):
        bank.add(8, one_hot(place))
    bank.rename(7, 9)
    assert 9 in bank and 7 not in bank and len(bank) == 2
    np.testing.assert_allclose(bank.similarity(np.stack([one_hot(0), one_hot(1)])), 1)
    bank.forget(8)
    assert bank.similarity(one_hot(2))[0] == 0
    bank.add(8, one_hot(4))
    bank.rename(9, 8)  # 8 is known already
    assert 8 in bank and 9 not in bank and len(bank) == 1
    np.testing.assert_allclose(bank.similarity(np.stack([one_hot(0), one_hot(1), one_hot(4)])), 1)
    bank.rename(8, 8)
    bank.rename(5, 8)  # nobody
    assert 8 in bank and 5 not in bank and len(bank) == 1
    bank.add(6, one_hot(5))
    bank.add(6, one_hot(6))
    bank.rename(6, 8)  # five looks become three
    likeness = bank.similarity(np.stack([one_hot(i) for i in (0, 1, 4, 5, 6)]))
    assert len(bank._bank[8]) == 3 and (likeness > 0.49).all()


def test_detached_looks_are_nobodys():
    bank = BystanderBank(people=3)
    bank.add(1, one_hot(1))
    bank.detach()
    # Neither the old number nor any other, such as those below 0 of people without a track.
    assert len(bank) == 1 and not any(number in bank for number in range(-9, 9))
    assert bank.similarity(one_hot(1))[0] == 1
    bank.add(1, one_hot(2))  # somebody else who has the number now
    bank.forget(1)
    assert bank.similarity(np.stack([one_hot(1), one_hot(2)])).tolist() == [1, 0]
    bank.add(-1, one_hot(3))
    bank.add(2, one_hot(4))
    bank.detach()
    bank.detach()
    assert len(bank) == 3 and -1 not in bank and 2 not in bank
    bank.add(5, one_hot(5))  # the first of the detached was not seen for longest
    assert bank.similarity(np.stack([one_hot(i) for i in (1, 3, 4, 5)])).tolist() == [0, 1, 1, 1]


number = st.integers(0, 4)


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), number),
            st.tuples(st.just("rename"), number, number),
            st.tuples(st.just("detach")),
            st.tuples(st.just("forget"), number),
        ),
        max_size=40,
    )
)
def test_the_bank_keeps_books(steps):
    bank, known, nobody = BystanderBank(per_person=99), {}, []
    for place, (name, *args) in enumerate(steps):
        if name == "add":
            bank.add(args[0], one_hot(place))
            known.setdefault(args[0], []).append(place)
        elif name == "rename":
            bank.rename(*args)
            looks = known.pop(args[0], [])
            if looks:
                known.setdefault(args[1], []).extend(looks)
        elif name == "forget":
            bank.forget(*args)
            known.pop(args[0], None)
        else:
            bank.detach()
            nobody += [places for places in known.values()]
            known = {}
        likeness = bank.similarity(np.eye(64, dtype=np.float32))
        kept = {place for places in (*known.values(), *nobody) for place in places}
        expected = [float(place in kept) if kept else -1.0 for place in range(64)]
        assert likeness.tolist() == expected
        assert [n for n in range(-5, 9) if n in bank] == sorted(known)
        assert len(bank) == len(known) + len(nobody)


def test_only_the_newest_looks_of_a_track_are_compared():
    recent, scene = RecentLooks(count=2), SceneMean()
    probes = np.stack([one_hot(i) for i in range(3)])
    assert recent.similarity(probes, scene, 0.0).tolist() == [-1, -1, -1]
    for place in range(3):
        recent.add(one_hot(place), float(place))
    assert recent.similarity(probes, scene, 0.0).tolist() == [0, 1, 1]  # two are kept
    assert recent.similarity(probes, scene, 2.0).tolist() == [0, 0, 1]  # from then on
    assert recent.similarity(probes, scene, 2.1).tolist() == [-1, -1, -1]


def test_enrolled_prototypes_can_be_asked_alone():
    memory, scene = TargetMemory(), SceneMean()
    assert memory.enrolled_similarity(one_hot(0)).tolist() == [-1]
    memory.enrol(one_hot(0), "rear")
    probes = np.stack([one_hot(i) for i in range(3)])
    assert memory.enrolled_similarity(probes).tolist() == [1, 0, 0]
    memory.learn(one_hot(1), "rear")
    assert memory.enrolled_similarity(probes).tolist() == [1, 0, 0]
    assert memory.similarity(probes).tolist() == [1, 1, 0]
    memory.enrol(one_hot(2), "front")
    assert memory.enrolled_similarity(probes).tolist() == [1, 0, 1]
    scene.add(1, one_hot(0))
    left = scene.without(probes) @ scene.without(probes[[0, 2]]).T
    np.testing.assert_allclose(
        memory.enrolled_similarity(probes, scene), left.max(axis=1), atol=1e-6
    )


def test_an_enrolled_bucket_stays_within_its_limit():
    memory = TargetMemory(enrolled=3)
    for seed in range(40):
        memory.enrol(unit(seed), "rear")
    memory.enrol(unit(50))
    assert len(memory) == 4 and memory.buckets == ["rear", None]
