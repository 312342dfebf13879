"""Who walks through the world, and how: along waypoints, or between the car and its target."""

import math
from dataclasses import dataclass, field
from typing import List, Optional, Sequence

from follow_robot.simulator.looks import Look
from follow_robot.simulator.plane import Point, Pose, turned_towards

_ACCELERATION_MPS2 = 1.5  # a walker starts and stops within half a second
_TURN_RADPS = 4.0
_ARRIVED_M = 0.05
_CYCLES_PER_M = 0.75  # double steps
_SHY_M = 0.55  # nobody walks into the car


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


@dataclass
class Walker:
    """A person of the world.

    Attributes:
        name: Unique in the world.
        look: What they look like.
        path: Waypoints; the first is the start. May be empty for somebody who only passes.
        passing: A walk between the car and its target, or None.
        present_from_s, present_to_s: Only within these times they are there at all.
        start_s: When the walk along the path begins.
        radius_m: Of the body.
        pose, velocity, phase: Now; phase is that of the step, in cycles.
    """

    name: str
    look: Look
    path: Sequence[Waypoint] = ()
    passing: Optional[Passing] = None
    present_from_s: float = 0.0
    present_to_s: float = math.inf
    start_s: float = 0.0
    radius_m: float = 0.22
    pose: Pose = Pose(0.0, 0.0, 0.0)
    velocity: Point = (0.0, 0.0)
    phase: float = 0.0
    present: bool = False
    _next: int = 0
    _waited_s: float = field(default=0.0, repr=False)

    def __post_init__(self):
        if self.path:
            first = self.path[0]
            heading = first.face_deg
            if heading is None and len(self.path) > 1:
                to = self.path[1].at
                heading = math.degrees(math.atan2(to[1] - first.at[1], to[0] - first.at[0]))
            self.pose = Pose(first.at[0], first.at[1], math.radians(heading or 0.0))

    @property
    def speed_mps(self) -> float:
        return math.hypot(*self.velocity)

    def step(self, now_s: float, dt_s: float, car: Point, target: Point) -> None:
        """Move on by ``dt_s``; ``car`` and ``target`` are where those two are."""
        within = self.present_from_s <= now_s <= self.present_to_s
        if self.passing is not None:
            self._pass(now_s, dt_s, car, target, within)
            return
        self.present = within and bool(self.path)
        if not self.present:
            return
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
        self.phase = (self.phase + self.speed_mps * dt_s * _CYCLES_PER_M) % 1.0

    def _goal(self, dt_s: float):
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
        return math.hypot(dx, dy) < _SHY_M and goal[0] * dx + goal[1] * dy > 0

    def _pass(self, now_s: float, dt_s: float, car: Point, target: Point, within: bool) -> None:
        offset = self.passing.offset_m(now_s)  # type: ignore[union-attr]
        self.present = within and offset is not None
        if not self.present:
            return
        dx, dy = target[0] - car[0], target[1] - car[1]
        way = max(math.hypot(dx, dy), 1e-6)
        share = self.passing.share  # type: ignore[union-attr]
        x = car[0] + share * dx - offset * dy / way  # type: ignore[operator]
        y = car[1] + share * dy + offset * dx / way  # type: ignore[operator]
        if self.phase == 0.0 and self.velocity == (0.0, 0.0):  # just appeared
            side = -1.0 if offset > 0 else 1.0  # type: ignore[operator]
            self.pose = Pose(x, y, math.atan2(side * dx, -side * dy))
        vx, vy = (x - self.pose.x) / dt_s, (y - self.pose.y) / dt_s
        self.velocity = (vx, vy)
        face = math.atan2(vy, vx) if self.speed_mps > 0.25 else None
        self.pose = Pose(x, y, turned_towards(self.pose.heading_rad, face, _TURN_RADPS * dt_s))
        self.phase = (self.phase + min(self.speed_mps, 2.0) * dt_s * _CYCLES_PER_M) % 1.0 or 1e-9


def _clamp(value: float, most: float) -> float:
    return max(-most, min(most, value))


def present(walkers: Sequence[Walker]) -> List[Walker]:
    """Those who are there now."""
    return [walker for walker in walkers if walker.present]
