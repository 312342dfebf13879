"""Decoders give back the boxes that an encoder put in, and agree with the formulas in loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.detectors.decoders import make_grid
from runtime.detectors.kinds import KINDS
from runtime.errors import ReidEdgeError
from tests.runtime.detectors.heads import COCO, HEADS, cells_of, nanodet

SIZE = (128, 192)  # not square: rows and columns must not be confused


@st.composite
def people(draw):
    """Up to four boxes in different cells of 32 pixels, none larger than 7 strides of 32."""
    count = draw(st.integers(0, 4))
    cells = draw(st.permutations([(c, r) for c in range(6) for r in range(4)]))[:count]
    boxes = []
    for column, row in cells:
        x = 32 * column + draw(st.floats(0.5, 31.5))
        y = 32 * row + draw(st.floats(0.5, 31.5))
        # At least 40, so that every distance from a cell's middle or corner is positive.
        half_w, half_h = draw(st.floats(40, 90)), draw(st.floats(40, 60))
        boxes.append([x - half_w, y - half_h, x + half_w, y + half_h])
    scores = draw(st.lists(st.floats(0.3, 0.75), min_size=count, max_size=count))
    return np.reshape(boxes, (-1, 4)), scores


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(people(), st.sampled_from([0, 2]))
def test_what_was_encoded_is_decoded(kind, seen, person):
    boxes, scores = seen
    outputs = HEADS[kind](boxes, scores, SIZE, person=person)
    found = KINDS[kind].decode(outputs, SIZE, 0.2, person)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    order, expected = np.lexsort(found.boxes.T), np.lexsort(np.float32(boxes).T)
    assert len(order) == len(boxes)
    np.testing.assert_allclose(found.boxes[order], boxes[expected], atol=2e-3)
    np.testing.assert_allclose(found.scores[order], np.array(scores)[expected], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_person_class_counts(kind):
    box = [[40.0, 20.0, 140.0, 110.0]]
    outputs = HEADS[kind](box, [0.7], SIZE, person=3)
    assert len(KINDS[kind].decode(outputs, SIZE, 0.2, 3).boxes) == 1
    assert len(KINDS[kind].decode(outputs, SIZE, 0.2, 0).boxes) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_scores_must_be_above_the_threshold(kind):
    box = [[40.0, 20.0, 140.0, 110.0]]
    outputs = HEADS[kind](box, [0.5], SIZE)
    assert len(KINDS[kind].decode(outputs, SIZE, 0.499, 0).boxes) == 1
    nothing = KINDS[kind].decode(outputs, SIZE, 0.501, 0)
    assert nothing.boxes.shape == (0, 4) and nothing.scores.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "broken, message", [(math.nan, "not finite"), (math.inf, "not finite"), (5.0, "sigmoid")]
)
def test_a_broken_score_is_never_dropped_silently(kind, broken, message):
    outputs = HEADS[kind]([[40.0, 20.0, 140.0, 110.0]], [0.7], SIZE)
    # Far from the person: everything a score is made of, in one cell.
    if kind == "fastestdet":
        outputs[0][0, [0, 5], 0, 0] = broken
    elif kind == "yolov8":
        outputs[0][0, 4, 0] = broken
    elif kind in ("nanodet", "nanodet_plus"):
        outputs[0][0, 0, 0] = broken
    else:
        outputs[0][0, 0, 4:6] = broken
    with pytest.raises(ReidEdgeError, match=message):
        KINDS[kind].decode(outputs, SIZE, 0.2, 0)


def test_a_negative_score_raises():
    outputs = HEADS["fastestdet"]([], [], SIZE)
    outputs[0][0, 0] = -1.0
    with pytest.raises(ReidEdgeError, match="not finite"):  # a power of a negative number
        KINDS["fastestdet"].decode(outputs, SIZE, 0.2, 0)


@pytest.mark.parametrize("size", [(416, 416), (64, 96), (100, 50)])
def test_the_grid_is_rows_within_strides(size):
    grid = make_grid(size, (8, 16, 32, 64))
    expected = cells_of(size, (8, 16, 32, 64))
    assert [tuple(row) for row in np.hstack([grid.strides, grid.cells]).astype(int)] == expected


def test_a_yolox_of_random_numbers_agrees_with_the_formula_in_a_loop():
    random = np.random.RandomState(0)
    cells = cells_of(SIZE, (8, 16, 32))
    rows = random.normal(0, 1, (len(cells), 7)).astype(np.float32)
    rows[:, 4:] = random.uniform(0, 1, (len(cells), 3))
    found = KINDS["yolox"].decode([rows[None]], SIZE, 0.3, 1)
    expected = []
    for (stride, column, row), (x, y, w, h, seen, _, person) in zip(cells, rows.tolist()):
        if seen * person > 0.3:
            x, y, w, h = (x + column) * stride, (y + row) * stride, *np.exp([w, h]) * stride
            expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2, seen * person])
    got = np.hstack([found.boxes, found.scores[:, None]])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def test_a_nanodet_of_random_numbers_agrees_with_the_formula_in_a_loop():
    random = np.random.RandomState(1)
    outputs = [random.uniform(0, 1, o.shape).astype(np.float32) for o in nanodet([], [], SIZE)]
    outputs[3:] = [random.normal(0, 3, o.shape).astype(np.float32) for o in outputs[3:]]
    found = KINDS["nanodet"].decode(outputs, SIZE, 0.9, 5)
    scores = np.concatenate([o[0, :, 5] for o in outputs[:3]])
    bins = np.concatenate([o[0] for o in outputs[3:]])
    expected = []
    for (stride, column, row), score, logits in zip(cells_of(SIZE, (8, 16, 32)), scores, bins):
        if score <= 0.9:
            continue
        sides = []
        for side in np.split(logits.astype(float), 4):
            shares = np.exp(side) / np.exp(side).sum()
            sides.append(stride * sum(step * share for step, share in enumerate(shares)))
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        expected.append([x - sides[0], y - sides[1], x + sides[2], y + sides[3], score])
    assert len(expected) > 10
    got = np.hstack([found.boxes, found.scores[:, None]])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_a_fastestdet_of_random_numbers_agrees_with_the_formula_in_a_loop():
    random = np.random.RandomState(2)
    maps = random.normal(0, 2, (1, 5 + COCO, 8, 12)).astype(np.float32)
    maps[0, 0], maps[0, 5:] = random.uniform(0, 1, (8, 12)), random.uniform(0, 1, (COCO, 8, 12))
    found = KINDS["fastestdet"].decode([maps], SIZE, 0.5, 0)
    expected = []
    for row in range(8):
        for column in range(12):
            seen, x, y, w, h, person = maps[0, :6, row, column].astype(float)
            score = seen**0.6 * person**0.4
            if score > 0.5:
                x, y = (math.tanh(x) + column) / 12 * 192, (math.tanh(y) + row) / 8 * 128
                w, h = 192 / (1 + math.exp(-w)), 128 / (1 + math.exp(-h))
                expected.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2, score])
    assert len(expected) > 10
    got = np.hstack([found.boxes, found.scores[:, None]])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


def test_huge_log_sizes_become_infinite_not_an_overflow_warning():
    outputs = HEADS["yolox"]([[40.0, 20.0, 140.0, 110.0]], [0.7], SIZE)
    outputs[0][0, :, 2] = 1000.0
    with np.errstate(all="raise"):
        found = KINDS["yolox"].decode(outputs, SIZE, 0.2, 0)
    assert np.isinf(found.boxes[:, [0, 2]]).all()
