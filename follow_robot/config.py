"""The configuration: every setting of the car, read from YAML and checked before anything starts.

Each section is a dataclass that lives with the part it sets, so a field, its default and its range
are declared once. The documented defaults are in ``defaults.yaml`` beside this file.

    safety:
      speed_mps: 0.4
    camera: camera.yaml        # a section may stand in a file of its own, beside this one
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from follow_robot.black_box import RecordingSettings
from follow_robot.camera_model import CameraModel
from follow_robot.config_errors import UNKNOWN, by_name, nearest, plain, unknown_field, wrong_value
from follow_robot.config_yaml import MAX_BYTES, read_yaml, shown
from follow_robot.controller import ControllerSettings
from follow_robot.dashboard.settings import DashboardSettings
from follow_robot.drive import Drive
from follow_robot.ranging import PersonPrior
from follow_robot.safety_limits import SafetyLimits
from follow_robot.settings import (
    BundleSettings,
    ChassisSettings,
    DetectorSection,
    EstopSettings,
    ObstacleSettings,
    SourceSettings,
)
from follow_robot.target_filter import TargetFilterSettings
from runtime.errors import ReidEdgeError
from runtime.lock_types import LockSettings
from runtime.sources.captures import without_password
from runtime.tracker_settings import TrackerSettings

DEFAULTS = Path(__file__).resolve().parent / "defaults.yaml"


@dataclass(frozen=True)
class Config:
    """Every setting of the car, one section per part; each section describes itself."""

    source: SourceSettings = field(default_factory=SourceSettings)
    detector: DetectorSection = field(default_factory=DetectorSection)
    bundle: BundleSettings = field(default_factory=BundleSettings)
    camera: CameraModel = field(default_factory=CameraModel)
    person: PersonPrior = field(default_factory=PersonPrior)
    lock: LockSettings = field(default_factory=LockSettings)
    tracker: TrackerSettings = field(default_factory=TrackerSettings)
    filter: TargetFilterSettings = field(default_factory=TargetFilterSettings)
    controller: ControllerSettings = field(default_factory=ControllerSettings)
    drive: Drive = field(default_factory=Drive)
    safety: SafetyLimits = field(default_factory=SafetyLimits)
    chassis: ChassisSettings = field(default_factory=ChassisSettings)
    obstacle: ObstacleSettings = field(default_factory=ObstacleSettings)
    estop: EstopSettings = field(default_factory=EstopSettings)
    dashboard: DashboardSettings = field(default_factory=DashboardSettings)
    recording: RecordingSettings = field(default_factory=RecordingSettings)

    def to_dict(self) -> Dict[str, Any]:
        """For YAML and JSON; ``parse_config`` reads it back."""
        return json.loads(json.dumps(asdict(self)))

    def without_secrets(self) -> Config:
        """The same without passwords, to be written into logs."""
        return replace(
            self,
            source=replace(self.source, input=without_password(self.source.input)),
            dashboard=replace(self.dashboard, token=None),
        )


SECTIONS: Dict[str, type] = get_type_hints(Config)
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_MODELS = {
    name: create_model(name, __config__=_STRICT, value=(kind, ...))
    for name, kind in SECTIONS.items()
}


def load_config(path: Optional[Path] = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and what the command line changes about it.

    Args:
        path: YAML file; None for the defaults.
        overrides: ``section.field=value`` each, with a YAML value; text needs no quotes.

    Raises:
        ReidEdgeError: The file cannot be read, a field is unknown or given twice, or a value is of
            the wrong kind or out of range.
    """
    if path is None:
        return config_from_text("", "the configuration", overrides)
    path = Path(path)
    return config_from_text(_read_file(path), str(path), overrides, path.parent)


def config_from_text(
    text: str, where: str, overrides: Sequence[str] = (), folder: Optional[Path] = None
) -> Config:
    """Read a configuration from YAML text.

    Args:
        text: YAML.
        where: Named in errors.
        overrides: As in ``load_config``.
        folder: Of sections that stand in files of their own.

    Raises:
        ReidEdgeError: As ``load_config``.
    """
    data: Dict[str, Any] = {}
    origins: Dict[str, _Origin] = {}
    document = read_yaml(text, where)
    top = {} if document.data is None else document.data
    if not isinstance(top, dict):
        raise ReidEdgeError(
            "%s must be sections such as 'safety:' with fields, got %s." % (where, shown(top))
        )
    for name, value in top.items():
        origin = _Origin(where, document.lines, (name,))
        if isinstance(value, str) and name in SECTIONS and folder is not None:
            value, origin = _section_file(name, folder / value, origin.of(()))
        data[name], origins[name] = value, origin
    for change in overrides:
        _override(data, origins, change)
    return _parse(data, origins)


def parse_config(data: Mapping[str, Any], where: str, overrides: Sequence[str] = ()) -> Config:
    """Check a configuration that is not in a YAML file.

    Args:
        data: As ``Config.to_dict`` writes it; fields may be missing.
        where: Named in errors.
        overrides: As in ``load_config``.

    Raises:
        ReidEdgeError: As ``load_config``.
    """
    copy: Dict[str, Any] = json.loads(json.dumps(data))
    origins = {name: _Origin(where, {}, (name,)) for name in copy}
    for text in overrides:
        _override(copy, origins, text)
    return _parse(copy, origins)


class _Origin(NamedTuple):
    """Where a section was written: a file, its lines by path, and the section's path in it."""

    where: str
    lines: Mapping[Tuple[Any, ...], int]
    path: Tuple[str, ...]
    changed: Mapping[Tuple[str, ...], str] = {}

    def of(self, names: Sequence[Any]) -> str:
        """Where ``names`` under the section was written, for the start of a sentence."""
        for count in range(len(names), -1, -1):
            key = tuple(names[:count])
            if key in self.changed:
                return self.changed[key]
            if (*self.path, *key) in self.lines:
                return "%s: line %d" % (self.where, self.lines[(*self.path, *key)])
        return self.where


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(4 * MAX_BYTES + 1)
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ReidEdgeError(
            "Cannot read configuration %s: %s." % (path, error.strerror or error)
        ) from None
    except UnicodeDecodeError as error:
        raise ReidEdgeError(
            "%s is not UTF-8 text (byte %d); save it as UTF-8." % (path, error.start)
        ) from None


def _section_file(name: str, path: Path, said: str) -> Tuple[Any, _Origin]:
    """A section that stands in a file of its own, with or without its name above it."""
    if path.suffix not in (".yaml", ".yml") or not path.name.isprintable():
        raise ReidEdgeError(
            "%s: %s must be a section with fields such as %s, or the name of a .yaml file with them, "
            "got %s." % (said, name, ", ".join(_fields_at([name])[:3]), shown(path.name))
        )
    try:
        document = read_yaml(_read_file(path), str(path))
    except ReidEdgeError as error:
        raise ReidEdgeError("%s: section %s: %s" % (said, name, error)) from None
    if isinstance(document.data, dict) and list(document.data) == [name]:
        return document.data[name], _Origin(str(path), document.lines, (name,))
    return document.data, _Origin(str(path), document.lines, ())


def _override(data: Dict[str, Any], origins: Dict[str, _Origin], text: str) -> None:
    """Set one ``section.field=value``."""
    names, equals, raw = text.partition("=")
    path = names.strip().split(".")
    said = "--set %s" % (text if text.isprintable() else shown(text))
    if not equals or len(path) < 2 or not all(path):
        raise ReidEdgeError(
            "--set needs section.field=value, such as safety.speed_mps=0.4, got %s." % shown(text)
        )
    kind, raw = _kind_at(path), raw.strip()
    nothing = kind is not str and raw in ("", "~", "null")
    if kind in (str, Optional[str]) and not nothing and raw[:1] not in ("'", '"'):
        value = raw  # a shell has quotes of its own
    else:
        value = read_yaml(raw, said).data
    section = data
    for name in path[:-1]:
        inner = section.get(name)
        section[name] = dict(inner) if isinstance(inner, dict) else {}
        section = section[name]
    section[path[-1]] = value
    origin = origins.get(path[0], _Origin("the configuration", {}, (path[0],)))
    origins[path[0]] = origin._replace(changed={**origin.changed, tuple(path[1:]): said})


def _parse(data: Mapping[str, Any], origins: Mapping[str, _Origin]) -> Config:
    for name in data:
        if name not in SECTIONS:
            origin = origins[name]
            said = next(iter(origin.changed.values()), origin.of(()))
            raise ReidEdgeError("%s: %s." % (said, _unknown_section(name)))
    sections = {name: _section(name, value, origins[name]) for name, value in data.items()}
    return Config(**sections)


def _section(name: str, data: Any, origin: _Origin) -> Any:
    data = {} if data is None else data
    try:
        checked = _MODELS[name].model_validate_json(json.dumps({"value": data}))
    except ValidationError as error:
        raise ReidEdgeError(_first_mistake(name, error, origin)) from None
    except ReidEdgeError as error:  # from the dataclass, about values that are allowed by type
        named = [key for key in data if re.search(r"\b%s\b" % re.escape(key), str(error))]
        said = origin.of(named[:1]) if named else origin.of(())
        raise ReidEdgeError("%s: section %s: %s" % (said, name, error)) from None
    return checked.value  # type: ignore[attr-defined]


def _first_mistake(section: str, error: ValidationError, origin: _Origin) -> str:
    mistakes = error.errors(include_url=False)
    first = mistakes[0]
    names = [str(part) if not isinstance(part, int) else part for part in first["loc"][1:]]
    more = " (and %d more)" % (len(mistakes) - 1) if len(mistakes) > 1 else ""
    if first["type"] == "missing":  # of a list, which is what the sentence is about
        names = names[:-1]
    dotted = plain(".".join(str(name) for name in [section, *names]))
    if first["type"] in UNKNOWN:
        known = _fields_at([section, *names[:-1]])
        what = unknown_field(str(names[-1]), first.get("input"), known, _ELSEWHERE)
        inside = plain(".".join(str(name) for name in [section, *names[:-1]]))
        return "%s: section %s: %s%s." % (origin.of(names), inside, what, more)
    what = wrong_value(first, _fields_at([section, *names]))
    return "%s: %s %s%s." % (origin.of(names), dotted, what, more)


def _unknown_section(name: str) -> str:
    if name in _ELSEWHERE:
        return "%s stands outside of a section; it belongs in %s" % (
            name,
            " or ".join(_ELSEWHERE[name]),
        )
    near = nearest(name, SECTIONS)
    hint = "did you mean %s" % near if near else "known are %s" % ", ".join(SECTIONS)
    return "unknown section %s; %s" % (shown(name), hint)


def _kind_at(path: Sequence[Any]) -> Any:
    """The type of a field by its dotted path, or None if there is no such field."""
    kind: Any = SECTIONS.get(path[0])
    for name in path[1:]:
        kind = get_type_hints(kind).get(name) if is_dataclass(kind) else None
    return kind


def _fields_at(path: Sequence[Any]) -> List[str]:
    kind = _kind_at(path)
    return list(get_type_hints(kind)) if is_dataclass(kind) else []


def _sections_below(name: str, kind: Any) -> Dict[str, List[str]]:
    hints = get_type_hints(kind)
    found = {name: list(hints)}
    for inner, inner_kind in hints.items():
        if is_dataclass(inner_kind):
            found.update(_sections_below("%s.%s" % (name, inner), inner_kind))
    return found


_ELSEWHERE = by_name(
    {
        section: names
        for name, kind in SECTIONS.items()
        for section, names in _sections_below(name, kind).items()
    }
)
