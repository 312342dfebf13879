"""Kalman filters of boxes."""

import numpy as np
import pytest

from runtime import kalman
from runtime.errors import ReidEdgeError
from runtime.kalman import MotionNoise

EXACT = MotionNoise(wander=(0, 0), acceleration=(0, 0))
BOX = np.array([[100.0, 50, 140, 150]])


def started(boxes=BOX, noise=EXACT):
    return kalman.start(boxes, np.full((len(boxes), 4), 4.0), noise)


def test_boxes_and_states_are_the_same_box():
    mean, _ = started()
    np.testing.assert_allclose(mean[0, 0], [120, 100, 40, 100])
    np.testing.assert_allclose(kalman.corners(mean), BOX)


def test_prediction_at_constant_velocity_is_exact():
    mean, cov = started()
    mean[0, 1] = [30, -10, 2, 5]
    for dt_s in (0.1, 0.25, 0.4):
        kalman.predict(mean, cov, dt_s, MotionNoise())
    np.testing.assert_allclose(mean[0, 0], [120 + 22.5, 100 - 7.5, 40 + 1.5, 100 + 3.75])


def test_prediction_does_not_depend_on_the_number_of_steps():
    noise = MotionNoise(wander=(0.1, 0.1), acceleration=(0.2, 0.2))
    once, many = started(noise=noise), started(noise=noise)
    kalman.predict(*once, 1.0, noise)
    for _ in range(10):
        kalman.predict(*many, 0.1, noise)
    np.testing.assert_allclose(once[0], many[0])
    np.testing.assert_allclose(once[1], many[1], rtol=1e-9)


def test_one_axis_follows_the_textbook():
    """Against the matrix form, Joseph-free, of the same filter for the height."""
    noise = MotionNoise()
    mean, cov = started(noise=noise)
    x = np.array([100.0, 0.0])
    p = np.diag([16.0, (100 * noise.start_velocity[1]) ** 2])
    for dt, z in ((0.1, 103.0), (0.2, 99.0), (0.1, 110.0)):
        height = x[0]
        f = np.array([[1, dt], [0, 1]])
        q = (noise.acceleration[1] * height) ** 2 * np.array(
            [[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]
        )
        q[0, 0] += (noise.wander[1] * height) ** 2 * dt
        x, p = f @ x, f @ p @ f.T + q
        kalman.predict(mean, cov, dt, noise)
        s = p[0, 0] + 3.0**2
        gain = p[:, 0] / s
        x, p = x + gain * (z - x[0]), p - np.outer(gain, p[0])
        box = np.array([[100.0, 100 - z / 2, 140, 100 + z / 2]])
        kalman.correct(mean, cov, np.array([0]), box, np.full((1, 4), 3.0))
        np.testing.assert_allclose(mean[0, :, 3], x)
        np.testing.assert_allclose(cov[0, :, 3], [p[0, 0], p[0, 1], p[1, 1]])


def test_velocity_is_learnt():
    mean, cov = started()
    for step in range(1, 40):
        kalman.predict(mean, cov, 0.1, EXACT)
        moved = BOX + [3.0 * step, 0, 3.0 * step, 0]
        kalman.correct(mean, cov, np.array([0]), moved, np.full((1, 4), 1.0))
    np.testing.assert_allclose(mean[0, 1], [30, 0, 0, 0], atol=0.1)


def test_the_camera_moves_boxes_and_velocities():
    mean, cov = started()
    mean[0, 1] = [10, 0, 0, 4]
    quarter = np.array([[0, -2.0, 7], [2.0, 0, 5]])  # a quarter turn, twice as large
    kalman.move_camera(mean, cov, quarter)
    np.testing.assert_allclose(mean[0, 0], [-200 + 7, 240 + 5, 80, 200])
    np.testing.assert_allclose(mean[0, 1], [0, 20, 0, 8], atol=1e-12)
    np.testing.assert_allclose(cov[0, 0], 4 * 16.0)


def test_worse_detections_have_more_noise():
    noise = MotionNoise(score_factor=2, overlap_factor=5, measured=(0.1, 0.2))
    deviation = kalman.measurement_deviation(
        np.array([100.0, 100, 50]), np.array([1.0, 0.5, 1]), np.array([0, 0, 0.2]), noise
    )
    np.testing.assert_allclose(deviation[:, 0], [10, 20, 10])
    np.testing.assert_allclose(deviation[:, 3], [20, 40, 20])


@pytest.mark.parametrize(
    "bad", [{"measured": (0.0, 0.1)}, {"wander": (-1, 0)}, {"overlap_factor": -1}]
)
def test_bad_noise(bad):
    with pytest.raises(ReidEdgeError, match="noise"):
        MotionNoise(**bad)
