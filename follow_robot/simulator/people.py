"""Who walks through the world, and how: along waypoints, or between the car and its target."""

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from follow_robot.simulator.looks import Look
from follow_robot.simulator.plane import Point, Pose, turned_towards

_ACCELERATION_MPS2 = 1.5  # a walker starts and stops within half a second
_TURN_RADPS = 4.0
_ARRIVED_M = 0.05
_CYCLES_PER_M = 0.75  # double steps
_SHY_M = 0.55  # nobody walks into the car
_STANDS_MPS = 0.25  # somebody who stays on a line that moves shuffles along


@dataclass(frozen=True)
class Waypoint:
    """A place on a walk.

    Attributes:
        at: x, y in metres.
        speed_mps: Of the walk that leads here.
        wait_s: How long the walker stays here.
        face_deg: Direction to look in while waiting; by default where the walk went.
    """

    at: Point
    speed_mps: float = 0.6
    wait_s: float = 0.0
    face_deg: Optional[float] = None


@dataclass(frozen=True)
class Passing:
    """A walk across the line from the car to its target, wherever these two are by then.

    The line moves with the car and the target, and the walker with it, as somebody does who aims at
    the gap between them.

    Attributes:
        at_s: When it starts.
        share: Where the line is crossed: 0 at the car, 1 at the target, above 1 behind the target.
        from_left: Side it starts on, seen from the car.
        start_m: Distance from the line at the start, and at the end.
        speed_mps: Across the line.
        stay_s: How long the walker stops on the line.
        back: Whether the walker turns round there and leaves where it came from.
    """

    at_s: float
    share: float = 0.6
    from_left: bool = True
    start_m: float = 4.0
    speed_mps: float = 1.0
    stay_s: float = 0.0
    back: bool = False

    def offset_m(self, now_s: float) -> Optional[float]:
        """Distance from the line, positive on the left; None before and after."""
        walk_s = self.start_m / self.speed_mps
        since_s = now_s - self.at_s
        if not 0 <= since_s <= 2 * walk_s + self.stay_s:
            return None
        if since_s <= walk_s:
            offset = self.start_m - self.speed_mps * since_s
        else:
            gone_m = self.speed_mps * max(since_s - walk_s - self.stay_s, 0.0)
            offset = gone_m if self.back else -gone_m
        return offset if self.from_left else -offset


class Walker:
    """A person of the world.

    Args:
        name: Unique in the world.
        look: What they look like.
        path: Waypoints; the first is the start. May be empty for somebody who only passes.
        passing: A walk between the car and its target instead.
        present_from_s, present_to_s: Only within these times they are there at all.
        start_s: When the walk along the path begins.

    Attributes:
        pose: Where they are and look.
        velocity: x, y in metres per second.
        phase: Of the double step, 0 to 1.
        present: Whether they are there now.
        radius_m: Of the body.
    """

    radius_m = 0.22

    def __init__(
        self,
        name: str,
        look: Look,
        path: Sequence[Waypoint] = (),
        passing: Optional[Passing] = None,
        present_from_s: float = 0.0,
        present_to_s: float = math.inf,
        start_s: float = 0.0,
    ):
        self.name, self.look, self.path, self.passing = name, look, path, passing
        self.present_from_s, self.present_to_s, self.start_s = present_from_s, present_to_s, start_s
        self.pose = _start(path)
        self.velocity: Point = (0.0, 0.0)
        self.phase = 0.0
        self.present = False
        self._next = 0  # waypoint that is walked to
        self._waited_s = 0.0
        self._passes = False  # has begun to

    @property
    def speed_mps(self) -> float:
        return math.hypot(*self.velocity)

    def step(self, now_s: float, dt_s: float, car: Point, target: Point) -> None:
        """Move on by ``dt_s``; ``car`` and ``target`` are where those two are."""
        self.present = self.present_from_s <= now_s <= self.present_to_s
        if self.passing is not None:
            self._pass(self.passing, now_s, dt_s, car, target)
        elif self.present:
            self._walk(now_s, dt_s, car)

    def _walk(self, now_s: float, dt_s: float, car: Point) -> None:
        x, y, heading = self.pose
        goal, face = (0.0, 0.0), None
        if now_s >= self.start_s:
            goal, face = self._goal(dt_s)
        if self._blocked(goal, car):
            goal = (0.0, 0.0)
        most = _ACCELERATION_MPS2 * dt_s
        vx = self.velocity[0] + _clamp(goal[0] - self.velocity[0], most)
        vy = self.velocity[1] + _clamp(goal[1] - self.velocity[1], most)
        self.velocity = (vx, vy)
        if self.speed_mps > 0.05:
            face = math.atan2(vy, vx)
        self.pose = Pose(
            x + vx * dt_s, y + vy * dt_s, turned_towards(heading, face, _TURN_RADPS * dt_s)
        )
        self._stride(dt_s)

    def _goal(self, dt_s: float) -> Tuple[Point, Optional[float]]:
        """Velocity that leads to the next waypoint, and where to look when there is none."""
        point = self.path[self._next]
        dx, dy = point.at[0] - self.pose.x, point.at[1] - self.pose.y
        way = math.hypot(dx, dy)
        last = self._next == len(self.path) - 1
        stops = last or point.wait_s > 0
        if way <= (_ARRIVED_M if stops else 0.2):
            self._waited_s += dt_s
            if self._waited_s >= point.wait_s and not last:
                self._next, self._waited_s = self._next + 1, 0.0
            if stops:
                face = None if point.face_deg is None else math.radians(point.face_deg)
                return (0.0, 0.0), face
        speed = point.speed_mps
        if stops:  # slow down to arrive
            speed = min(speed, math.sqrt(2 * _ACCELERATION_MPS2 * 0.7 * way) + 0.02)
        way = max(way, 1e-9)
        return (speed * dx / way, speed * dy / way), None

    def _blocked(self, goal: Point, car: Point) -> bool:
        dx, dy = car[0] - self.pose.x, car[1] - self.pose.y
        room = _SHY_M + self.speed_mps**2 / (2 * _ACCELERATION_MPS2)
        return math.hypot(dx, dy) < room and goal[0] * dx + goal[1] * dy > 0

    def _pass(self, passing: Passing, now_s: float, dt_s: float, car: Point, target: Point) -> None:
        offset = passing.offset_m(now_s)
        self.present = self.present and offset is not None
        if not self.present or offset is None:
            return
        dx, dy = target[0] - car[0], target[1] - car[1]
        way = max(math.hypot(dx, dy), 1e-6)
        x = car[0] + passing.share * dx - offset * dy / way
        y = car[1] + passing.share * dy + offset * dx / way
        if not self._passes:  # appears, looking where the walk goes
            side = -1.0 if offset > 0 else 1.0
            self.pose = Pose(x, y, math.atan2(side * dx, -side * dy))
            self._passes = True
        self.velocity = ((x - self.pose.x) / dt_s, (y - self.pose.y) / dt_s)
        face = None
        if self.speed_mps > _STANDS_MPS:
            face = math.atan2(self.velocity[1], self.velocity[0])
        heading = turned_towards(self.pose.heading_rad, face, _TURN_RADPS * dt_s)
        self.pose = Pose(x, y, heading)
        self._stride(dt_s)

    def _stride(self, dt_s: float) -> None:
        self.phase = (self.phase + min(self.speed_mps, 2.0) * dt_s * _CYCLES_PER_M) % 1.0


def _start(path: Sequence[Waypoint]) -> Pose:
    """Where a walk begins, looking along it."""
    if not path:
        return Pose(0.0, 0.0, 0.0)
    (x, y), heading = path[0].at, path[0].face_deg or 0.0
    if path[0].face_deg is None and len(path) > 1:
        to = path[1].at
        return Pose(x, y, math.atan2(to[1] - y, to[0] - x))
    return Pose(x, y, math.radians(heading))


def _clamp(value: float, most: float) -> float:
    return max(-most, min(most, value))


def present(walkers: Sequence[Walker]) -> List[Walker]:
    """Those who are there now."""
    return [walker for walker in walkers if walker.present]
