"""Scenario files: YAML that people write.

    name: crossing
    duration_s: 14
    walls: [[-2, -4, 12, -4], [12, -4, 12, 4]]
    people:
      - name: target
        look: {seed: 3}
        start_s: 3
        path: [{at: [1.6, 0]}, {at: [7, 0.5], speed_mps: 0.5}]
      - name: passer
        look: {double_of: target, seed: 1}
        passing: {at_s: 6, share: 0.6}
    events:
      - {kind: light, from_s: 8, to_s: 9, gain: 0.6}

The fields are those of ``scenario_model.Scenario`` and the classes it is made of; what is left out is as
there.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import yaml
from pydantic import ConfigDict, ValidationError, create_model

from follow_robot.config_errors import UNKNOWN, nearest, wrong_value
from follow_robot.config_yaml import read_yaml, shown
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.car import CarModel
from follow_robot.simulator.detector import DetectorFaults
from follow_robot.simulator.generator import KINDS, random_scenario
from follow_robot.simulator.people import Passing, Waypoint
from follow_robot.simulator.scenario_model import CarStart, Event, Person, Scenario
from runtime.errors import ReidEdgeError

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
_MODEL = create_model(
    "Scenario",
    __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False),
    value=(Scenario, ...),
)


def open_scenario(
    scenario: Union[Scenario, str, Path], seed: int = 0, duration_s: Optional[float] = None
) -> Scenario:
    """A scenario from whatever names one: itself, a kind of ``KINDS``, a file, a shipped one's name.

    Args:
        scenario: See above. A kind goes before a shipped one of that name.
        seed, duration_s: Of a kind.

    Raises:
        ReidEdgeError: There is none, or it is wrong.
    """
    if isinstance(scenario, Scenario):
        return scenario
    if str(scenario) in KINDS:
        return random_scenario(str(scenario), seed, duration_s)
    return load_scenario(Path(scenario))


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Args:
        path: YAML, or the name of one of those that are shipped.

    Raises:
        ReidEdgeError: It cannot be read, a field is unknown, or a value is wrong.
    """
    path = Path(path)
    if path.name in shipped() and not path.exists():
        path = SCENARIOS / (path.name + ".yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ReidEdgeError(
            "There is no scenario file %s; give a file, a kind (%s) or a shipped one (%s)."
            % (path, ", ".join(KINDS), ", ".join(shipped()))
        ) from None
    except OSError as error:
        raise ReidEdgeError("Cannot read scenario %s: %s." % (path, error.strerror)) from None
    except UnicodeDecodeError:
        raise ReidEdgeError("%s is not UTF-8 text; save it as UTF-8." % path) from None
    document = read_yaml(text, str(path))
    return _parse(document.data, str(path), document.lines)


def parse_scenario(data: Mapping[str, Any], where: str) -> Scenario:
    """Check a scenario that is not in a file; ``where`` is named in errors.

    Raises:
        ReidEdgeError: As ``load_scenario``.
    """
    return _parse(data, where, {})


def scenario_yaml(scenario: Scenario) -> str:
    """The text of a scenario's file."""
    return yaml.safe_dump(scenario.to_dict(), sort_keys=False, default_flow_style=None, width=100)


def shipped() -> List[str]:
    """Names of the scenarios that come with reid-edge."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def _parse(data: Any, where: str, lines: Mapping[Tuple[Any, ...], int]) -> Scenario:
    try:
        return _MODEL.model_validate_json(json.dumps({"value": data})).value  # type: ignore
    except ReidEdgeError as error:
        raise ReidEdgeError("%s: %s" % (where, error)) from None
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    first = mistakes[0]
    path = tuple(first["loc"][1:])
    count = next((n for n in range(len(path), 0, -1) if path[:n] in lines), 0)
    line = ": line %d" % lines[path[:count]] if count else ""
    names = _fields_of(first, path)
    if first["type"] in UNKNOWN:
        near = nearest(str(path[-1]), names)
        hint = "did you mean %s" % near if near else "known are %s" % ", ".join(names)
        what = "unknown field %s; %s" % (shown(path[-1]), hint)
    elif first["type"] == "missing":
        what = "%s is missing" % _dotted(path)
    else:
        what = "%s %s" % (_dotted(path) or "a scenario", wrong_value(first, names))
    more = " (and %d more)" % (len(mistakes) - 1) if len(mistakes) > 1 else ""
    raise ReidEdgeError("%s%s: %s%s." % (where, line, what, more))


def _fields_of(error: Mapping[str, Any], path: Tuple[Any, ...]) -> List[str]:
    """Fields of the object in which a mistake was made."""
    inside = path[:-1] if error["type"] in UNKNOWN else path
    kinds: Dict[str, type] = {
        "people": Person,
        "path": Waypoint,
        "passing": Passing,
        "camera": Camera,
        "car": CarStart,
        "model": CarModel,
        "detector": DetectorFaults,
        "events": Event,
    }
    named = [part for part in inside if part in kinds]
    kind = kinds[named[-1]] if named else Scenario
    return [f.name for f in fields(kind) if f.init]


def _dotted(path: Tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in path)
