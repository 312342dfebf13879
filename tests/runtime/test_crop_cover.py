"""Which boxes cover which, against pixel masks and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.crop_quality import cover

SIZE = (480, 640)


def masks(boxes):
    """(N, H, W) bool: the pixels of each box of whole numbers."""
    drawn = np.zeros((len(boxes),) + SIZE, bool)
    for mask, (left, top, right, bottom) in zip(drawn, boxes):
        mask[top:bottom, left:right] = True
    return drawn


def test_cover_by_hand():
    # Right half of the first from row 120 on, 14 of its 16 lines; the second reaches lower.
    found = cover(np.array([[100, 100, 180, 260], [140, 120, 220, 300]]), SIZE)
    np.testing.assert_allclose(found.covered, [0.5 * 14 / 16, 0])
    np.testing.assert_allclose(found.overlap, [0.5 * 14 / 16, 0.5 * 12 / 16])
    assert found.rivals == [(1,), (0,)]


# Sizes and places for which every edge lies between the points that are tested, so that shares of
# pixels are exact: 8 columns of 32 or 64 pixels, edges at multiples of 8.
grid_box = st.builds(
    lambda x, y, wide, high: (8 * x, 8 * y, 8 * x + 32 * wide, 8 * y + 64 * high),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 2]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(grid_box, min_size=1, max_size=6), st.integers(0, 63))
def test_cover_is_the_share_of_pixels(boxes, solid):
    is_solid = [bool(solid >> i & 1) for i in range(len(boxes))]
    found = cover(np.array(boxes), SIZE, np.array(is_solid))
    drawn = masks(boxes)
    nearness = [bottom + 0.1 * (bottom - top) for _, top, _, bottom in boxes]
    for i, own in enumerate(drawn):
        others = [j for j in range(len(boxes)) if j != i and is_solid[j]]
        front = [j for j in others if nearness[j] > nearness[i]]
        assert found.rivals[i] == tuple(j for j in others if (drawn[j] & own).any())
        assert found.overlap[i] == pytest.approx(drawn[others].any(axis=0)[own].mean())
        assert found.covered[i] == pytest.approx(drawn[front].any(axis=0)[own].mean())


coordinate = st.floats(-200, 900)
any_box = st.tuples(coordinate, coordinate, st.floats(1, 400), st.floats(1, 600)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(deadline=None)
@given(any_box, any_box)
def test_cover_of_any_two_boxes_is_right_but_for_the_grid(first, second):
    found = cover(np.array([first, second]), SIZE)
    limit = np.array([SIZE[1], SIZE[0]] * 2)
    a, b = np.clip([first, second], 0, limit)
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    for share, box in zip(found.overlap, (a, b)):
        area = np.prod(box[2:] - box[:2])
        # Each of two sides may be wrong by one column or one line.
        assert abs(share - (sides.prod() / area if area else 0)) <= 1 / 8 + 1 / 16
    assert (found.covered == 0).any()  # only one of two stands in front


@settings(deadline=None, max_examples=50)
@given(st.lists(any_box, max_size=6), st.randoms(use_true_random=False))
def test_cover_does_not_depend_on_the_order_of_boxes(boxes, random):
    order = list(range(len(boxes)))
    random.shuffle(order)
    table = np.array(boxes).reshape(-1, 4)
    found, other = cover(table, SIZE), cover(table[order], SIZE)
    np.testing.assert_array_equal(found.overlap[order], other.overlap)
    np.testing.assert_array_equal(found.covered[order], other.covered)
    assert [found.rivals[i] for i in order] == [
        tuple(sorted(order[j] for j in rivals)) for rivals in other.rivals
    ]
    assert (found.covered <= found.overlap).all() and (found.overlap <= 1).all()


def test_who_stands_in_front():
    lower = [[100, 100, 160, 300], [120, 90, 180, 320]]
    assert cover(np.array(lower), SIZE).covered[0] > 0 == cover(np.array(lower), SIZE).covered[1]
    # Both are cut off below: the taller one is nearer.
    cut_off = np.array([[100, 300, 160, 700], [120, 200, 180, 600]])
    assert cover(cut_off, SIZE).covered[0] > 0 == cover(cut_off, SIZE).covered[1]
    same = np.array([[100, 100, 160, 300]] * 2)
    np.testing.assert_array_equal(cover(same, SIZE).covered, 0)
    np.testing.assert_array_equal(cover(same, SIZE).overlap, 1)


def test_boxes_outside_the_frame_cover_nobody_and_are_not_covered():
    boxes = np.array([[600, 100, 640, 300], [640, 100, 700, 300], [630, 100, 900, 310]])
    found = cover(boxes, SIZE)
    assert found.rivals == [(2,), (), (0,)] and found.overlap[1] == 0
    turned = np.array([[300, 100, 200, 300], [100, 50, 400, 400]])  # right < left
    assert cover(turned, SIZE).rivals == [(), ()]
