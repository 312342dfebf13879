"""Views and distances of people who walk past a pinhole camera, by hand and on a real sequence."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.camera_motion import CameraMotion
from runtime.errors import ReidEdgeError
from runtime.mot_format import read_mot
from runtime.preprocess import read_image
from runtime.view import FRONT, REAR, SIDE, Views, distance

SIZE = (480, 640)
STILL = np.eye(2, 3)


def seen(across, ahead):
    """The box of a person, in heights of the person beside and before a camera of 53 degrees."""
    height = SIZE[1] / ahead
    x = SIZE[1] / 2 + across * height
    return [x - height / 5, 240 - height / 2, x + height / 5, 240 + height / 2]


def walk(way, seconds, step_s=0.1, views=None, motion=STILL):
    """The last view of a person whose (across, ahead) at each time is known."""
    views = views or Views()
    view = None
    for n in range(round(seconds / step_s) + 1):
        ((view, _),) = views.update([7], [seen(*way(n * step_s))], motion, SIZE, n * step_s)
    return view


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (lambda t: (0, 6 - 0.8 * t), FRONT),  # comes nearer
        (lambda t: (0, 6 + 0.8 * t), REAR),  # walks away
        (lambda t: (0, 5), REAR),  # keeps its distance from a camera that follows
        (lambda t: (-1 + 0.8 * t, 5), SIDE),  # walks across
        (lambda t: (1 - 0.8 * t, 5), SIDE),
        (lambda t: (0, 6 - 0.3 * t), REAR),  # too slow to tell
        (lambda t: (0.2 * t, 5), REAR),
        (lambda t: (-1 + 0.6 * t, 8 - 0.9 * t), FRONT),  # more towards than across
        (lambda t: (-1 + 0.9 * t, 8 - 0.6 * t), SIDE),
        (lambda t: (-1 + 0.6 * t, 6 + 0.9 * t), REAR),  # more away than across
    ],
)
def test_where_somebody_walks_says_which_side_is_seen(way, expected):
    assert walk(way, 2.0) == expected


def test_who_turns_is_seen_from_another_side():
    def way(t):
        return (0.8 * t, 5) if t < 2 else (1.6, 5 - 0.8 * (t - 2))

    views = Views()
    times = np.arange(41) / 10
    said = [views.update([1], [seen(*way(t))], STILL, SIZE, t)[0][0] for t in times]
    assert said[0] == REAR and said[20] == SIDE and said[40] == FRONT


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.1, 0.2])
def test_speed_is_smoothed_alike_at_any_frame_rate(step_s):
    # A speed of 0.6 reaches the limit of 0.3 after ln 2 time constants.
    views, crossed_s = Views(smoothing_s=0.7, crossing=0.3), None
    for n in range(60):
        time_s = n * step_s
        if views.update([1], [seen(0.6 * time_s, 5)], STILL, SIZE, time_s)[0][0] == SIDE:
            crossed_s = time_s
            break
    assert crossed_s is not None
    assert 0 <= crossed_s - 0.7 * math.log(2) <= step_s + 1e-9


def test_motion_is_that_against_the_background():
    pan = np.array([[1, 0, -48.0], [0, 1, 0]])  # the camera turns right by 48 pixels a frame
    # Somebody who stands glides to the left, ...
    assert walk(lambda t: (3 - 3.75 * t, 5), 1.5, motion=pan) == REAR
    # ... and who stays in the middle of a camera that turns walks across.
    assert walk(lambda t: (0, 5), 1.5, motion=pan) == SIDE
    assert walk(lambda t: (3 - 3.75 * t, 5), 1.5) == SIDE


@settings(deadline=None, max_examples=50)
@given(
    st.floats(-0.05, 0.05),
    st.floats(0.97, 1.03),
    st.floats(-60, 60),
    st.floats(-60, 60),
    st.floats(50, 590),
    st.floats(50, 430),
)
def test_who_moves_with_the_background_does_not_cross(turn, scale, dx, dy, x, y):
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    motion = np.array([[c, -s, dx], [s, c, dy]])
    views, place = Views(), np.array([x, y])
    for n in range(20):
        box = [place[0] - 20, place[1] - 50, place[0] + 20, place[1] + 50]
        assert views.update([1], [box], motion if n else STILL, SIZE, n / 10)[0][0] == REAR
        place = motion[:, :2] @ place + motion[:, 2]


def test_tracks_do_not_mix():
    ways = {1: lambda t: (0, 6 - 0.8 * t), 2: lambda t: (0.8 * t, 5), 3: lambda t: (0, 4)}
    alone = [walk(way, 2.0) for way in ways.values()]
    for order in itertools.permutations(ways):
        views = Views()
        for n in range(21):
            boxes = [seen(*ways[track](n / 10)) for track in order]
            found = views.update(order, boxes, STILL, SIZE, n / 10)
        assert [dict(zip(order, found))[track][0] for track in ways] == alone


def test_the_same_moment_again_changes_nothing():
    views = Views()
    assert walk(lambda t: (0.8 * t, 5), 2.0, views=views) == SIDE
    for _ in range(3):
        assert views.update([7], [seen(1.6, 5)], STILL, SIZE, 2.0)[0][0] == SIDE


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize(("gone_s", "expected"), [(1.9, SIDE), (2.1, REAR)])
def test_who_was_gone_for_long_starts_anew(others, gone_s, expected):
    # Whether frames without the track come in between (others) or none at all.
    views = Views(forget_s=2.0)
    walk(lambda t: (0.8 * t, 5), 2.0, views=views)
    if others:
        for time_s in np.arange(2.05, 2 + gone_s, 0.05):
            views.update([8], [seen(0, 3)], STILL, SIZE, time_s)
    back = views.update([7], [seen(1.6 + 0.8 * gone_s, 5)], STILL, SIZE, 2 + gone_s)
    assert back[0][0] == expected


def test_nobody_is_forgotten_too():
    views = Views(forget_s=2.0)
    walk(lambda t: (0.8 * t, 5), 2.0, views=views)
    assert views.update([], np.empty((0, 4)), STILL, SIZE, 4.1) == []
    assert len(views._tracks) == 0  # memory does not grow with the number of tracks ever seen


@pytest.mark.parametrize(
    ("height", "bucket"),
    [(700, 0), (336, 0), (335, 1), (168, 1), (167, 2), (84, 2), (83, 3), (42, 3), (1, 9), (0, 9)],
)
def test_distance_by_hand(height, bucket):
    assert distance(height, SIZE) == bucket
    assert Views().update([1], [[0, 0, 50, height]], STILL, SIZE, 0.0) == [(REAR, bucket)]


@given(st.floats(2, 168), st.integers(100, 4000))
def test_who_is_twice_as_far_is_in_the_next_bucket(height, frame_height):
    near, far = (distance(h, (frame_height, 640)) for h in (height, height / 2))
    assert far - near == 1 or near == 0
    assert near >= 0


@pytest.mark.parametrize("name", ["smoothing_s", "oncoming", "crossing", "forget_s"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ReidEdgeError, match="forget_s above 0, got .*%s" % value):
        Views(**{name: value})


def test_boxes_and_tracks_must_fit():
    with pytest.raises(ReidEdgeError, match="got 1 boxes of 2 tracks"):
        Views().update([1, 2], [[0, 0, 5, 9]], STILL, SIZE, 0.0)


def test_who_is_followed_and_who_comes_towards_the_camera(shared):
    """ETH-Sunnyday: 4 and 5 walk in front of the camera, 8 gets smaller, everybody else meets it."""
    folder = shared / "video" / "ETH-Sunnyday"
    truth = read_mot(folder / "gt" / "gt.txt")
    views, camera, before = Views(), CameraMotion(), np.empty((0, 4))
    said = {}
    for frame in range(1, 201):
        rows = truth.at(frame)
        motion = camera.update(read_image(folder / "img1" / ("%06d.jpg" % frame)), before)
        before = rows.boxes
        buckets = views.update(rows.id.tolist(), rows.boxes, motion, SIZE, frame / 14)
        for person, (view, _) in zip(rows.id.tolist(), buckets):
            said.setdefault(person, Counter())[view] += 1
    assert said[4] == said[5] == {REAR: 200}
    met = sum((said[person] for person in said if person not in (4, 5, 8)), Counter())
    assert met[FRONT] > 0.85 * sum(met.values()) and met[SIDE] == 0
