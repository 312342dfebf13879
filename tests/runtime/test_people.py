"""Detections and tracks as people, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.crop_quality import Crops
from runtime.detection import Detections
from runtime.observation import Observation
from runtime.people import boxes_of, guess, tracked
from runtime.track import Track

STILL = np.eye(2, 3)
HIGH = 0.45


def box(x, y=50, width=40, height=100):
    return (x, y, x + width, y + height)


def observed(boxes, scores=None, motion=STILL, rivals=None, size=(240, 320)):
    count = len(boxes)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.full(count, 0.9) if scores is None else np.array(scores)
    rivals = rivals or [()] * count
    crops = Crops(
        np.linspace(0.5, 0.9, count), np.linspace(0, 0.4, count), rivals, np.arange(count) % 2 == 1
    )
    return Observation(1.0, size, Detections(boxes, scores), crops, np.array(motion, float), False)


def track(number, at, state="confirmed", detection=None):
    at = np.array(at, np.float32)
    return Track(number, at, 0.9, state, 5, 0.0, detection, (0.0, 0.0), None)


def test_without_tracks_everybody_is_new():
    people, returning = guess(observed([box(10), box(100)], rivals=[(1,), (0,)]), [], HIGH)
    assert [p.track for p in people] == [-1, -2] and returning == []
    assert [p.rivals for p in people] == [(-2,), (-1,)]
    assert [p.quality for p in people] == [0.5, 0.9] and [p.overlap for p in people] == [0.0, 0.4]
    assert [p.behind for p in people] == [False, True]
    assert people[0].box == [10, 50, 50, 150] and people[0].embedding is None


def test_a_detection_continues_the_track_it_overlaps():
    seen = observed([box(105), box(200), box(12)])
    people, returning = guess(seen, [track(7, box(10)), track(9, box(100))], HIGH)
    assert [p.track for p in people] == [9, -2, 7] and returning == []


@pytest.mark.parametrize(("x", "name"), [(21, 7), (22, -1)])  # IoU 19/61 = 0.31 and 18/62 = 0.29
def test_less_than_three_tenths_is_somebody_else(x, name):
    people, _ = guess(observed([box(x)]), [track(7, box(0))], HIGH)
    assert people[0].track == name


def test_each_track_is_continued_once_by_the_better():
    people, _ = guess(observed([box(20), box(12)]), [track(7, box(10))], HIGH)
    assert [p.track for p in people] == [-1, 7]


def test_the_background_moves_the_tracks():
    # 60 px to the right: the track at 10 is at 70 now.
    motion = [[1, 0, 60], [0, 1, 0]]
    people, _ = guess(observed([box(10), box(70)], motion=motion), [track(7, box(10))], HIGH)
    assert [p.track for p in people] == [-1, 7]


def test_a_lost_track_is_nobody_here_and_may_come_back():
    seen = observed([box(10), box(100), box(200)], scores=[0.9, 0.9, 0.2])
    people, returning = guess(seen, [track(7, box(10)), track(8, box(100), "lost")], HIGH)
    assert [p.track for p in people] == [7, -2, -3]
    assert returning == [-2]  # the weak one starts no track


def test_a_weak_detection_is_worth_a_look_only_where_a_track_is():
    seen = observed([box(10), box(100)], scores=[0.2, 0.2])
    people, _ = guess(seen, [track(7, box(10))], HIGH)
    assert [p.quality for p in people] == [0.5, 0.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 280), max_size=6), st.lists(st.integers(0, 280), max_size=6))
def test_names_are_unique_and_overlap(xs, before):
    tracks = [track(i + 1, box(x)) for i, x in enumerate(before)]
    people, _ = guess(observed([box(x) for x in xs]), tracks, HIGH)
    names = [p.track for p in people]
    assert len(set(names)) == len(names)
    for row, name in enumerate(names):
        if name < 0:
            assert name == -1 - row
        else:
            assert abs(before[name - 1] - xs[row]) <= 21  # IoU 0.3, see above


def test_tracked_people_have_their_crops_and_their_rivals_tracks():
    seen = observed([box(0), box(100), box(120)], rivals=[(), (2, 0), (1,)])
    tracks = [track(7, box(100), detection=1), track(9, box(0), detection=0)]
    embeddings = np.full((3, 4), np.nan, np.float32)
    embeddings[1] = [1, 0, 0, 0]
    boxes = np.array([box(100), box(0)], float)
    first, second = tracked(seen, tracks, boxes, [("rear", 1), ("side", 2)], embeddings)
    assert (first.track, first.box, first.bucket) == (7, box(100), ("rear", 1))
    np.testing.assert_array_equal(first.embedding, [1, 0, 0, 0])
    assert second.embedding is None and second.bucket == ("side", 2)
    assert first.rivals == (9,)  # nobody tracks the detection in row 2
    assert (first.quality, first.overlap, first.behind) == (pytest.approx(0.7), 0.2, True)
    plain = tracked(seen, tracks, boxes, [("rear", 1)] * 2, None)
    assert [p.embedding for p in plain] == [None, None]


@pytest.mark.parametrize(
    ("left", "right", "at_edge"),
    [(2, 40, True), (3, 40, False), (280, 318, True), (280, 317, False)],
)
def test_the_edge_of_the_picture(left, right, at_edge):
    seen = observed([(left, 0, right, 100)])
    boxes = seen.detections.boxes.astype(float)
    person = tracked(seen, [track(1, boxes[0], detection=0)], boxes, [("rear", 0)], None)[0]
    assert person.at_edge is at_edge


def test_a_box_that_lags_behind_is_what_was_detected():
    # Of 40 px width: 7 px apart is IoU 33/47 = 0.702, 8 px is 32/48.
    found = Detections(np.array([box(107), box(208)], np.float32), np.ones(2, np.float32))
    tracks = [track(1, box(100), detection=0), track(2, box(200), detection=1)]
    np.testing.assert_array_equal(boxes_of(tracks, found, (240, 320)), [box(100), box(208)])


def test_boxes_end_where_the_frame_ends():
    found = Detections(np.array([[-20, -5, 30, 260]], np.float32), np.ones(1, np.float32))
    got = boxes_of([track(1, (-20, -5, 30, 260), detection=0)], found, (240, 320))
    np.testing.assert_array_equal(got, [[0, 0, 30, 240]])
    assert boxes_of([], Detections.empty(), (240, 320)).shape == (0, 4)
