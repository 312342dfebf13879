"""Camera motion on pictures whose motion is known."""

import cv2
import numpy as np
import pytest

from runtime.camera_motion import CameraMotion
from runtime.errors import ReidEdgeError

HEIGHT, WIDTH = 480, 640


def scene(seed=0):
    noise = (
        np.random.RandomState(seed).randint(0, 256, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
    )
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def moved(image, motion):
    return cv2.warpAffine(image, motion, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)


def similarity(angle, scale, dx, dy):
    motion = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, scale)
    motion[:, 2] += dx, dy
    return motion


CORNERS = np.array([[50, 50, 1], [600, 60, 1], [60, 430, 1], [590, 420, 1]]).T


@pytest.mark.parametrize("truth", [(0, 1, 0, 0), (0, 1, 14, -9), (2, 1, -5, 3), (0, 1.03, 0, 6)])
def test_known_motion(truth):
    camera = CameraMotion()
    motion = similarity(*truth)
    assert (camera.update(scene()) == np.eye(2, 3)).all() and not camera.report.reliable
    found = camera.update(moved(scene(), motion))
    assert camera.report.reliable and camera.report.took_s > 0
    np.testing.assert_allclose(found @ CORNERS, motion @ CORNERS, atol=1.0)


def test_grey_and_colour_agree():
    colour, grey = CameraMotion(), CameraMotion()
    for image in (scene(), moved(scene(), similarity(0, 1, 6, 4))):
        a, b = colour.update(image), grey.update(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    np.testing.assert_allclose(a, b)


def test_people_do_not_count():
    """A person over half the picture walks; the wall behind stands still."""
    wall, person = scene(), scene(1)
    box = np.array([[40, 20, 460, 470]])
    frames = []
    for step in (0, 12):
        frame = wall.copy()
        frame[20:470, 40 + step : 460 + step] = person[20:470, 40:460]
        frames.append(frame)
    masked = CameraMotion()
    masked.update(frames[0])
    np.testing.assert_allclose(masked.update(frames[1], box)[:, 2], 0, atol=0.5)
    fooled = CameraMotion()
    fooled.update(frames[0])
    assert abs(fooled.update(frames[1])[0] @ [250, 240, 1] - 262) < 1


def test_another_frame_size_starts_anew():
    camera = CameraMotion()
    camera.update(scene())
    small = cv2.resize(scene(), (320, 240))
    assert (camera.update(small) == np.eye(2, 3)).all() and not camera.report.reliable
    camera.update(small)
    assert camera.report.reliable


def test_nothing_to_follow():
    camera = CameraMotion()
    for _ in range(2):
        motion = camera.update(np.full((HEIGHT, WIDTH), 90, np.uint8))
    assert (motion == np.eye(2, 3)).all() and not camera.report.reliable
    camera.update(scene())
    camera.update(scene(5))  # a cut: nothing agrees
    assert not camera.report.reliable


def test_bad_input():
    with pytest.raises(ReidEdgeError, match="uint8"):
        CameraMotion().update(np.zeros((4, 4), np.float32))
    with pytest.raises(ReidEdgeError, match="corners"):
        CameraMotion(corners=2)


def test_memory_of_the_caller_is_not_kept():
    camera, frame = CameraMotion(width_px=640), cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)
    camera.update(frame)
    frame[:] = moved(frame, similarity(0, 1, 8, 0))
    np.testing.assert_allclose(camera.update(frame)[:, 2], [8, 0], atol=0.5)
