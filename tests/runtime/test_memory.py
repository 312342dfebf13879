"""Prototypes of the target and of bystanders."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.memory import SAME_VIEW, BystanderBank, TargetMemory, add_prototype


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
