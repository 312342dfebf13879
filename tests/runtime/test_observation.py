"""What is taken from a frame's pixels."""

import time

import numpy as np
import pytest

from runtime.camera_motion import CameraMotion
from runtime.crop_quality import assess
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.observation import Observer, timed
from tests.runtime.drawn import draw, found, person, street

NOBODY = np.empty((0, 4))
STREET = street()


def test_what_was_seen_of_a_frame():
    picture = draw(STREET, {"red": person(100), "blue": person(120, 210)})
    boxes = found([person(100), person(120, 210)])
    took_ms = {}
    seen = Observer().look(picture, 2.5, boxes, NOBODY, took_ms)
    assert (seen.time_s, seen.frame_size, seen.cut) == (2.5, (240, 320), False)
    assert seen.detections is boxes
    np.testing.assert_array_equal(seen.motion, np.eye(2, 3))
    expected = assess(picture, boxes.boxes)
    np.testing.assert_array_equal(seen.crops.quality, expected.quality)
    assert seen.crops.rivals == [(1,), (0,)] and seen.crops.behind.tolist() == [True, False]
    assert set(took_ms) == {"motion", "quality"} and min(took_ms.values()) > 0


def test_an_uncertain_detection_covers_nobody():
    boxes = np.array([person(100), person(120, 210)], np.float32)
    seen = Observer().look(STREET, 0.0, Detections(boxes, np.array([0.9, 0.39])), NOBODY, {})
    assert seen.crops.overlap[0] == 0
    seen = Observer().look(STREET, 0.0, Detections(boxes, np.array([0.9, 0.41])), NOBODY, {})
    assert seen.crops.overlap[0] > 0.2


def test_the_detector_is_asked_and_timed():
    def detect(picture):
        time.sleep(0.01)
        return found([person(50)])

    took_ms = {"detect": 1.0}
    seen = Observer(detect).look(STREET, 0.0, None, NOBODY, took_ms)
    assert len(seen.detections) == 1 and took_ms["detect"] >= 11
    given = Detections.empty()
    assert Observer(detect).look(STREET, 0.0, given, NOBODY, {}).detections is given
    with pytest.raises(ReidEdgeError, match="Give a detector to Perception or detections"):
        Observer().look(STREET, 0.0, None, NOBODY, {})


def test_the_camera_moves_and_people_do_not_count():
    wide = street(3, (240, 400))
    observer = Observer()
    before = np.empty((0, 4))
    for step in range(4):
        # The camera turns right by 6 px a frame while somebody walks left through the picture.
        walker = person(250 - 20 * step)
        picture = draw(np.ascontiguousarray(wide[:, 6 * step : 6 * step + 320]), {"red": walker})
        seen = observer.look(picture, step / 10, found([walker]), before, {})
        before = seen.detections.boxes
        if step:
            np.testing.assert_allclose(seen.motion, [[1, 0, -6], [0, 1, 0]], atol=0.3)
            assert not seen.cut


def test_another_street_is_a_cut():
    observer = Observer(motion=CameraMotion())
    observer.look(STREET, 0.0, Detections.empty(), NOBODY, {})
    assert not observer.look(STREET, 0.1, Detections.empty(), NOBODY, {}).cut
    assert observer.look(street(5), 0.2, Detections.empty(), NOBODY, {}).cut
    small = observer.look(street(5, (120, 160)), 0.3, Detections.empty(), NOBODY, {})
    assert small.cut and small.frame_size == (120, 160)
    np.testing.assert_array_equal(small.motion, np.eye(2, 3))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((240, 320), np.uint8),
        np.zeros((240, 320, 4), np.uint8),
        np.zeros((240, 320, 3), np.float32),
        np.zeros((0, 320, 3), np.uint8),
    ],
)
def test_what_is_no_frame(frame):
    with pytest.raises(ReidEdgeError, match=r"must be a non-empty .* uint8 BGR image, got shape"):
        Observer().look(frame, 0.0, Detections.empty(), NOBODY, {})


def test_a_stage_adds_up():
    took_ms = {}
    for _ in range(2):
        with timed(took_ms, "track"):
            time.sleep(0.005)
    assert 10 <= took_ms["track"] < 1000
