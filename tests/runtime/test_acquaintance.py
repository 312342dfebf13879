"""What is remembered of tracks."""

import pytest

from runtime.acquaintance import NEVER_S, Acquaintance, Acquaintances
from runtime.lock_types import Person

APART_S = 0.5


def people(*tracks):
    return [Person(track, (0, 0, 10, 20)) for track in tracks]


def test_of_a_stranger_nothing_is_known():
    known = Acquaintances().get(7, 3.0)
    assert known == Acquaintance(3.0) and known.looked_s == NEVER_S and known.usual == -1
    assert not (known.beside or known.proven)


def test_the_usual_look_is_a_mean_by_quality_of_the_newest_eight():
    known = Acquaintance(0.0)
    known.looked(0.5, 0.2)
    known.looked(1.0, 0.8)
    assert known.usual == pytest.approx((0.5 * 0.2 + 1.0 * 0.8) / 1.5) and known.similarity == 0.8
    for _ in range(7):
        known.looked(1.0, 0.1)
    assert known.usual == pytest.approx((0.8 + 7 * 0.1) / 8)
    known.looked(0.0, 0.9)
    assert known.usual == pytest.approx(0.1) and known.similarity == 0.9
    nothing = Acquaintance(0.0)
    nothing.looked(0.0, 0.9)  # of no quality at all
    assert nothing.usual == -1


@pytest.mark.parametrize(("gone_s", "beside"), [(0.5, True), (0.51, False)])
def test_who_was_gone_may_be_somebody_else(gone_s, beside):
    known = Acquaintances()
    known.see(people(1, 2), 10.0, APART_S)
    known[1].beside = known[1].proven = True
    known[1].looked(1.0, 0.4)
    known.see(people(1), 10.0 + gone_s, APART_S)
    assert known[1].beside is beside and known[1].proven is beside
    assert known[1].seen_s == 10.0 + gone_s and known[1].similarity == 0.4
    assert known[2].seen_s == 10.0 and known.get(1, 0.0) is known[1]


def test_in_doubt_only_what_is_proven_stays():
    known = Acquaintances()
    known.see(people(1, 2, 3), 0.0, APART_S)
    known[1].beside = known[1].proven = True
    known[2].beside = True
    known.doubt()
    assert [known[track].beside for track in (1, 2, 3)] == [True, False, False]
    known.clear()
    with pytest.raises(KeyError):
        known[1]


def test_a_street_full_of_people_is_forgotten_after_half_a_minute():
    known = Acquaintances()
    for number in range(2000):
        known.see(people(0, number + 1), number / 10, APART_S)
    assert len(known._known) <= 4 * 2 + 64 + 1 + 300  # ten new ones a second, of 30 s
    assert known[0].seen_s == 199.9 and known.get(1, 199.9) == Acquaintance(199.9)
    assert known.get(1900, 0.0).seen_s == pytest.approx(189.9)
