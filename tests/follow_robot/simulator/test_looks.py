"""Looks: reproducible, written and read back, look-alikes that differ where they should."""

import numpy as np
import pytest

from follow_robot.simulator.looks import HAIR, LEGS, PATTERNS, Look
from runtime.errors import ReidEdgeError


def apart(a, b):
    return float(np.linalg.norm(np.subtract(a, b, dtype=float)))


def test_the_same_seed_gives_the_same_person_and_others_differ():
    people = [Look.random(seed) for seed in range(60)]
    assert people == [Look.random(seed) for seed in range(60)]
    assert len(set(people)) == 60


def test_all_kinds_of_people_come():
    people = [Look.random(seed) for seed in range(200)]
    assert {p.pattern for p in people} == set(PATTERNS)
    assert {p.hair_style for p in people} == set(HAIR)
    assert {p.legs_style for p in people} == set(LEGS)
    assert {p.backpack is None for p in people} == {True, False}


@pytest.mark.parametrize("seed", range(40))
def test_a_look_alike_wears_the_same_top_and_other_legs(seed):
    look = Look.random(seed)
    double = look.double(seed)
    assert double == look.double(seed) != look
    assert double.pattern == look.pattern and double.build == look.build
    assert abs(double.height_m - look.height_m) <= 0.031
    assert apart(double.legs, look.legs) > 80
    if look.legs_style != "coat":
        assert double.top == look.top
    single = look.double(seed, details=1)
    assert (single.backpack, single.hair_style, single.second) == (
        look.backpack,
        look.hair_style,
        look.second,
    )


@pytest.mark.parametrize("details", [0, 2])
def test_a_twin_and_a_look_alike_differ_in_one_small_thing(details):
    for seed in range(30):
        look = Look.random(seed)
        double = look.double(seed, details)
        assert (double.legs == look.legs) is (details == 0)
        also = [
            double.backpack != look.backpack,
            double.hair_style != look.hair_style,
            double.second != look.second,
        ]
        assert sum(also) == 1


def test_looks_are_written_and_read_back():
    for seed in range(30):
        look = Look.random(seed)
        assert Look.from_dict(look.to_dict()) == look
    assert Look.from_dict({"top": [1, 2, 3]}).top == (1, 2, 3)


@pytest.mark.parametrize(
    "values, said",
    [
        ({"tops": [1, 2, 3]}, "not \\['tops'\\]"),
        ({"top": [1, 2]}, "top is blue, green, red"),
        ({"top": [1, 2, 300]}, "from 0 to 255"),
        ({"top": 5}, "wrong"),
        ({"pattern": "dots"}, "pattern is one of"),
        ({"height_m": 3.0}, "height_m is 0.8 to 2.2"),
        ({"height_m": "tall"}, "wrong"),
    ],
)
def test_wrong_looks_are_refused_in_one_sentence(values, said):
    with pytest.raises(ReidEdgeError, match=said):
        Look.from_dict(values)
