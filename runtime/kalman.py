"""Kalman filters of many boxes at once: where each is, how fast it changes, how sure that is.

A box is centre x, centre y, width and height. Each of the four has a filter of its own with a
position and a velocity (nearly constant velocity: white noise in the acceleration, and in the
position itself), so that all boxes are a handful of array operations. Noise is given in box
heights: a person of 1.7 m who is 100 px high and one who is 300 px high then move alike.

A state is two arrays, changed in place:
    mean (N, 2, 4) float64: positions, velocities per second; pixels.
    cov (N, 3, 4) float64: variance of the position, covariance, variance of the velocity.
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

from runtime.errors import ReidEdgeError

_MIN_SIDE_PX = 1.0


@dataclass(frozen=True)
class MotionNoise:
    """How detected boxes err and how people move; all lengths in box heights.

    Each pair is (centre x and y, width and height).

    Attributes:
        measured: Standard deviation of a good detection. Higher: boxes are smoother and lag more.
        score_factor: A detection of score s has ``1 + score_factor * (1 - s)`` times that deviation.
        overlap_factor: And one that another person's box covers by o (IoU) ``overlap_factor * o``
            times it on top: boxes of people who stand in front of each other are torn and merged,
            and velocities learnt from them would lead astray behind the occlusion.
        wander: Random walk of the position, per square root of a second. Higher: boxes follow
            detections more closely without the velocity becoming restless.
        acceleration: Random walk of the velocity, heights per second per square root of a second.
            Higher: turns are followed sooner, predictions through an occlusion scatter more.
        start_velocity: Standard deviation of a new track's velocity, heights per second.
    """

    measured: Tuple[float, float] = (0.04, 0.05)
    score_factor: float = 2.0
    overlap_factor: float = 5.0
    wander: Tuple[float, float] = (0.05, 0.1)
    acceleration: Tuple[float, float] = (0.12, 0.1)
    start_velocity: Tuple[float, float] = (1.0, 0.3)

    def __post_init__(self):
        pairs = (self.measured, self.wander, self.acceleration, self.start_velocity)
        factors = (self.score_factor, self.overlap_factor)
        if min(self.measured) <= 0 or min(min(p) for p in pairs) < 0 or min(factors) < 0:
            raise ReidEdgeError(
                "Motion noise must not be negative, and measured must be above 0, got %s." % (self,)
            )


def start(
    boxes: np.ndarray, deviation: np.ndarray, noise: MotionNoise
) -> Tuple[np.ndarray, np.ndarray]:
    """States of boxes seen for the first time.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        deviation: (N, 4) of the measurement (``measurement_deviation``).
    """
    mean, cov = np.zeros((len(boxes), 2, 4)), np.zeros((len(boxes), 3, 4))
    mean[:, 0] = centre_size(boxes)
    cov[:, 0] = deviation**2
    cov[:, 2] = (mean[:, 0, 3:] * _four(noise.start_velocity)) ** 2
    return mean, cov


def predict(mean: np.ndarray, cov: np.ndarray, dt_s: float, noise: MotionNoise) -> None:
    """Move all states on by ``dt_s`` seconds."""
    height2 = mean[:, 0, 3:] ** 2
    walk = height2 * (_four(noise.acceleration) ** 2)
    mean[:, 0] += dt_s * mean[:, 1]
    np.maximum(mean[:, 0, 2:], _MIN_SIDE_PX, out=mean[:, 0, 2:])
    position, both, velocity = cov[:, 0], cov[:, 1], cov[:, 2]
    position += dt_s * (2 * both + dt_s * velocity) + walk * (dt_s**3 / 3)
    position += height2 * (dt_s * _four(noise.wander) ** 2)
    both += dt_s * velocity + walk * (dt_s**2 / 2)
    velocity += walk * dt_s


def move_camera(mean: np.ndarray, cov: np.ndarray, motion: np.ndarray) -> None:
    """Carry all states from the previous frame's pixels into this one's.

    Args:
        motion: (2, 3) affine map of background points. Sizes change with its scale. What a
            rotation adds to the covariance between x and y is left out: it is small, as a camera
            rolls by a few degrees at most.
    """
    turn, scale = motion[:, :2], np.sqrt(abs(np.linalg.det(motion[:, :2])))
    mean[:, :, :2] = mean[:, :, :2] @ turn.T
    mean[:, 0, :2] += motion[:, 2]
    mean[:, :, 2:] *= scale
    cov[:, :, :2] = cov[:, :, :2] @ (turn**2).T
    cov[:, :, 2:] *= scale**2


def correct(
    mean: np.ndarray, cov: np.ndarray, rows: np.ndarray, boxes: np.ndarray, deviation: np.ndarray
) -> None:
    """Correct the states of ``rows`` by measured boxes.

    Args:
        rows: (K,) integers, each state once.
        boxes: (K, 4) left, top, right, bottom.
        deviation: (K, 4) of the measurement (``measurement_deviation``).
    """
    m, c = mean[rows], cov[rows]
    position, both = c[:, 0], c[:, 1]
    sharper = 1 / (position + deviation**2)
    gain, gain_velocity = position * sharper, both * sharper
    error = centre_size(boxes) - m[:, 0]
    m[:, 0] += gain * error
    m[:, 1] += gain_velocity * error
    np.maximum(m[:, 0, 2:], _MIN_SIDE_PX, out=m[:, 0, 2:])
    c[:, 2] -= gain_velocity * both
    c[:, :2] *= (1 - gain)[:, None]
    mean[rows], cov[rows] = m, c


def measurement_deviation(
    heights: np.ndarray, scores: np.ndarray, overlaps: np.ndarray, noise: MotionNoise
) -> np.ndarray:
    """(K, 4) standard deviations, in pixels, of boxes of these heights, scores and overlaps (K,)."""
    worse = 1 + noise.score_factor * (1 - scores) + noise.overlap_factor * overlaps
    return (heights * worse)[:, None] * _four(noise.measured)


def centre_size(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom as centre x, centre y, width, height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] + size / 2, size], axis=1)


def corners(mean: np.ndarray) -> np.ndarray:
    """(N, 4) left, top, right, bottom of all states."""
    centre, half = mean[:, 0, :2], mean[:, 0, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _four(pair: Tuple[float, float]) -> np.ndarray:
    return np.array([pair[0], pair[0], pair[1], pair[1]])
