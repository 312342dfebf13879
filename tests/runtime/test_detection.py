"""Detections, overlap and suppression, against counting pixels and the greedy loop written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.detection import Detections, iou, nms
from runtime.errors import ReidEdgeError

SIDE = 12


@st.composite
def pixel_boxes(draw, most=8):
    """Boxes with whole corners inside SIDE x SIDE, empty ones among them."""
    count = draw(st.integers(0, most))
    corners = st.lists(st.integers(0, SIDE), min_size=4, max_size=4)
    rows = [draw(corners) for _ in range(count)]
    return np.array(
        [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows], np.float32
    ).reshape(-1, 4)


def counted_iou(a, b):
    masks = np.zeros((2, SIDE, SIDE), bool)
    for mask, (left, top, right, bottom) in zip(masks, (a.astype(int), b.astype(int))):
        mask[top:bottom, left:right] = True
    union = (masks[0] | masks[1]).sum()
    return (masks[0] & masks[1]).sum() / union if union else 0.0


def greedy_nms(boxes, scores, threshold):
    kept = []
    for row in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if (iou(boxes[[row]], boxes[kept]) <= threshold).all():
            kept.append(row)
    return kept


def test_overlap_of_two_boxes_by_hand():
    boxes = np.float32([[0, 0, 10, 10], [20, 20, 30, 30]])
    others = np.float32([[5, 0, 15, 10], [0, 0, 10, 10], [2, 2, 2, 8]])
    np.testing.assert_allclose(iou(boxes, others), [[50 / 150, 1, 0], [0, 0, 0]], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(pixel_boxes(), pixel_boxes())
def test_overlap_is_what_counting_pixels_gives(boxes, others):
    expected = [[counted_iou(a, b) for b in others] for a in boxes]
    got = iou(boxes, others)
    assert got.shape == (len(boxes), len(others))
    np.testing.assert_allclose(got, np.reshape(expected, got.shape), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(pixel_boxes(most=12), st.integers(0, 2**31), st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
def test_suppression_is_the_greedy_loop(boxes, seed, threshold):
    scores = np.random.RandomState(seed).randint(0, 6, len(boxes)).astype(np.float32)  # with ties
    assert nms(boxes, scores, threshold).tolist() == greedy_nms(boxes, scores, threshold)


def test_a_suppressed_box_suppresses_nothing():
    # A chain: each overlaps its neighbour by 2/3, the next but one by 3/7.
    boxes = np.float32([[left, 0, left + 10, 10] for left in (0, 2, 4, 6)])
    scores = np.float32([0.9, 0.8, 0.7, 0.6])
    assert nms(boxes, scores, 0.5).tolist() == [0, 2]


def test_an_overlap_of_exactly_the_threshold_stays():
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 5]])
    assert nms(boxes, np.float32([1, 0.5]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.float32([1, 0.5]), 0.499).tolist() == [0]


def test_many_real_sized_candidates_agree_with_the_loop():
    random = np.random.RandomState(4)
    centres = random.uniform(0, 600, (300, 2))
    sides = random.uniform(30, 120, (300, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)
    scores = random.uniform(0, 1, 300).astype(np.float32)
    assert nms(boxes, scores, 0.3).tolist() == greedy_nms(boxes, scores, 0.3)


def test_detections_are_float32_and_can_be_picked():
    found = Detections([[0, 0, 4, 10], [5, 5, 6, 8]], [0.5, 1])
    assert found.boxes.dtype == found.scores.dtype == np.float32 and len(found) == 2
    assert found.heights.tolist() == [10, 3]
    tall = found[found.heights > 5]
    assert tall.boxes.tolist() == [[0, 0, 4, 10]] and tall.scores.tolist() == [0.5]
    assert found[[1, 0]].scores.tolist() == [1, 0.5]


def test_no_persons():
    assert len(Detections.empty()) == 0
    assert Detections([], []).boxes.shape == (0, 4)
    assert len(Detections.empty()[np.zeros(0, bool)]) == 0
    assert nms(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.5).tolist() == []


@pytest.mark.parametrize(
    "boxes, scores, message",
    [
        ([[0, 0, 1, 1]], [float("nan")], "finite"),
        ([[0, 0, float("inf"), 1]], [0.5], "finite"),
        ([[0, 0, 1, 1]], [0.5, 0.5], r"got \(1, 4\) and \(2,\)"),
        ([[0, 0, 1]], [0.5], r"got \(1, 3\)"),
        ([[5, 0, 1, 1]], [0.5], "right < left"),
        ([[0, 5, 1, 1]], [0.5], "bottom < top"),
    ],
)
def test_broken_detections_are_refused(boxes, scores, message):
    with pytest.raises(ReidEdgeError, match=message):
        Detections(boxes, scores)
