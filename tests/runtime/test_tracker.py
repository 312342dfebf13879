"""The tracker on drawn walks."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.tracker import Tracker, TrackerSettings

FPS = 15.0
SIZE = (480, 640)


def person(x, y=300.0, height=120.0):
    return [x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2]


def seen(*boxes, scores=None):
    scores = [0.9] * len(boxes) if scores is None else scores
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def follow(tracker, frames, embeddings=None, motion=None, start=0, size=None):
    """The tracks of each frame."""
    return [
        tracker.update(
            d, None if embeddings is None else embeddings[n], motion, (start + n) / FPS, size
        )
        for n, d in enumerate(frames)
    ]


def ids(tracks, state="confirmed"):
    return [t.id for t in tracks if t.state == state]


def crowd(seed, frames=12, people=5, noise=0.01, drop=0.1):
    """Frames of people who walk and cross, with clutter, in pixels that a shift keeps exact."""
    generator = np.random.default_rng(seed)
    x, speed = generator.uniform(0, 600, people), generator.normal(0, 60, people)
    y, height = generator.uniform(200, 300, people), generator.uniform(60, 200, people)
    out = []
    for n in range(frames):
        rows = [person(x[i] + speed[i] * n / FPS, y[i], height[i]) for i in range(people)]
        boxes = np.array(rows) + generator.normal(0, noise, (people, 4)) * height[:, None]
        keep = generator.random(people) >= drop
        extra = np.array([person(*generator.uniform(0, 600, 2), 50)])
        boxes = np.round(np.concatenate([boxes[keep], extra]) * 8) / 8
        scores = np.round(generator.uniform(0.1, 0.95, len(boxes)), 3)
        out.append(seen(*boxes, scores=scores))
    return out


# -- properties ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_ids_are_unique_and_never_used_again(seed):
    settings_ = TrackerSettings(memory_s=0.2)
    gone, before = set(), set()
    for tracks in follow(Tracker(settings_), crowd(seed, frames=20, drop=0.4)):
        now = [t.id for t in tracks]
        assert len(set(now)) == len(now) and now == sorted(now)
        taken = [t.detection for t in tracks if t.detection is not None]
        assert len(set(taken)) == len(taken)
        gone |= before - set(now)
        assert not gone & set(now)
        before = set(now)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_the_order_of_detections_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    one, other = Tracker(), Tracker()
    for n, found in enumerate(crowd(seed)):
        order = generator.permutation(len(found))
        embeddings = generator.normal(size=(len(found), 8)).astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        a = one.update(found, embeddings, None, n / FPS, SIZE)
        b = other.update(found[order], embeddings[order], None, n / FPS, SIZE)
        assert [(t.id, t.state, t.score) for t in a] == [(t.id, t.state, t.score) for t in b]
        np.testing.assert_allclose([t.box for t in a], [t.box for t in b], rtol=1e-5)
        assert [t.detection for t in a] == [
            None if t.detection is None else order[t.detection] for t in b
        ]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(-500, 500), st.integers(-500, 500))
def test_a_shifted_scene_gives_shifted_tracks(seed, dx, dy):
    shift = np.array([dx, dy, dx, dy], np.float32)
    frames = crowd(seed)
    here = follow(Tracker(), frames)
    there = follow(Tracker(), [Detections(d.boxes + shift, d.scores) for d in frames])
    for a, b in zip(here, there):
        assert [(t.id, t.state) for t in a] == [(t.id, t.state) for t in b]
        np.testing.assert_allclose(
            np.array([t.box for t in a]).reshape(-1, 4) + shift,
            np.array([t.box for t in b]).reshape(-1, 4),
            atol=1e-2,
        )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 2.0]))
def test_resolution_does_not_matter(seed, scale):
    frames = crowd(seed)
    here = follow(Tracker(), frames)
    there = follow(Tracker(), [Detections(d.boxes * scale, d.scores) for d in frames])
    for a, b in zip(here, there):
        assert [(t.id, t.state) for t in a] == [(t.id, t.state) for t in b]


# -- the lives of tracks -------------------------------------------------------------------------


def test_a_clear_person_is_confirmed_at_once_and_keeps_the_id():
    frames = [seen(person(100 + 4 * n)) for n in range(30)]
    for n, tracks in enumerate(follow(Tracker(), frames)):
        (track,) = tracks
        assert (track.id, track.state, track.age_frames) == (1, "confirmed", n + 1)
        assert track.detection == 0 and track.unseen_s == 0
    assert track.velocity == pytest.approx((60, 0), abs=3)
    np.testing.assert_allclose(track.box, frames[-1].boxes[0], atol=2)


def test_weak_detections_need_several_frames_and_noise_none():
    states = [t[0].state for t in follow(Tracker(), [seen(person(100), scores=[0.55])] * 10)]
    first = states.index("confirmed")
    assert 2 <= first <= 8 and states == ["tentative"] * first + ["confirmed"] * (10 - first)
    assert not follow(Tracker(), [seen(person(100), scores=[0.4])] * 10)[-1]


def test_confirmation_takes_about_the_same_time_at_any_frame_rate():
    took = []
    for fps in (10, 20, 30):
        tracker = Tracker()
        for n in range(60):
            if (
                tracker.update(seen(person(100), scores=[0.55]), None, None, n / fps)[0].state
                == "confirmed"
            ):
                took.append(n / fps)
                break
    assert len(took) == 3 and max(took) - min(took) <= 0.15


def test_a_flicker_is_dropped():
    frames = [seen(person(100), scores=[0.55])] + [seen()] * 3
    assert [len(t) for t in follow(Tracker(), frames)] == [1, 0, 0, 0]


def test_lost_found_and_forgotten():
    tracker = Tracker()
    walk = [seen(person(100 + 4 * n)) for n in range(20)]
    follow(tracker, walk)
    gone = follow(tracker, [seen()] * 10, start=20)
    assert ids(gone[0], "lost") == [1] and gone[0][0].detection is None
    assert gone[-1][0].unseen_s == pytest.approx(10 / FPS)
    predicted = person(100 + 4 * 29)
    np.testing.assert_allclose(gone[-1][0].box, predicted, atol=10)
    again = follow(tracker, [seen(person(100 + 4 * 30))], start=30)
    assert ids(again[0]) == [1]
    assert ids(follow(tracker, [seen()] * 31, start=31)[-1], "lost") == []


def test_one_missed_frame_at_25_fps_is_bridged():
    tracker = Tracker()
    for n in range(10):
        tracker.update(seen(person(100)), None, None, n / 25)
    (track,) = tracker.update(seen(), None, None, 10 / 25)
    assert track.state == "confirmed" and track.detection is None
    (track,) = tracker.update(seen(), None, None, 11 / 25)
    assert track.state == "lost"


def test_low_scores_continue_a_track_but_do_not_keep_it_confirmed():
    tracker = Tracker()
    follow(tracker, [seen(person(100))] * 5)
    weak = follow(tracker, [seen(person(100), scores=[0.2])] * 12, start=5)
    assert [t[0].id for t in weak] == [1] * 12 and all(t[0].detection == 0 for t in weak)
    assert weak[0][0].state == "confirmed" and weak[-1][0].state == "tentative"
    assert ids(follow(tracker, [seen(person(100))] * 6, start=17)[-1]) == [1]


def test_a_second_box_on_a_person_is_not_a_second_person():
    """The same score beside the person and on the person; only beside is it somebody."""
    shifted = np.array(person(100)) + [0, 0, 0, -50]
    on = follow(Tracker(), [seen(person(100), shifted, scores=[0.9, 0.55])] * 8)[-1]
    beside = follow(Tracker(), [seen(person(100), person(300), scores=[0.9, 0.55])] * 8)[-1]
    assert len(ids(on)) == 1 and len(ids(beside)) == 2


def test_wide_boxes_start_nothing():
    assert not follow(Tracker(), [seen([100, 100, 300, 200])] * 5)[-1]


def test_crossing_people_keep_their_ids():
    """Equal people walk through each other; the one behind is hidden for a while."""
    tracker = Tracker()
    ends = None
    for n in range(60):
        left, right = 100 + 5 * n, 400 - 5 * n
        boxes = [person(left)] if abs(left - right) < 40 else [person(left), person(right)]
        tracks = tracker.update(seen(*boxes), None, None, n / FPS)
        if n == 10:
            starts = {t.id: t.box[0] for t in tracks}
        ends = {t.id: t.box[0] for t in tracks if t.state == "confirmed"}
    assert set(starts) == set(ends) and len(ends) == 2
    first, second = sorted(starts)
    assert (starts[first] < starts[second]) != (ends[first] < ends[second])


def test_nobody_of_another_height_continues_a_lost_track():
    tracker = Tracker()
    follow(tracker, [seen(person(100, height=120))] * 8)
    follow(tracker, [seen()] * 4, start=8)
    tracks = follow(tracker, [seen(person(100, height=180))], start=12)[0]
    assert ids(tracks, "lost") == [1] and ids(tracks) == [2]


# -- camera, frame and appearance ----------------------------------------------------------------


def test_the_camera_moves_faster_than_people():
    """The camera jumps by a person's width per frame, to and fro."""
    still, told = Tracker(), Tracker()
    shifts = [0.0] + [60.0 * (-1) ** (n // 3) for n in range(20)]
    x = 300 + np.cumsum(shifts)
    for n, at in enumerate(x):
        motion = np.array([[1, 0, shifts[n]], [0, 1, 0.0]])
        a = told.update(seen(person(at)), None, motion, n / FPS)
        still.update(seen(person(at)), None, None, n / FPS)
        assert [t.id for t in a] == [1]
    assert abs(a[0].velocity[0]) < 10
    assert max(t.id for t in still.update(seen(person(x[-1])), None, None, 3.0)) > 1


def test_who_leaves_the_view_is_cut_by_the_edge_and_then_not_confirmed():
    tracker = Tracker()
    states = []
    for n in range(20):
        left, top, right, bottom = person(560 + 6 * n)
        box = [left, top, min(right, 640), bottom]
        if box[2] - box[0] > 4:
            (track,) = tracker.update(seen(box), None, None, n / FPS, SIZE)
            assert track.id == 1 and track.box[2] <= 640
            states.append(track.state)
    assert states[0] == "confirmed" and states[-1] == "tentative"
    assert track.velocity[0] == pytest.approx(90, abs=15)  # not slowed down by the edge


def unit(*rows):
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_appearance_decides_between_two_places():
    """Two people stand close; while nobody looks they change places."""
    a, b = person(300), person(320)
    looks = unit([1, 0.1, 0], [0, 0.1, 1])
    for weight, swapped in ((0.0, False), (2.0, True)):
        tracker = Tracker(TrackerSettings(appearance_weight=weight))
        follow(tracker, [seen(a, b)] * 5, [looks] * 5)
        after = follow(tracker, [seen(a, b)], [looks[::-1]], start=5)[0]
        assert [t.detection for t in after] == ([1, 0] if swapped else [0, 1])


def test_appearance_finds_who_comes_out_elsewhere():
    look, other = unit([1, 0, 0]), unit([0, 0, 1])
    hidden = person(100), person(135)  # less than min_iou_lost, within reach
    for embedding, expected in ((look, [1]), (other, [2])):
        tracker = Tracker(TrackerSettings(min_iou_lost=0.4))
        follow(tracker, [seen(hidden[0])] * 8, [look] * 8)
        follow(tracker, [seen()] * 8, start=8)
        tracks = follow(tracker, [seen(hidden[1])], [embedding], start=16)[0]
        assert ids(tracks) == expected


def test_embeddings_are_remembered_and_may_be_missing():
    tracker = Tracker()
    none = np.full((1, 3), np.nan, np.float32)
    (track,) = tracker.update(seen(person(100)), None, None, 0.0)
    assert track.embedding is None
    (track,) = tracker.update(seen(person(100)), none, None, 0.1)
    assert track.embedding is None
    look = unit([3, 4, 0])
    (track,) = tracker.update(seen(person(100)), look, None, 0.2)
    np.testing.assert_allclose(track.embedding, look[0])
    (track,) = tracker.update(seen(person(100)), unit([0, 0, 1]), None, 0.3)
    expected = 0.9 * look[0] + 0.1 * np.array([0, 0, 1])
    np.testing.assert_allclose(track.embedding, expected / np.linalg.norm(expected), rtol=1e-5)
    (track,) = tracker.update(seen(person(100)), None, None, 0.4)
    assert track.embedding is not None
    assert len(tracker.update(seen(person(100), person(300)), None, None, 0.5)) == 2


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [([np.nan, 0, 10, 50], 0.9), ([0, 0, 10, 50], np.nan)])
def test_nan_is_refused(row):
    box, score = row
    with pytest.raises(ReidEdgeError):
        Tracker().update(seen(box, scores=[score]), None, None, 0.0)


def test_bad_arguments():
    tracker = Tracker()
    found = seen(person(100))
    for embeddings in (np.zeros((2, 3)), np.zeros(3), np.array([[np.nan, 1, 0]]), [[np.inf, 0, 0]]):
        with pytest.raises(ReidEdgeError, match="mbedding"):
            tracker.update(found, embeddings, None, 0.0)
    for motion in (np.eye(3), np.full((2, 3), np.nan)):
        with pytest.raises(ReidEdgeError, match="motion"):
            tracker.update(found, None, motion, 0.0)
    with pytest.raises(ReidEdgeError, match="time"):
        tracker.update(found, None, None, float("nan"))
    tracker.update(found, unit([1, 0, 0]), None, 1.0)
    with pytest.raises(ReidEdgeError, match="had 3 numbers and now have 2"):
        tracker.update(found, unit([1, 0]), None, 1.1)
    with pytest.raises(ReidEdgeError, match="order of their times"):
        tracker.update(found, None, None, 0.5)


def test_a_box_without_area_is_nobody():
    assert Tracker().update(seen([10, 10, 10, 90]), None, None, 0.0) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"min_iou": 1.5},
        {"memory_s": -1},
        {"correlation_s": 0},
        {"high_score": 0.9},
        {"low_score": 0},
        {"reject_evidence": 0.1},
        {"max_height_ratio": 0.9},
        {"coast_s": float("nan")},
    ],
)
def test_bad_settings(bad):
    with pytest.raises(ReidEdgeError):
        TrackerSettings(**bad)


def test_every_setting_is_described():
    for field in dataclasses.fields(TrackerSettings):
        assert "        %s: " % field.name in TrackerSettings.__doc__
