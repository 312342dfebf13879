"""The target's place and speed, filtered over time and freed from the car's own motion.

An extended Kalman filter. State: place (x, y) of the target in the car's frame and its velocity over
ground along the same axes; in these coordinates the car's own motion is a plain shift and turn, and
somebody who walks straight on has a constant velocity however the car turns. Measured are distance and
bearing (Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation",
2001, chapters 6 and 10).
"""

import math
from dataclasses import dataclass, fields
from typing import Optional, Tuple

import numpy as np

from follow_robot.motion_history import travelled
from follow_robot.target import Measurement, TargetEstimate
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError

_NEAREST_M = 0.05  # bearings of anything nearer mean nothing
_ITERATIONS = 3
_STRAIGHT = 0.05  # of the distance: for so short a correction the circle is its tangent
_LONGEST_STEP_S = 0.1  # longer predictions go in steps: the car drives an arc in between


@dataclass(frozen=True)
class TargetFilterSettings:
    """How the target moves and how far measurements are believed.

    Attributes:
        acceleration_mps: How much the target's velocity changes in a second (standard deviation of a
            random walk, after one second). Higher: starts and stops are followed sooner, the speed is
            noisier.
        start_speed_mps: Standard deviation of a new target's speed.
        fastest_mps: No estimate of the target's speed is above this.
        ego_share: Standard deviation of the car's own velocity as a share of it: slip, and commands
            that the car does not follow exactly.
        bias_share: Errors of the distance that stay the same from frame to frame, as a share of it: a
            wrong height of the person or pitch of the camera. No averaging removes them, so the
            estimate's uncertainty never falls below.
        gate_sigma: A measurement farther from the prediction than this many standard deviations does
            not correct the estimate, which becomes uncertain instead; if the next one agrees with it,
            the estimate goes there.
        forget_s: Without a measurement for longer than this there is no estimate.
    """

    acceleration_mps: float = 0.45
    start_speed_mps: float = 0.7
    fastest_mps: float = 2.5
    ego_share: float = 0.15
    bias_share: float = 0.06
    gate_sigma: float = 3.7
    forget_s: float = 2.0

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if not math.isfinite(value) or value < 0:
                raise ReidEdgeError(
                    "Filter setting %s must be a number of at least 0, got %r." % (f.name, value)
                )
        for name in ("acceleration_mps", "fastest_mps", "forget_s"):
            if getattr(self, name) == 0:
                raise ReidEdgeError("Filter setting %s must be above 0." % name)
        if self.gate_sigma < 2:
            raise ReidEdgeError(
                "Filter setting gate_sigma must be at least 2, got %g: below, good measurements would "
                "be refused." % self.gate_sigma
            )
        if max(self.ego_share, self.bias_share) >= 1:
            raise ReidEdgeError(
                "Filter settings ego_share and bias_share must be below 1, got %g and %g."
                % (self.ego_share, self.bias_share)
            )


class TargetFilter:
    """Filters one target; deterministic.

    filter = TargetFilter()
    estimate = filter.update(measure(box, ...), ego, frame.time_s)

    Args:
        settings: See TargetFilterSettings.
    """

    def __init__(self, settings: Optional[TargetFilterSettings] = None):
        self.settings = settings or TargetFilterSettings()
        self.reset()

    def reset(self) -> None:
        """Forget the target."""
        self._started = False
        self._x = np.zeros(4)  # x, y, velocity along x, along y
        self._P = np.zeros((4, 4))
        self._time_s = -math.inf
        self._seen_s = -math.inf
        self._accepted = True

    @property
    def accepted(self) -> bool:
        """Whether the newest measurement was believed."""
        return self._accepted

    def update(
        self, measurement: Optional[Measurement], ego: Velocity, time_s: float
    ) -> Optional[TargetEstimate]:
        """Go on to ``time_s`` and take in what was measured there.

        Args:
            measurement: None if the target was not seen or not measurable; then the estimate is a
                prediction and becomes less certain.
            ego: How the car moved since the last update (the mean; ``MotionHistory.mean``).
            time_s: Monotonic time of the frame; steps may vary.

        Returns:
            The estimate for ``time_s``; None before the first measurement and when the last one is
            longer ago than ``forget_s``.

        Raises:
            ReidEdgeError: Time ran backwards, or a value is not finite.
        """
        if not math.isfinite(time_s) or time_s < self._time_s:
            raise ReidEdgeError(
                "Times of the target filter must be finite and not run backwards, got %r after %r."
                % (time_s, self._time_s)
            )
        if not ego.is_finite:
            raise ReidEdgeError("The car's own velocity must be finite, got %s." % (ego,))
        if measurement is not None:
            _check(measurement)
        if self._started:
            if time_s - self._seen_s > self.settings.forget_s:
                self.reset()
            else:
                self._predict(ego, time_s - self._time_s)
        self._time_s = time_s
        if measurement is not None:
            if self._started:
                self._correct(measurement)
            else:
                self._start(measurement)
            self._seen_s = time_s
        return self._estimate(time_s) if self._started else None

    def _start(self, measured: Measurement) -> None:
        distance = max(measured.distance_m, _NEAREST_M)
        cosine, sine = math.cos(measured.bearing_rad), math.sin(measured.bearing_rad)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        across = min(measured.bearing_sigma_rad, 1.0) * distance
        self._x = np.array([distance * cosine, distance * sine, 0.0, 0.0])
        self._P = np.zeros((4, 4))
        self._P[:2, :2] = turn @ np.diag([measured.distance_sigma_m**2, across**2]) @ turn.T
        self._P[2, 2] = self._P[3, 3] = self.settings.start_speed_mps**2
        self._started = self._accepted = True

    def _predict(self, ego: Velocity, duration_s: float) -> None:
        steps = max(1, math.ceil(duration_s / _LONGEST_STEP_S))
        for _ in range(steps):
            self._step(ego, duration_s / steps)

    def _step(self, ego: Velocity, dt: float) -> None:
        s = self.settings
        moved = travelled(ego, dt)
        cosine, sine = math.cos(moved.turn_rad), math.sin(moved.turn_rad)
        turn = np.array([[cosine, sine], [-sine, cosine]])  # into the car's new frame
        walk = np.eye(4)
        walk[0, 2] = walk[1, 3] = dt
        F = np.zeros((4, 4))
        F[:2, :2] = F[2:, 2:] = turn
        F = F @ walk
        shift = np.zeros(4)
        shift[:2] = turn @ (moved.x_m, moved.y_m)
        self._x = F @ self._x - shift
        # White noise in the acceleration, the same in all directions, so it need not be turned.
        q = s.acceleration_mps**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        Q = np.kron(q, np.eye(2))
        # What the car's motion is uncertain by: along its way, and across the line of sight.
        along = np.array([moved.x_m, moved.y_m]) * s.ego_share
        across = np.array([-self._x[1], self._x[0]]) * moved.turn_rad * s.ego_share
        Q[:2, :2] += np.outer(along, along) + np.outer(across, across)
        self._P = F @ self._P @ F.T + Q

    def _correct(self, measured: Measurement) -> None:
        z = np.array([measured.distance_m, measured.bearing_rad])
        R = np.diag([measured.distance_sigma_m**2, measured.bearing_sigma_rad**2])
        predicted, H = _observed(self._x)
        error = _difference(z, predicted)
        S = H @ self._P @ H.T + R
        doubt = float(error @ np.linalg.solve(S, error)) / self.settings.gate_sigma**2
        self._accepted = doubt <= 1
        if not self._accepted:
            # One of the two is wrong. The place becomes as uncertain as they are apart, and only the
            # place: otherwise a jump, once it is believed, would be taken for a high speed.
            self._P[:2, :2] += np.eye(2) * (error[0] ** 2 + (error[1] * predicted[0]) ** 2)
            return
        # Iterated, because after doubt the way to the measurement is long and the circle around the
        # car is not its tangent.
        x = self._x
        for _ in range(_ITERATIONS):
            K = self._P @ H.T @ np.linalg.inv(H @ self._P @ H.T + R)
            x = self._x + K @ (_difference(z, predicted) - H @ (self._x - x))
            if float(np.hypot(*(x - self._x)[:2])) < _STRAIGHT * predicted[0]:
                break
            predicted, H = _observed(x)
        self._x = x
        left = np.eye(4) - K @ H
        self._P = left @ self._P @ left.T + K @ R @ K.T  # Joseph's form stays symmetric
        speed = float(np.hypot(*self._x[2:]))
        self._x[2:] *= min(1.0, self.settings.fastest_mps / max(speed, 1e-9))

    def _estimate(self, time_s: float) -> TargetEstimate:
        x, y, vx, vy = (float(v) for v in self._x)
        distance = max(math.hypot(x, y), _NEAREST_M)
        along = np.array([x, y]) / distance
        across = np.array([-y, x]) / distance
        place = self._P[:2, :2]
        spread = math.sqrt(max(float(along @ place @ along), 0.0))
        aside = math.sqrt(max(float(across @ place @ across), 0.0)) / distance
        return TargetEstimate(
            distance_m=distance,
            bearing_rad=math.atan2(y, x),
            distance_sigma_m=math.hypot(spread, self.settings.bias_share * distance),
            bearing_sigma_rad=min(aside, math.pi),
            approach_mps=-float(along @ (vx, vy)),
            seen_s=self._seen_s,
            time_s=time_s,
        )


def _observed(x: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(2,) distance and bearing of a state, and their (2, 4) derivative."""
    across, along = float(x[1]), float(x[0])
    distance = max(math.hypot(along, across), _NEAREST_M)
    H = np.zeros((2, 4))
    H[0, :2] = along / distance, across / distance
    H[1, :2] = -across / distance**2, along / distance**2
    return np.array([distance, math.atan2(across, along)]), H


def _difference(z: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    error = z - predicted
    error[1] = math.remainder(error[1], 2 * math.pi)
    return error


def _check(measured: Measurement) -> None:
    numbers = measured[:4]
    if not all(map(math.isfinite, numbers)) or measured.distance_m < 0:
        raise ReidEdgeError("A measured distance and bearing must be finite, got %s." % (measured,))
    if measured.distance_sigma_m <= 0 or measured.bearing_sigma_rad <= 0:
        raise ReidEdgeError(
            "A measurement's standard deviations must be above 0, got %s." % (measured,)
        )
