"""Parts of made-up scenarios: who walks how, and where the walls are."""

from typing import Any, Dict, List, Tuple

import numpy as np

from follow_robot.simulator.people import Passing, Waypoint
from follow_robot.simulator.scenario_model import CarStart, Person

TARGET = "target"
START_S = 3.0  # the target sets out; it is learned by then
Place = Tuple[float, float]
Wall = Tuple[float, float, float, float]
_LONG_S = 20.0
# A way round the hall with bends that a follower can take.
_ROUND = (
    (4, -0.8),
    (7, -1.8),
    (9.8, -1.4),
    (10.8, 0.6),
    (9.4, 2.6),
    (6.4, 3),
    (3.4, 2.4),
    (2, 0.9),
)


def walk_on(rng: np.random.Generator, duration_s: float, pauses: float = 0.15) -> Person:
    """The target, walking away from the car with bends and pauses; in a long run, round the hall."""
    x, y = rng.uniform(1.6, 2.2), rng.uniform(-0.3, 0.3)
    pace = rng.uniform(0.35, 0.6)
    legs: List[Tuple[Place, float, float]] = [((x, y), 0.5, 0.0)]
    way_m, turn = 0.0, 0
    while way_m < pace * (duration_s - START_S):
        before = legs[-1][0]
        if duration_s > _LONG_S:
            x, y = _ROUND[turn % len(_ROUND)]
            x, y, turn = x + rng.uniform(-0.4, 0.4), y + rng.uniform(-0.3, 0.3), turn + 1
        else:
            x += rng.uniform(1.2, 2.5)
            y = float(np.clip(y + rng.uniform(-0.7, 0.7), -1.3, 1.3))
        way_m += float(np.hypot(x - before[0], y - before[1]))
        pause_s = rng.uniform(0.5, 2.0) if rng.random() < pauses else 0.0
        legs.append(((x, y), pace * rng.uniform(0.85, 1.15), pause_s))
    return Person(
        TARGET, somebody(rng), way(*legs), start_s=short(START_S + rng.uniform(-0.2, 0.5))
    )


def passer(rng: np.random.Generator, number: int, at_s: float) -> Person:
    near = rng.random() < 0.65
    return Person(
        "passer%d" % number,
        somebody(rng),
        passing=Passing(
            at_s=short(at_s),
            share=short(rng.uniform(0.5, 0.7) if near else rng.uniform(1.3, 1.9)),
            from_left=bool(rng.random() < 0.5),
            start_m=short(rng.uniform(3.0, 4.5)),
            speed_mps=short(rng.uniform(0.7, 1.5)),
        ),
    )


def bystanders(rng: np.random.Generator, count: int) -> List[Person]:
    """People who stand beside the way."""
    people = []
    for number in range(count):
        place = (rng.uniform(3, 9), side_of(rng) * rng.uniform(2.2, 3.5))
        path = [Waypoint(_placed(place), face_deg=short(rng.uniform(-180, 180)))]
        people.append(Person("bystander%d" % number, somebody(rng), path))
    return people


def hall(rng: np.random.Generator) -> List[Wall]:
    """A hall with pillars along its sides."""
    low, high = -5.0 - rng.uniform(0, 2), 5.0 + rng.uniform(0, 2)
    far = 14.0 + rng.uniform(0, 4)
    walls = [
        (-3.5, low, far, low),
        (far, low, far, high),
        (far, high, -3.5, high),
        (-3.5, high, -3.5, low),
    ]
    for side in (-1, 1):
        for x in np.arange(rng.uniform(0, 3), far - 1, rng.uniform(2.5, 5)):
            edge = low if side < 0 else high
            walls.append((x, edge, x, edge - side * rng.uniform(0.4, 1.2)))
    return rounded(walls)


def car_start(rng: np.random.Generator) -> CarStart:
    return CarStart(heading_deg=short(rng.uniform(-6, 6)))


def way(*legs: Tuple[Place, float, float]) -> List[Waypoint]:
    """Waypoints of (place, speed, pause)."""
    return [Waypoint(_placed(place), short(speed), short(wait_s)) for place, speed, wait_s in legs]


def somebody(rng: np.random.Generator) -> Dict[str, Any]:
    return {"seed": int(rng.integers(100000))}


def side_of(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _placed(point: Place) -> Place:
    return short(point[0]), short(point[1])


def short(value: float) -> float:
    """Short enough for a file that people read."""
    return round(float(value), 2)


def rounded(walls: List[Wall]) -> List[Wall]:
    return [tuple(short(v) for v in wall) for wall in walls]  # type: ignore[misc]
