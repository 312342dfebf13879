"""The documented file of defaults says what the dataclasses say."""

import dataclasses
import json
from typing import Any, Dict, Iterator, Tuple

import pytest
import yaml

from follow_robot.config import DEFAULTS, SECTIONS, Config, load_config
from follow_robot.config_document import described, document
from follow_robot.config_yaml import read_yaml
from follow_robot.units import unit_of
from runtime.detectors.base import DetectorSettings

TEXT = DEFAULTS.read_text(encoding="utf-8")


def leaves(kind: type, path: Tuple[str, ...]) -> Iterator[Tuple[str, ...]]:
    default = kind()
    for field in dataclasses.fields(kind):
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(type(value), (*path, field.name))
        else:
            yield (*path, field.name)


FIELDS = [leaf for name, kind in SECTIONS.items() for leaf in leaves(kind, (name,))]


def as_lists(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_the_file_is_what_the_dataclasses_say():
    assert TEXT == document(), "run: python -m follow_robot.config_document > %s" % DEFAULTS


def test_its_values_are_the_defaults_however_yaml_is_read():
    defaults = as_lists(dataclasses.asdict(Config()))
    assert yaml.safe_load(TEXT) == defaults
    assert read_yaml(TEXT, "defaults.yaml").data == defaults
    assert load_config(DEFAULTS) == Config()


def test_every_field_is_there_with_a_comment_above_and_its_unit_behind():
    lines = TEXT.splitlines()
    where = read_yaml(TEXT, "defaults.yaml").lines
    assert len(FIELDS) > 150
    for path in FIELDS:
        line = where[path] - 1
        above = lines[line - 1].strip()
        assert above.startswith("# ") and len(above) > 5, path
        unit = unit_of(path[-1])
        if unit is not None:
            assert lines[line].endswith("  # %s" % unit.symbol), path


def test_every_section_is_introduced():
    lines = TEXT.splitlines()
    where = read_yaml(TEXT, "defaults.yaml").lines
    for name in SECTIONS:
        assert lines[where[(name,)] - 2].startswith("# ")


def test_lines_fit_a_terminal():
    assert max(len(line) for line in TEXT.splitlines()) <= 100
    assert "``" not in TEXT and "\t" not in TEXT


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_a_section_is_described(name):
    kind = SECTIONS[name]
    meanings = described(kind)
    missing = [f.name for f in dataclasses.fields(kind) if not meanings.get(f.name)]
    assert not missing


def test_a_section_that_extends_a_part_describes_both():
    meanings = described(SECTIONS["detector"])
    assert meanings["score_threshold"] == described(DetectorSettings)["score_threshold"]
    assert meanings["model"].startswith("ONNX file")


def test_described_reads_the_attributes_of_a_docstring():
    @dataclasses.dataclass
    class Part:
        """A part.

        Attributes:
            a, b: Two of
                them: both.
            c: One.

        Raises:
            ValueError: d: never.
        """

        a: int = 1
        b: int = 1
        c: int = 1

    expected: Dict[str, str] = {"a": "Two of them: both.", "b": "Two of them: both.", "c": "One."}
    assert described(Part) == expected
