"""Where two pieces of plain data differ."""

import math

import pytest

from follow_robot.difference import ABSENT, Difference, differences


def found(a, b, tolerance=0.0):
    return list(differences(a, b, tolerance))


@pytest.mark.parametrize(
    "value", [None, True, 0, 1.5, "x", [], {}, [1, [2, {"a": None}]], math.nan, math.inf, 10**400]
)
def test_the_same_does_not_differ(value):
    assert found(value, value) == []
    assert found({"a": [value]}, {"a": (value,)}, 1e-6) == []


@pytest.mark.parametrize(
    "a, b, field",
    [
        ({"x": {"y": 1}}, {"x": {"y": 2}}, "x.y"),
        ({"x": [0, 1, 2]}, {"x": [0, 1, 3]}, "x.2"),
        ({"x": 1}, {"x": True}, "x"),
        ({"x": 0}, {"x": False}, "x"),
        ({"x": None}, {"x": 0}, "x"),
        ({"x": "1"}, {"x": 1}, "x"),
        ({"x": [1]}, {"x": {"0": 1}}, "x"),
        ({"x": math.nan}, {"x": 0.0}, "x"),
        ({"x": 1.0}, {"x": 1.0 + 2**-52}, "x"),
    ],
)
def test_a_difference_is_found_at_its_path(a, b, field):
    assert [d.field for d in found(a, b)] == [field]


def test_whole_numbers_and_floats_are_compared_as_numbers():
    assert found({"x": 1}, {"x": 1.0}) == []


def test_missing_and_additional_values():
    assert found({"a": 1}, {}) == [Difference("a", 1, ABSENT)]
    assert found({}, {"a": 1}) == [Difference("a", ABSENT, 1)]
    assert found([1], [1, 2]) == [Difference(".1", ABSENT, 2)]
    assert repr(ABSENT) == "absent"


def test_all_differences_in_order():
    a, b = {"x": 1, "y": [1, 2], "z": 0}, {"x": 2, "y": [3, 2], "z": 0, "w": 5}
    assert [d.field for d in found(a, b)] == ["x", "y.0", "w"]


def test_tolerance_is_absolute_and_relative():
    assert found(1e6, 1e6 + 0.5, 1e-6) == []
    assert found(0.0, 5e-7, 1e-6) == []
    assert found(1.0, 1.00001, 1e-6) != []
    assert found("a", "b", 1.0) != []
    assert found(10**400, 1.5, 1e-6) != []
