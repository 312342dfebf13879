"""The YAML of a configuration: what is read, on which line, and what is refused."""

import math

import pytest
import yaml

from follow_robot.config_yaml import MAX_BYTES, read_yaml, shown
from runtime.errors import ReidEdgeError

TEXT = """\
# a comment
safety:
  speed_mps: 0.5
  stop_repeats: 5
  name: "0.5"
list: [1, 2.5, text]
empty:
nested:
  deeper:
    - a: true
      b: ~
"""


def test_values_and_lines():
    document = read_yaml(TEXT, "car.yaml")
    assert document.data == yaml.safe_load(TEXT)
    assert document.lines[("safety",)] == 2
    assert document.lines[("safety", "stop_repeats")] == 4
    assert document.lines[("list", 1)] == 6
    assert document.lines[("nested", "deeper", 0, "b")] == 11


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 0.001),  # text in YAML 1.1
        ("1E5", 1e5),
        (".5", 0.5),
        ("-2", -2),
        ("+3", 3),
        ("007", 7),
        ("010", 10),  # 8 in YAML 1.1
        ("1_000", "1_000"),
        ("12:30", "12:30"),  # 750 in YAML 1.1
        ("yes", "yes"),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("2026-01-01", "2026-01-01"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("0x10", "0x10"),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = read_yaml("a: %s" % text, "car.yaml").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_numbers_that_are_not_finite():
    data = read_yaml("a: [.inf, -.inf, .nan]", "car.yaml").data["a"]
    assert data[:2] == [math.inf, -math.inf]
    assert math.isnan(data[2])


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: 1\nb: 2\na: 3", "car.yaml: line 3: 'a' is given twice (first on line 1)"),
        ("a:\n  b: 1\n  b: 1", "line 3: 'b' is given twice (first on line 2)"),
        ("a: &x 1\nb: *x", "line 1: anchors and aliases"),
        ("b: *x", "line 1: anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "tag:yaml.org,2002:python/object/apply"),
        ("a: !!binary abcd", "is not supported; remove the tag"),
        ("a: !!int x", "is not supported; remove the tag"),
        ("a: !!set {x}", "is not supported"),
        ("1: a", "line 1: a field's name must be text, got 1"),
        ("? [a]\n: b", "a field's name must be text"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("a: [1", "not valid YAML"),
        ("a: b: c", "line 1: not valid YAML"),
        ("\ta: 1", "line 1: not valid YAML"),
        ('a: "\\q"', "not valid YAML"),
        ("a: \x01", "not valid YAML"),
        ("[" * 100000, "nested more than 16 deep"),  # crashes libyaml's composer
        ("- " * 100000, "nested more than 16 deep"),
        ("#" * (MAX_BYTES + 1), "more than %d characters" % MAX_BYTES),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(text, said):
    with pytest.raises(ReidEdgeError) as caught:
        read_yaml(text, "car.yaml")
    message = str(caught.value)
    assert said in message
    assert message.startswith("car.yaml")
    assert message.endswith(".") and "\n" not in message


def test_an_empty_file_is_nothing():
    assert read_yaml("", "car.yaml").data is None
    assert read_yaml("# only a comment\n", "car.yaml").data is None


def test_shown_is_short_and_as_yaml_writes_it():
    assert [shown(v) for v in (None, True, False, 1.5, "x")] == [
        "null",
        "true",
        "false",
        "1.5",
        "'x'",
    ]
    assert len(shown("x" * 1000)) == 60
