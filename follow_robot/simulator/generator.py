"""Random scenarios of given kinds: the same kind and seed give the same scenario."""

from typing import Any, Callable, Dict, Optional

import numpy as np

from follow_robot.simulator.casting import (
    START_S,
    TARGET,
    bystanders,
    car_start,
    hall,
    passer,
    rounded,
    short,
    side_of,
    somebody,
    walk_on,
    way,
)
from follow_robot.simulator.people import Passing
from follow_robot.simulator.scenario_model import LIGHT, Event, Person, Scenario
from runtime.errors import ReidEdgeError

# The camera sees somebody at this distance from head to foot.
SETTINGS: Dict[str, Dict[str, Any]] = {
    "controller": {"distance_m": 1.7, "speed_mps": 0.8},
    "safety": {"speed_mps": 0.8},
}
_FIRST_S = 5.0  # when something may happen
_DURATIONS_S = {"leave_and_return": 18.0, "corridor_turn": 15.0}


def random_scenario(kind: str, seed: int, duration_s: Optional[float] = None) -> Scenario:
    """Make up a scenario.

    Args:
        kind: One of ``KINDS``.
        seed: Same seed, same scenario.
        duration_s: Simulated seconds; by default as long as the kind needs.

    Raises:
        ReidEdgeError: No such kind.
    """
    if kind not in _MAKERS:
        raise ReidEdgeError("A scenario's kind is one of %s, got %r." % (", ".join(KINDS), kind))
    duration_s = duration_s or _DURATIONS_S.get(kind, 12.0)
    rng = np.random.default_rng((KINDS.index(kind), seed))
    made = _MAKERS[kind](rng, duration_s)
    people = made.pop("people")
    return Scenario(
        people=people,
        name="%s-%d" % (kind, seed),
        kind=kind,
        seed=seed,
        duration_s=duration_s,
        config=SETTINGS,
        **made,
    )


def _steady(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """The target walks on; people stand aside."""
    target = walk_on(rng, duration_s, pauses=0.0)
    return {
        "people": [target, *bystanders(rng, int(rng.integers(0, 3)))],
        "walls": hall(rng),
        "car": car_start(rng),
    }


def _crossing(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """People pass between the car and the target, and behind the target."""
    people = [walk_on(rng, duration_s)]
    time_s = _FIRST_S + rng.uniform(0, 1)
    while time_s < duration_s - 4 and len(people) < 1 + duration_s / 4:
        people.append(passer(rng, len(people), time_s))
        time_s += rng.uniform(1.5, 4)
    people += bystanders(rng, int(rng.integers(0, 2)))
    made: Dict[str, Any] = {"people": people, "walls": hall(rng), "car": car_start(rng)}
    if rng.random() < 0.3:
        dark_s = rng.uniform(_FIRST_S, duration_s - 3)
        gain = float(rng.uniform(0.55, 0.75))
        made["events"] = [
            Event(LIGHT, short(dark_s), short(dark_s + rng.uniform(1, 4)), short(gain))
        ]
    return made


def _occlusion(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """Somebody stops in front of the target and hides it for a while."""
    cover = Passing(
        at_s=short(_FIRST_S + rng.uniform(0, 1)),
        share=short(rng.uniform(0.5, 0.62)),
        from_left=bool(rng.random() < 0.5),
        start_m=3.5,
        speed_mps=short(rng.uniform(0.8, 1.3)),
        stay_s=short(rng.uniform(0.8, 3.0)),
        back=bool(rng.random() < 0.5),
    )
    people = [
        walk_on(rng, duration_s),
        Person("cover", somebody(rng), passing=cover),
        *bystanders(rng, int(rng.integers(0, 2))),
    ]
    return {"people": people, "walls": hall(rng), "car": car_start(rng)}


def _lookalike(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """One of the two before with somebody in nearly the same clothes."""
    made = (_crossing if rng.random() < 0.5 else _occlusion)(rng, duration_s)
    people = made["people"]
    double = {"double_of": TARGET, "seed": int(rng.integers(1000))}
    for number, person in enumerate(people):
        if person.passing is not None:
            people[number] = Person(person.name, double, passing=person.passing)
            break
    return made


def _leave_and_return(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """The target leaves through a door, a stranger comes out of it, the target comes back."""
    side = side_of(rng)
    door, wide, wall_y = rng.uniform(3.4, 4.0), rng.uniform(1.1, 1.4), rng.uniform(2.1, 2.5)
    middle = door + wide / 2
    walls = [
        *hall(rng),
        (-3.5, side * wall_y, door, side * wall_y),
        (door + wide, side * wall_y, 12.0, side * wall_y),
    ]
    inside = (middle, side * (wall_y + 1.0))
    aside = (door - rng.uniform(0.9, 1.4), side * (wall_y + rng.uniform(1.0, 1.6)))
    before = (middle, side * rng.uniform(0.2, 0.6))
    # Faster than the car, which then stops where it sees nobody.
    away_s, hurry, speed = rng.uniform(0.5, 2.5), rng.uniform(1.1, 1.4), rng.uniform(0.7, 1.0)
    target = Person(
        TARGET,
        somebody(rng),
        way(
            ((rng.uniform(1.6, 2.0), rng.uniform(-0.2, 0.2)), 0.5, 0.0),
            (before, 0.6, 0.0),
            (inside, hurry, 0.0),
            (aside, hurry, away_s),
            (inside, speed, 0.0),
            (before, speed, 0.0),
            ((middle + 1.0, 0.0), 0.6, 0.0),
            ((middle + 5.0, side * -0.5), 0.45, 3.0),
        ),
        start_s=short(START_S),
    )
    stranger = Person(
        "stranger",
        somebody(rng),
        way(
            ((door + wide + 1.5, side * (wall_y + 1.5)), 0.8, 0.0),
            ((middle + 0.3, side * (wall_y + 0.6)), 0.9, 0.0),
            ((middle + 0.3, side * 0.9), 0.9, rng.uniform(0, 1.5)),
            ((middle + 2.5, side * -3.5), 0.9, 60.0),
        ),
        start_s=short(START_S + 6.0 + rng.uniform(-0.5, 1.5)),
    )
    return {"people": [target, stranger], "walls": rounded(walls), "car": car_start(rng)}


def _corridor_turn(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """The target turns into another corridor, and waits where it is lost from sight."""
    side, wide = side_of(rng), rng.uniform(2.2, 2.8)
    x = rng.uniform(4.0, 5.0)  # where the other corridor begins
    half = wide / 2
    walls = [
        (-2.0, -side * half, x + wide, -side * half),
        (-2.0, side * half, x, side * half),
        (x, side * half, x, side * 9.0),
        (x + wide, -side * half, x + wide, side * 9.0),
        (-2.0, -half, -2.0, half),
        (x, side * 9.0, x + wide, side * 9.0),
    ]
    pace = rng.uniform(0.35, 0.5)
    wait_s = rng.uniform(0.5, 2.0)
    target = Person(
        TARGET,
        somebody(rng),
        way(
            ((rng.uniform(1.6, 1.9), 0.0), pace, 0.0),
            ((x - 0.5, 0.0), pace, 0.0),
            ((x + 0.6 * wide, side * 0.1), pace, wait_s),
            ((x + 0.7 * wide, side * (half + 1.2)), pace, wait_s),
            ((x + 0.6 * wide, side * (half + 4.0)), pace, 2.0),
        ),
        start_s=short(START_S),
    )
    comer = Person(
        "comer",
        somebody(rng),
        way(((x + 0.2 * wide, side * 8.0), 0.7, 0.0), ((x + 0.25 * wide, side * 4.5), 0.7, 60.0)),
        start_s=short(rng.uniform(5, 9)),
    )
    return {"people": [target, comer], "walls": rounded(walls), "car": car_start(rng)}


def _crowd(rng: np.random.Generator, duration_s: float) -> Dict[str, Any]:
    """People come towards the car, overtake, cross and stand about."""
    people = [walk_on(rng, duration_s)]
    for number in range(int(rng.integers(3, 6))):
        aside = side_of(rng) * rng.uniform(0.8, 2.6)
        oncoming = rng.random() < 0.6
        start, end = (rng.uniform(6, 10), -2.5) if oncoming else (-2.5, 11.0)
        drift = rng.uniform(-0.4, 0.4)
        people.append(
            Person(
                "walker%d" % number,
                somebody(rng),
                way(((start, aside), 0.8, 0.0), ((end, aside + drift), rng.uniform(0.6, 1.2), 0.0)),
                start_s=short(rng.uniform(0, 7)),
            )
        )
    people.append(passer(rng, 0, _FIRST_S + rng.uniform(0, 3)))
    people += bystanders(rng, 1)
    if rng.random() < 0.3:
        people[1] = Person(
            people[1].name,
            {"double_of": TARGET, "seed": int(rng.integers(1000))},
            people[1].path,
            start_s=people[1].start_s,
        )
    return {"people": people, "walls": hall(rng), "car": car_start(rng)}


_MAKERS: Dict[str, Callable[[np.random.Generator, float], Dict[str, Any]]] = {
    "steady": _steady,
    "crossing": _crossing,
    "occlusion": _occlusion,
    "lookalike": _lookalike,
    "leave_and_return": _leave_and_return,
    "corridor_turn": _corridor_turn,
    "crowd": _crowd,
}
KINDS = tuple(_MAKERS)
