"""Scene cuts in composed pictures, by hand, and on real sequences with frames left out."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.camera_motion import CameraMotion
from runtime.errors import ReidEdgeError
from runtime.mot_format import read_mot
from runtime.preprocess import read_image
from runtime.scene_cut import SceneCut

STILL = np.eye(2, 3)


def street(seed, size=(480, 640)):
    """A picture with detail of several sizes, (H, W, 3) uint8."""
    rng = np.random.RandomState(seed)
    parts = [
        cv2.resize(rng.uniform(0, 85, (n, n, 3)), size[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (4, 9, 20)
    ]
    return np.clip(sum(parts), 0, 255).astype(np.uint8)


def compared(before, now, motion=STILL, boxes=None):
    """The correlation of two frames."""
    cut = SceneCut()
    assert cut.update(before, STILL) is False
    assert cut.update(now, motion, boxes) is (cut.correlation < 0.93)
    return cut.correlation


def test_correlation_is_that_of_small_grey_pictures():
    a, b = street(0), cv2.addWeighted(street(0), 0.6, street(1), 0.4, 0)
    grey = [f @ np.array([0.114, 0.587, 0.299]) for f in (a, b)]
    small = [g.reshape(60, 8, 80, 8).mean(axis=(1, 3)).ravel() for g in grey]
    assert compared(a, b) == pytest.approx(np.corrcoef(small)[0, 1], abs=0.002)
    assert compared(a, a) == pytest.approx(1.0)
    assert compared(a, 255 - a) == pytest.approx(-1.0, abs=0.001)


def test_another_picture_is_a_cut_and_a_change_of_light_is_none():
    assert compared(street(0), street(1)) < 0.6
    assert compared(street(0), (street(0) * 0.5 + 20).astype(np.uint8)) > 0.99


@pytest.mark.parametrize("size", [(480, 640), (360, 640), (241, 333)])
def test_a_camera_that_moves_is_no_cut(size):
    # A turn about the frame's middle, nearer, and aside; height and width shrink differently.
    height, width = size
    motion = cv2.getRotationMatrix2D((width / 2, height / 2), 6, 1.05) + np.array([[0, 0, 9.0]])
    large = street(3, (height + 200, width + 200))
    shift = np.array([[1, 0, -100.0], [0, 1, -100]])
    back = np.vstack([motion, [0, 0, 1]]) @ np.vstack([shift, [0, 0, 1]])
    before = cv2.warpAffine(large, shift, (width, height))
    now = cv2.warpAffine(large, back[:2], (width, height))
    known, unknown = compared(before, now, motion), compared(before, now)
    assert known > 0.985 and unknown < known - 0.05
    wrong = np.linalg.inv(np.vstack([motion, [0, 0, 1]]))[:2]
    assert compared(before, now, wrong) < unknown


def test_people_who_move_by_themselves_do_not_count():
    before, box = street(0), [200, 90, 360, 470]
    now = before.copy()
    now[90:470, 200:360] = street(1)[90:470, 200:360]
    assert compared(before, now, boxes=np.array([box])) == pytest.approx(1.0)
    assert compared(before, now) < 0.97
    # Boxes may reach beyond the frame, lie outside or have no area.
    beyond = np.array([box, [-90, -50, -20, -10], [700, 500, 800, 900], [50, 60, 50, 90]])
    assert compared(before, now, boxes=beyond) == pytest.approx(1.0)
    assert compared(before, street(1), boxes=beyond[1:]) < 0.7
    whole_left = now.copy()
    whole_left[:, :200] = street(2)[:, :200]
    left = np.array([box, [-80.0, -40, 200.5, 600]])
    assert compared(before, whole_left, boxes=left) == pytest.approx(1.0)


def test_too_little_background_tells_nothing():
    before, now = street(0), street(1)
    assert compared(before, now, boxes=np.array([[0, 0, 640, 400]])) == 1.0
    assert compared(before, now, boxes=np.array([[0, 0, 640, 360]])) < 0.7


def test_a_covered_lens_continues_nothing():
    cut = SceneCut()
    dark = np.full((480, 640, 3), 17, np.uint8)
    said = [cut.update(frame, STILL) for frame in (street(0), dark, dark, street(0), street(0))]
    assert said == [False, True, True, True, False]
    # Nor does the noise of its sensor, were it twice the same.
    grainy = dark + np.random.RandomState(0).randint(0, 4, dark.shape).astype(np.uint8)
    assert compared(grainy, grainy) == 0.0


def test_a_frame_of_another_size_is_a_cut():
    cut = SceneCut()
    cut.update(street(0), STILL)
    assert cut.update(street(0, (240, 320)), STILL) is True and cut.correlation == 0.0
    assert cut.update(street(0, (240, 320)), STILL) is False
    assert cut.update(street(0), STILL) is True


@settings(deadline=None, max_examples=20)
@given(st.integers(40, 700), st.integers(50, 900), st.booleans())
def test_frames_of_any_size_grey_or_not(height, width, colour):
    frame = street(5, (height, width)) if colour else street(5, (height, width))[:, :, 1]
    assert compared(frame, frame.copy()) == pytest.approx(1.0)


def test_the_frames_memory_may_be_used_again():
    cut, frame = SceneCut(), street(0)
    cut.update(frame, STILL)
    frame[:] = street(1)
    assert cut.update(frame, STILL) is True


@pytest.mark.parametrize("limit", [-1, 0, 0.5, 1])
def test_the_limit_decides(limit):
    cut = SceneCut(limit)
    a, b = street(0), cv2.addWeighted(street(0), 0.5, street(1), 0.5, 0)
    cut.update(a, STILL)
    assert cut.update(b, STILL) is (cut.correlation < limit)


@pytest.mark.parametrize("limit", [-1.1, 2, math.nan])
def test_bad_limits_are_refused(limit):
    with pytest.raises(ReidEdgeError, match="from -1 to 1, got %r" % limit):
        SceneCut(limit)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 9, 3), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9), np.float32),
        np.zeros(9, np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ReidEdgeError, match="got shape .* dtype %s" % frame.dtype):
        SceneCut().update(frame, STILL)


# -- what the module says of real sequences ------------------------------------------------------


@pytest.fixture(scope="module")
def sequence(shared):
    """Reader of a sequence: its frames, and the boxes found on each."""

    def read(name):
        folder = shared / "video" / name
        found = read_mot(folder / "det" / "yolox_nano.txt")
        frames = [read_image(path) for path in sorted((folder / "img1").iterdir())]
        return frames, [found.at(i + 1).boxes for i in range(len(frames))]

    return read


def correlations(frames, boxes, missing, step):
    """With ``missing`` frames left out between two, from every ``step``-th place."""
    measured = []
    for before in range(0, len(frames) - missing - 1, step):
        now = before + missing + 1
        camera, cut = CameraMotion(), SceneCut()
        camera.update(frames[before])
        cut.update(frames[before], STILL)
        motion = camera.update(frames[now], boxes[before])
        cut.update(frames[now], motion, np.vstack([boxes[before], boxes[now]]))
        measured.append(cut.correlation)
    return np.array(measured)


def test_missing_frames_of_a_walking_camera(sequence):
    frames, boxes = sequence("ETH-Sunnyday")
    assert correlations(frames, boxes, 0, 1).min() >= 0.97
    one = correlations(frames, boxes, 1, 3)
    assert (one < 0.93).mean() < 0.05
    five = correlations(frames, boxes, 5, 3)
    assert np.median(five) == pytest.approx(0.87, abs=0.015) and (five < 0.93).mean() >= 0.95
    assert correlations(frames, boxes, 30, 3).max() < 0.75


def test_a_standing_camera_sees_no_cut(sequence):
    frames, boxes = sequence("TUD-Stadtmitte")
    assert correlations(frames, boxes, 30, 5).min() >= 0.975
