"""Values inside the driver's messages, read strictly from what JSON gives.

Each function returns the value, or raises ValueError with what was expected.
"""

import dataclasses
from typing import Any, Callable, Dict, Tuple

from follow_robot.chassis.base import Telemetry
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import Velocity

_MAX_INTEGER = 1 << 53  # what JSON numbers carry exactly


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a number")
    return float(value)


def integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_INTEGER:
        raise ValueError("a whole number")
    return value


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def texts(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("a list of text")
    return tuple(text(v) for v in value)


def velocity(value: Any) -> Velocity:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("three numbers")
    return Velocity(*(number(v) for v in value))


def limits(value: Any) -> SafetyLimits:
    names = {f.name: f.type for f in dataclasses.fields(SafetyLimits)}
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError("the safety limits")
    kinds: Dict[str, Callable[[Any], Any]] = {"bool": truth, "int": integer, "float": number}
    read = {n: kinds[getattr(t, "__name__", str(t))](value[n]) for n, t in names.items()}
    return SafetyLimits(**read)


def telemetry(value: Any) -> Telemetry:
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[3], dict):
        raise ValueError("telemetry")
    return Telemetry(
        optional(velocity)(value[0]),
        optional(number)(value[1]),
        optional(truth)(value[2]),
        {name: number(v) for name, v in value[3].items()},
    )


def obstacle(value: Any) -> ObstacleReading:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("an obstacle's distance and time")
    return ObstacleReading(number(value[0]), number(value[1]))


def hexadecimal(value: Any) -> str:
    bytes.fromhex(text(value))
    return value


def optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)
