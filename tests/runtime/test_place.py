"""Where a person can be by now."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.place import Place

HERE = (100, 100, 140, 200)  # 100 px high, centre (120, 150)


def moved(box, dx=0.0, dy=0.0, scale=1.0):
    """The box elsewhere, and larger about its centre."""
    x, y = (box[0] + box[2]) / 2 + dx, (box[1] + box[3]) / 2 + dy
    width, height = scale * (box[2] - box[0]), scale * (box[3] - box[1])
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def test_place_of_a_box():
    assert Place.of(HERE, 3.0) == Place(120, 150, 100, 3.0)
    assert Place.of(np.array([0, 0, 4, 0.5], np.float32), 0.0) == (2, 0.25, 1, 0)  # never flat


@pytest.mark.parametrize(
    ("dx", "dy", "scale", "gone_s", "expected"),
    [
        (0, 0, 1, 0, True),
        (49, 0, 1, 0, True),  # boxes jump by half a height
        (51, 0, 1, 0, False),
        (0, -51, 1, 0, False),
        (149, 0, 1, 1, True),  # and one height per second on top
        (151, 0, 1, 1, False),
        (90, 120, 1, 1, True),  # 150 px away
        (90, 121, 1, 1, False),
        (0, 0, math.exp(0.39), 0, True),  # the logarithm of the height by 0.4
        (0, 0, math.exp(0.41), 0, False),
        (0, 0, math.exp(-0.39), 0, True),
        (0, 0, math.exp(-0.41), 0, False),
        (0, 0, math.exp(0.89), 1, True),  # and by 0.5 per second
        (0, 0, math.exp(0.91), 1, False),
        (199, 0, 2, 2, True),
        (499, 0, 2, 2, True),  # of the larger height
        (501, 0, 2, 2, False),
        (51, 0, 1, -5, False),  # a frame before that is no time at all
        (49, 0, 1, -5, True),
    ],
)
def test_reach_by_hand(dx, dy, scale, gone_s, expected):
    assert Place.of(HERE, 10.0).reaches(moved(HERE, dx, dy, scale), 10.0 + gone_s) is expected


box = st.tuples(
    st.floats(-500, 1500), st.floats(-500, 1500), st.floats(2, 300), st.floats(2, 600)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(box, box, st.floats(0, 20), st.floats(0, 20))
def test_reach_is_mutual_and_only_grows(first, second, gone_s, longer_s):
    there = Place.of(first, 0.0).reaches(second, gone_s)
    assert Place.of(second, 0.0).reaches(first, gone_s) is there
    assert Place.of(first, 0.0).reaches(first, gone_s)
    if there:
        assert Place.of(first, 0.0).reaches(second, gone_s + longer_s)


@given(box, box, st.floats(0, 5), st.floats(0.25, 4))
def test_reach_does_not_depend_on_the_size_of_the_picture(first, second, gone_s, scale):
    def way(a, b):
        a, b = Place.of(a, 0), Place.of(b, 0)
        return math.hypot(a.x - b.x, a.y - b.y) / max(a.height, b.height) - 0.5 - gone_s

    larger = [tuple(scale * v for v in b) for b in (first, second)]
    if min(b[3] - b[1] for b in larger) < 1 or abs(way(first, second)) < 1e-6:
        return  # below a pixel, or on the edge of what is reached
    size = abs(math.log((first[3] - first[1]) / (second[3] - second[1])))
    if abs(size - 0.4 - 0.5 * gone_s) > 1e-6:
        here, there = (Place.of(b[0], 0.0).reaches(b[1], gone_s) for b in ((first, second), larger))
        assert here is there


def test_a_place_moves_with_the_background():
    turned = np.array([[0.0, -1.0, 30.0], [1.0, 0.0, -20.0]])
    assert Place.of(HERE, 3.0).moved(turned) == Place(-120, 100, 100, 3.0)
    # Who stands at the same spot of a picture that moved by 200 px is where they were.
    shift = np.array([[1, 0, 200.0], [0, 1, 0]])
    place = Place.of(HERE, 0.0)
    assert not place.reaches(moved(HERE, 200), 0.1) and place.moved(shift).reaches(
        moved(HERE, 200), 0.1
    )
