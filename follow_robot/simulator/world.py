"""The world: walls, people, the car. Pure: the same start and the same commands give the same course."""

import math
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np

from follow_robot.simulator.car import Car
from follow_robot.simulator.people import Walker, present
from follow_robot.simulator.plane import Point, Walls, disc_distance
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

_CONE_RAYS = 7
_APART_S = 0.5  # after which a touch is another collision


@dataclass(frozen=True)
class RangeSensor:
    """An ultrasonic sensor at the front of the car.

    Attributes:
        half_angle_rad: Half the opening of its cone.
        most_m: Farthest reading.
        sigma_m: Noise, one standard deviation.
    """

    half_angle_rad: float = math.radians(12)
    most_m: float = 4.0
    sigma_m: float = 0.01


class World:
    """Everything that is there, moved on step by step.

    Args:
        car: The car.
        walkers: People; names must differ.
        walls: Walls.
        target: Name of the person to be followed.
        seed: Of the range sensor's noise.

    Attributes:
        time_s: Simulated seconds since the start.
        collisions: How often the car ran into something: name of a person or ``"wall"`` -> count of
            encounters.
        way_m: Driven so far.
        nearest_m: Smallest distance so far between the car's edge and anybody's.
    """

    def __init__(
        self, car: Car, walkers: Sequence[Walker], walls: Walls, target: str, seed: int = 0
    ):
        names = [walker.name for walker in walkers]
        if len(set(names)) != len(names):
            raise ReidEdgeError("People of a world need different names, got %s." % names)
        if target not in names:
            raise ReidEdgeError("The target %r is not among the people %s." % (target, names))
        self.car, self.walkers, self.walls = car, list(walkers), walls
        self.target = self.walkers[names.index(target)]
        self.time_s = 0.0
        self.collisions: Dict[str, int] = {}
        self.way_m, self.nearest_m = 0.0, math.inf
        self._touched_s: Dict[str, float] = {}
        self._clear_m = 0.0  # that the car may move without touching a wall
        self._noise = np.random.default_rng((seed, 77))
        self._move_people(0.0, 1e-3)

    @property
    def people(self) -> List[Walker]:
        """Everybody who is there now."""
        return present(self.walkers)

    def step(self, wanted: Velocity, dt_s: float) -> None:
        """Move everything on by ``dt_s``; the wheels are told ``wanted``."""
        before = self.car.pose
        self.car.step(wanted, self.time_s, dt_s)
        after = self.car.pose
        moved_m = math.hypot(after.x - before.x, after.y - before.y)
        blocked = self._blocked(moved_m)
        if blocked:  # a wall gives way to nobody
            self.car.pose, self.car.velocity = before, STOP
        else:
            self.way_m += moved_m
        self._move_people(self.time_s, dt_s)
        self.time_s = round(self.time_s + dt_s, 9)  # sums of steps are not exact
        self._note("wall", blocked)
        for walker in self.walkers:
            gap = math.inf
            if walker.present:
                gap = math.hypot(
                    walker.pose.x - self.car.pose.x, walker.pose.y - self.car.pose.y
                ) - (walker.radius_m + self.car.model.radius_m)
                self.nearest_m = min(self.nearest_m, gap)
            self._note(walker.name, gap < 0)

    def range_m(self, sensor: RangeSensor) -> float:
        """What a range sensor at the front reads now; ``sensor.most_m`` where nothing is."""
        radius, pose = self.car.model.radius_m, self.car.pose
        origin = pose.to_world(radius, 0.0)
        cone = np.linspace(-sensor.half_angle_rad, sensor.half_angle_rad, _CONE_RAYS)
        angles = pose.heading_rad + cone
        nearest = float(self.walls.cast(origin, angles).distance.min())
        for walker in self.people:
            nearest = min(nearest, disc_distance(origin, angles, walker.pose[:2], walker.radius_m))
        noisy = nearest + self._noise.normal(0, sensor.sigma_m)
        return float(min(max(noisy, 0.0), sensor.most_m))

    def distance_m(self, walker: Walker, origin: Point) -> float:
        """Along the ground from ``origin`` to the middle of a person."""
        return math.hypot(walker.pose.x - origin[0], walker.pose.y - origin[1])

    def _blocked(self, moved_m: float) -> bool:
        """Whether the car, moved by so much, touches a wall."""
        self._clear_m -= moved_m
        if self._clear_m > 0 or moved_m == 0:  # no wall can be that near
            return False
        gap_m = self.walls.distance(self.car.pose[:2]) - self.car.model.radius_m
        self._clear_m = max(gap_m, 0.0)
        return gap_m < 0

    def _move_people(self, now_s: float, dt_s: float) -> None:
        car, target = self.car.pose[:2], self.target.pose[:2]
        for walker in self.walkers:
            walker.step(now_s, dt_s, car, target)

    def _note(self, name: str, touching: bool) -> None:
        if touching:
            if self.time_s - self._touched_s.get(name, -math.inf) > _APART_S:
                self.collisions[name] = self.collisions.get(name, 0) + 1
            self._touched_s[name] = self.time_s
