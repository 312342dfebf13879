"""Scenarios: everything that happens in a simulated run, as checked data."""

import re
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from follow_robot.camera_model import CameraModel
from follow_robot.config import Config, parse_config
from follow_robot.drive import Drive
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.car import DIFFERENTIAL, CarModel
from follow_robot.simulator.detector import DetectorFaults
from follow_robot.simulator.firmware import FIRMWARES
from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Passing, Walker, Waypoint
from runtime.errors import ReidEdgeError

FREEZE, BLACK, UNPLUG = "camera_freeze", "camera_black", "camera_unplug"
SERIAL_UNPLUG, LIGHT = "serial_unplug", "light"
EVENTS = (FREEZE, BLACK, UNPLUG, SERIAL_UNPLUG, LIGHT)


@dataclass(frozen=True)
class Event:
    """Something that happens to the car or the light.

    Attributes:
        kind: One of ``EVENTS``.
        from_s, to_s: When it begins and ends.
        gain: Of ``"light"``: how bright it is meanwhile, 1 is normal.
    """

    kind: str
    from_s: float
    to_s: float
    gain: float = 1.0

    def __post_init__(self):
        if self.kind not in EVENTS:
            raise ReidEdgeError("An event's kind is one of %s, got %r." % (EVENTS, self.kind))
        if not 0 <= self.from_s < self.to_s:
            raise ReidEdgeError(
                "An event needs 0 <= from_s < to_s, got %r and %r." % (self.from_s, self.to_s)
            )
        if not 0.02 <= self.gain <= 3:
            raise ReidEdgeError("An event's gain must be 0.02 to 3, got %r." % self.gain)

    def holds(self, time_s: float) -> bool:
        return self.from_s <= time_s < self.to_s


@dataclass(frozen=True)
class Person:
    """Somebody of a scenario; see ``people.Walker``.

    Attributes:
        name: Unique.
        look: ``{seed: 3}``; ``{double_of: NAME, seed: 1, details: 2}`` for a look-alike of somebody
            above (``Look.double``); or the fields of ``looks.Look``.
        path: Waypoints, the first is the start.
        passing: A walk between the car and its target instead.
        present_from_s, present_to_s, start_s: When they are there, and when they start to walk.
    """

    name: str
    look: Dict[str, Any] = field(default_factory=dict)
    path: List[Waypoint] = field(default_factory=list)
    passing: Optional[Passing] = None
    present_from_s: float = 0.0
    present_to_s: float = 1e9
    start_s: float = 0.0


@dataclass(frozen=True)
class CarStart:
    """The car of a scenario.

    Attributes:
        chassis: Protocol of its board: one of ``firmware.FIRMWARES``.
        at: Where it starts: x, y in metres.
        heading_deg: In which direction.
        model: What its wheels can do.
        boot_s: For how long its board ignores commands.
        watchdog_s: Silence after which its board stops it; null: never, as on real ones.
        range_sensor: Whether it has an ultrasonic sensor.
    """

    chassis: str = "wheeltec"
    at: Tuple[float, float] = (0.0, 0.0)
    heading_deg: float = 0.0
    model: CarModel = field(default_factory=CarModel)
    boot_s: float = 0.0
    watchdog_s: Optional[float] = None
    range_sensor: bool = True

    def __post_init__(self):
        if self.chassis not in FIRMWARES:
            raise ReidEdgeError(
                "A simulated chassis is one of %s, got %r." % (", ".join(FIRMWARES), self.chassis)
            )
        if self.chassis == "waveshare" and self.model.drive != DIFFERENTIAL:
            raise ReidEdgeError(
                "A waveshare chassis drives its left and right wheels, so its drive is differential, "
                "got %r." % self.model.drive
            )


@dataclass(frozen=True)
class Scenario:
    """A run from start to end.

    Attributes:
        name: For reports and the names of their files.
        kind: What it is about, such as ``"crossing"``.
        seed: Of all that is random: noise, textures, the detector's faults.
        duration_s: Simulated seconds.
        choose_at_s: When a user clicks on the target; nobody is chosen before.
        latency_s: From a frame to the command that answers it.
        target: Name of the person to follow.
        people: Everybody.
        walls: x0, y0, x1, y1 in metres of each.
        camera, car: What the car is.
        detector: Faults of the simulated detector.
        events: What goes wrong.
        config: Settings that differ from follow-robot's defaults, by section.
    """

    name: str = "scenario"
    kind: str = "own"
    seed: int = 0
    duration_s: float = 15.0
    choose_at_s: float = 1.0
    latency_s: float = 0.06
    target: str = "target"
    people: List[Person] = field(default_factory=list)
    walls: List[Tuple[float, float, float, float]] = field(default_factory=list)
    camera: Camera = field(default_factory=Camera)
    car: CarStart = field(default_factory=CarStart)
    detector: DetectorFaults = field(default_factory=DetectorFaults)
    events: List[Event] = field(default_factory=list)
    config: Dict[str, Dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        if not re.fullmatch(r"[\w.-]{1,80}", self.name):
            raise ReidEdgeError(
                "A scenario's name is letters, digits, dots and dashes, because records are named "
                "after it, got %r." % self.name
            )
        names = [person.name for person in self.people]
        if len(set(names)) != len(names):
            raise ReidEdgeError("People need different names, got %s." % names)
        if self.target not in names:
            raise ReidEdgeError("The target %r is none of the people %s." % (self.target, names))
        if not 1 <= self.duration_s <= 3600:
            raise ReidEdgeError("duration_s must be 1 to 3600, got %r." % self.duration_s)
        if not 0 <= self.latency_s <= 1 or self.choose_at_s < 0:
            raise ReidEdgeError(
                "latency_s must be 0 to 1 and choose_at_s at least 0, got %r and %r."
                % (self.latency_s, self.choose_at_s)
            )
        for person in self.people:
            if not person.path and person.passing is None:
                raise ReidEdgeError("%s needs a path or a passing." % person.name)
        if not next(p for p in self.people if p.name == self.target).path:
            raise ReidEdgeError("The target walks along a path; give it one.")
        self.walkers()  # whose looks are checked there

    def walkers(self) -> List[Walker]:
        """The people, ready to walk.

        Raises:
            ReidEdgeError: A look is wrong.
        """
        looks: Dict[str, Look] = {}
        made = []
        for person in self.people:
            look = looks[person.name] = _look(person, looks)
            made.append(
                Walker(
                    person.name,
                    look,
                    tuple(person.path),
                    person.passing,
                    person.present_from_s,
                    person.present_to_s,
                    person.start_s,
                )
            )
        return made

    def configuration(self, base: Optional[Config] = None) -> Config:
        """The car's configuration: ``base``, the simulated camera and drive, then ``config``.

        Raises:
            ReidEdgeError: A setting of ``config`` is wrong.
        """
        data = (base or Config()).to_dict()
        camera, model = self.camera, self.car.model
        # Whole: a lens that was calibrated for a real car is not the simulated one's.
        data["camera"] = asdict(
            CameraModel(
                horizontal_fov_deg=camera.hfov_deg,
                height_m=camera.height_m,
                pitch_rad=-camera.tilt_rad,
            )
        )
        data["drive"] = asdict(Drive(kind=model.drive, min_turn_radius_m=model.turn_radius_m))
        for name, values in self.config.items():
            data[name] = {**data.get(name, {}), **values}
        return parse_config(data, "scenario %s" % self.name)

    def to_dict(self) -> Dict[str, Any]:
        """Plain values, without those that are as by default."""
        return _plain(self)


def _look(person: Person, known: Mapping[str, Look]) -> Look:
    values = dict(person.look)
    of, seed = values.pop("double_of", None), values.pop("seed", None)
    details = values.pop("details", 2) if of is not None else 2
    for name, value in (("seed", 0 if seed is None else seed), ("details", details)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ReidEdgeError(
                "%s: a look's %s is a whole number, got %r." % (person.name, name, value)
            )
    if of is None and seed is None:
        return Look.from_dict(values)
    if values:
        raise ReidEdgeError(
            "%s: a look is a seed, a double_of with seed and details, or fields, got %s."
            % (person.name, dict(person.look))
        )
    if of is None:
        return Look.random(seed)
    if of not in known:
        raise ReidEdgeError(
            "%s: double_of names somebody listed above, got %r of %s."
            % (person.name, of, list(known))
        )
    return known[of].double(seed or 0, details)


def _plain(value: Any) -> Any:
    """A dataclass as a dictionary without fields that are as by default."""
    if is_dataclass(value):
        default = {f.name: f for f in fields(value) if f.init}
        kept = {}
        for name, f in default.items():
            own = getattr(value, name)
            factory = f.default_factory  # type: ignore[misc]
            usual = factory() if callable(factory) else f.default
            if own != usual:
                kept[name] = _plain(own)
        return kept
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
