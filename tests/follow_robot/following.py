"""A point of a target, a point of a car: the smallest closed loop that a controller can be tried in."""

import math
from typing import Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from follow_robot.controller import Controller
from follow_robot.motion_history import MotionHistory
from follow_robot.target import Measurement
from follow_robot.target_filter import TargetFilter
from follow_robot.velocity import STOP, Velocity

TICK_S = 0.01


class Moment(NamedTuple):
    """The truth at one tick."""

    time_s: float
    distance_m: float
    bearing_rad: float
    velocity: Velocity


class Car:
    """Follows commands after a dead time and a first-order lag."""

    def __init__(self, delay_s: float = 0.05, lag_s: float = 0.1, gain: float = 1.0):
        self.x = self.y = self.heading = 0.0
        self.delay_s, self.lag_s, self.gain = delay_s, lag_s, gain
        self.velocity = np.zeros(3)
        self._told: List[Tuple[float, Velocity]] = [(-math.inf, STOP)]

    def tell(self, velocity: Velocity, time_s: float) -> None:
        self._told.append((time_s + self.delay_s, velocity))

    def step(self, time_s: float) -> None:
        command = [v for start, v in self._told if start <= time_s][-1]
        share = 1 - math.exp(-TICK_S / self.lag_s)
        self.velocity += share * (self.gain * np.array(command) - self.velocity)
        vx, vy, wz = self.velocity
        self.x += TICK_S * (vx * math.cos(self.heading) - vy * math.sin(self.heading))
        self.y += TICK_S * (vx * math.sin(self.heading) + vy * math.cos(self.heading))
        self.heading += TICK_S * wz


def follow(
    target: Callable[[float], Tuple[float, float]],
    controller: Controller,
    duration_s: float,
    seed: int = 0,
    car: Optional[Car] = None,
    target_filter: Optional[TargetFilter] = None,
    period_s: float = 0.1,
    latency_s: float = 0.15,
    noise: Tuple[float, float] = (0.05, 0.02),
    timed: bool = True,
    visible: Callable[[float], bool] = lambda time_s: True,
) -> List[Moment]:
    """Run the loop: measure every ``period_s``, decide ``latency_s`` later.

    Args:
        noise: Of the distance (share) and the bearing (rad).
        timed: Whether controller and filter are told all they can know: the time of the decision and
            the car's motion between frames. If not, decisions carry the frame's time and the filter is
            given the newest command.
        visible: Whether the target can be measured at a time.
    """
    rng = np.random.default_rng(seed)
    car = car or Car()
    target_filter = target_filter or TargetFilter()
    history = MotionHistory(car.delay_s + car.lag_s)
    pending: List[Tuple[float, Optional[Measurement]]] = []
    moments: List[Moment] = []
    command, previous_s = STOP, 0.0
    for tick in range(round(duration_s / TICK_S)):
        now = tick * TICK_S
        x, y = target(now)
        away = (x - car.x, y - car.y)
        distance = math.hypot(*away)
        bearing = math.remainder(math.atan2(away[1], away[0]) - car.heading, 2 * math.pi)
        if tick % round(period_s / TICK_S) == 0:
            reading = None
            if visible(now):
                reading = Measurement(
                    distance * (1 + noise[0] * rng.standard_normal()),
                    bearing + noise[1] * rng.standard_normal(),
                    max(noise[0], 0.01) * distance,
                    max(noise[1], 0.005),
                    "height",
                )
            pending.append((now, reading))
        while pending and now >= pending[0][0] + latency_s - 1e-9:
            frame_s, reading = pending.pop(0)
            ego = history.mean(previous_s, frame_s) if timed else command
            estimate = target_filter.update(reading, ego, frame_s)
            command = controller.update(estimate, now if timed else frame_s)
            history.add(command, now)
            car.tell(command, now)
            previous_s = frame_s
        car.step(now)
        moments.append(Moment(now, distance, bearing, command))
    return moments
