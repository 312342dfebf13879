"""The configuration: dataclasses from YAML, and what is said about mistakes."""

import random
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from follow_robot.config import SECTIONS, Config, config_from_text, load_config, parse_config
from follow_robot.safety_limits import HARD_CAPS, SafetyLimits
from runtime.errors import ReidEdgeError
from runtime.kalman import MotionNoise

CAR = """\
source:
  input: "1"
  width: 640
  height: 480
camera:
  height_m: 0.15
lock:
  accept: 0.45
  verify_hits: 3
tracker:
  memory_s: 3
  noise:
    measured: [0.05, 0.06]
safety:
  speed_mps: 0.4
  obstacle_required: true
chassis: {open: "wheeltec:/dev/ttyUSB0"}
"""


def write(folder: Path, text: str, name: str = "car.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(text: str, *overrides: str) -> str:
    """The one sentence with which a configuration is refused."""
    with pytest.raises(ReidEdgeError) as caught:
        config_from_text(text, "car.yaml", overrides)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_without_a_file_everything_has_its_default():
    assert load_config() == Config()
    assert config_from_text("", "car.yaml") == Config()
    assert config_from_text("lock:\nsafety: {}\n", "car.yaml") == Config()


def test_a_file_sets_fields_and_leaves_the_rest(tmp_path):
    config = load_config(write(tmp_path, CAR))
    default = Config()
    assert (config.source.input, config.source.width, config.source.height) == ("1", 640, 480)
    assert config.camera == replace(default.camera, height_m=0.15)
    assert config.lock == replace(default.lock, accept=0.45, verify_hits=3)
    noise = replace(MotionNoise(), measured=(0.05, 0.06))
    assert config.tracker == replace(default.tracker, memory_s=3.0, noise=noise)
    assert type(config.tracker.memory_s) is float  # a whole number where a number is wanted
    assert config.safety == SafetyLimits(speed_mps=0.4, obstacle_required=True)
    assert config.chassis.open == "wheeltec:/dev/ttyUSB0"
    untouched = ("detector", "bundle", "person", "filter", "controller", "drive", "recording")
    assert all(getattr(config, name) == getattr(default, name) for name in untouched)


def test_sections_are_the_dataclasses_of_the_parts():
    assert [f.name for f in fields(Config)] == list(SECTIONS)
    for name, kind in SECTIONS.items():
        assert is_dataclass(kind) and isinstance(getattr(Config(), name), kind)


def test_the_command_line_changes_the_file(tmp_path):
    path = write(tmp_path, CAR)
    config = load_config(
        path,
        [
            "safety.speed_mps=0.3",
            "tracker.noise.wander=[0.1, 0.2]",
            "source.input=0",  # text, although it looks like a number
            "bundle.path=my bundle: the second",
            "detector.kind=null",
            "detector.model=@home/[a",  # not YAML
            "chassis.open='null'",
            "estop.devices=[joystick, 'gpio:18']",
            "safety.speed_mps=0.2",  # the last one counts
        ],
    )
    assert config.safety == SafetyLimits(speed_mps=0.2, obstacle_required=True)
    assert config.tracker.noise == replace(MotionNoise(), measured=(0.05, 0.06), wander=(0.1, 0.2))
    assert config.source.input == "0"
    assert config.bundle.path == "my bundle: the second"
    assert config.detector.kind is None
    assert config.detector.model == "@home/[a"
    assert config.chassis.open == "null"
    assert config.estop.devices == ("joystick", "gpio:18")


@pytest.mark.parametrize("named", [True, False])
def test_a_section_may_stand_in_its_own_file(tmp_path, named):
    part = "camera:\n  height_m: 0.3\n" if named else "height_m: 0.3\n"
    write(tmp_path, part, "camera.yaml")
    config = load_config(write(tmp_path, "camera: camera.yaml\n"))
    assert config.camera.height_m == 0.3


def test_a_mistake_in_a_section_file_names_that_file(tmp_path):
    part = write(tmp_path, "camera:\n  height_cm: 30\n", "camera.yaml")
    path = write(tmp_path, "safety:\n  speed_mps: 0.3\ncamera: camera.yaml\n")
    with pytest.raises(ReidEdgeError, match="give height_m in metres") as caught:
        load_config(path)
    assert str(caught.value).startswith("%s: line 2: section camera" % part)
    part.unlink()
    with pytest.raises(ReidEdgeError, match="No such file") as caught:
        load_config(path)
    assert str(caught.value).startswith("%s: line 3: section camera" % path)


def test_what_is_written_is_read_back():
    config = config_from_text(CAR, "car.yaml")
    assert parse_config(config.to_dict(), "a record") == config
    changed = parse_config(config.to_dict(), "a record", ["lock.accept=0.4"])
    assert changed == replace(config, lock=replace(config.lock, accept=0.4))


def test_secrets_do_not_leave():
    text = (
        "source: {input: 'rtsp://me:pass-word@camera/1'}\ndashboard: {token: 'a-long-secret-token'}"
    )
    config = config_from_text(text, "car.yaml")
    told = str(config.without_secrets().to_dict())
    assert "pass-word" not in told and "a-long-secret-token" not in told
    assert "camera/1" in told


# -- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field, said",
    [
        ("speed_kmh: 1.8", "unknown field speed_kmh; give speed_mps in metres per second (1.8 km/h is 0.5)"),
        ("speed_km_h: 1.8", "give speed_mps in metres per second (1.8 km/h is 0.5)"),
        ("speed_cm_s: 20", "unknown field speed_cm_s; give speed_mps in metres per second (20 cm/s is 0.2)"),
        ("speed: 1", "unknown field speed; give speed_mps in metres per second"),
        ("obstacle_stop_cm: 40", "give obstacle_stop_m in metres (40 cm is 0.4)"),
        ("command_age_ms: 300", "give command_age_s in seconds (300 ms is 0.3)"),
        ("turn_degps: 90", "give turn_radps in radians per second (90 degrees/s is 1.5708)"),
        ("turn_deg_s: text", "give turn_radps in radians per second"),
        ("spede_mps: 1", "unknown field spede_mps; did you mean speed_mps"),
        ("accept: 1", "unknown field accept; it belongs in lock"),
        ("zebra: 1", "unknown field zebra; known are acceleration_mps2, braking_mps2"),
    ],
)  # fmt: skip
def test_an_unknown_field_is_answered_with_what_was_meant(field, said):
    message = refused("safety:\n  stop_repeats: 5\n  %s\n" % field)
    assert message.startswith("car.yaml: line 3: section safety: ")
    assert said in message


def test_every_field_with_a_unit_is_found_by_its_usual_other_units():
    others = {"mps": "kmh", "m": "cm", "s": "ms", "rad": "deg", "radps": "degps"}
    seen = 0
    for section, kind in SECTIONS.items():
        for field in fields(kind):
            stem, _, unit = field.name.rpartition("_")
            if unit in others and stem:
                wrong = "%s_%s" % (stem, others[unit])
                if wrong not in {f.name for f in fields(kind)}:
                    message = refused("%s:\n  %s: 1\n" % (section, wrong))
                    assert re.search(r"give %s in \w+" % field.name, message), message
                    seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    "text, said",
    [
        ("safety: {speed_mps: '0.5'}", "safety.speed_mps must be a number, got the text '0.5'; remove the quotes"),
        ("safety: {speed_mps: fast}", "safety.speed_mps must be a number, got the text 'fast'."),
        ("safety: {speed_mps: true}", "safety.speed_mps must be a number, got true"),
        ("safety: {speed_mps: null}", "safety.speed_mps must be a number, got null"),
        ("safety: {speed_mps: [1]}", "safety.speed_mps must be a number, got [1]"),
        ("safety: {speed_mps: .nan}", "safety.speed_mps must be a finite number, got nan"),
        ("safety: {speed_mps: -.inf}", "safety.speed_mps must be a finite number, got -inf"),
        ("safety: {stop_repeats: 5.0}", "safety.stop_repeats must be a whole number, got 5.0"),
        ("safety: {stop_repeats: true}", "safety.stop_repeats must be a whole number, got true"),
        ("safety: {obstacle_required: 1}", "safety.obstacle_required must be true or false, got 1"),
        ("safety: {obstacle_required: yes}", "safety.obstacle_required must be true or false, got the text 'yes'"),
        ("source: {input: 0}", 'source.input must be text, got 0; put it in quotes: "0"'),
        ("chassis: {open: null}", 'chassis.open must be text, got null; put it in quotes: "null"'),
        ("tracker: {noise: 3}", "tracker.noise must be a section with fields such as measured"),
        ("tracker: {noise: {wandr: [1, 1]}}", "section tracker.noise: unknown field wandr; did you mean wander"),
        ("tracker: {noise: {wander: [1]}}", "tracker.noise.wander needs 2 values or more, got fewer"),
        ("tracker: {noise: {wander: [1, 2, 3]}}", "tracker.noise.wander must have 2 values, got more"),
        ("tracker: {noise: {wander: 1}}", "tracker.noise.wander must be a list, got 1"),
        ("tracker: {noise: {wander: [1, x]}}", "tracker.noise.wander.1 must be a number, got the text 'x'"),
        ("estop: {devices: joystick}", "estop.devices must be a list, got the text 'joystick'"),
        ("lock: 3", "lock must be a section with fields such as accept"),
        ("lock: [accept]", "lock must be a section"),
        ("lock: strict", "lock must be a section with fields such as accept"),
        ("safty: {speed_mps: 1}", "unknown section 'safty'; did you mean safety"),
        ("elephant: 1", "unknown section 'elephant'; known are source, detector"),
        ("speed_mps: 1", "speed_mps stands outside of a section; it belongs in controller or safety"),
        ("- safety", "car.yaml must be sections such as 'safety:'"),
        ("safety", "car.yaml must be sections such as 'safety:'"),
        ("safety: {speed_mps: 9}", "Safety limit speed_mps may be at most 1.5 (a hard cap), got 9"),
        ("controller: {speed_mps: 9}", "speed_mps may be at most 1.5 (a hard cap), got 9"),
        ("lock: {accept: 0.9}", "section lock: The lock needs -1 <= keep <= accept <= strict <= 1"),
        ("chassis: {open: 'wheltec:/dev/ttyUSB0'}", "section chassis: Chassis 'wheltec:/dev/ttyUSB0' is none of"),
        ("obstacle: {open: sonar}", "section obstacle: An obstacle sensor is given as"),
        ("estop: {devices: [bell]}", "section estop: A stop is given as"),
        ("detector: {kind: yolo99}", "section detector: The detector's kind must be one of"),
        ("recording: {sync_s: 60}", "section recording: Recording's sync_s must be 0.1 to 10"),
        ('safety: {"a\\nb": 1}', "unknown field 'a\\nb'; known are"),
        ("safety: {speed_mps: 1.0, a: 1, b: 2}", "(and 1 more)"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_said_in_one_sentence(text, said):
    message = refused(text)
    assert said in message
    assert message.startswith("car.yaml: line 1") or text[:7] in ("- safet", "safety")


def test_a_value_out_of_range_names_its_line():
    message = refused("safety:\n  stop_repeats: 5\n  turn_radps: 99\n")
    assert message.startswith("car.yaml: line 3: section safety: Safety limit turn_radps")


@pytest.mark.parametrize("name, cap", sorted(HARD_CAPS.items()))
def test_no_configuration_lifts_a_hard_cap(name, cap):
    text = "safety:\n  %s: %r\n"
    assert getattr(config_from_text(text % (name, cap), "car.yaml").safety, name) == cap
    message = refused(text % (name, cap * 1.001))
    assert "car.yaml: line 2" in message and "(a hard cap)" in message
    message = refused("", "safety.%s=%r" % (name, cap * 1.001))
    assert "(a hard cap)" in message


@pytest.mark.parametrize(
    "override, said",
    [
        ("safety.speed_mps", "--set needs section.field=value, such as safety.speed_mps=0.4, got"),
        ("safety=1", "--set needs section.field=value"),
        ("=1", "--set needs section.field=value"),
        ("safety.=1", "--set needs section.field=value"),
        ("safety.speed_mps=fast", "--set safety.speed_mps=fast: safety.speed_mps must be a number"),
        ("safety.speed_kmh=3.6", "--set safety.speed_kmh=3.6: section safety: unknown field speed_kmh"),
        ("saftey.speed_mps=1", "--set saftey.speed_mps=1: unknown section 'saftey'"),
        ("safety.speed_mps=[1", "not valid YAML"),
        ("safety.speed_mps.x=1", "safety.speed_mps must be a number, got {'x': 1}"),
        ("safety.turn_radps=99", "--set safety.turn_radps=99: section safety: Safety limit turn_radps"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line_name_the_option(override, said):
    assert said in refused("lock: {accept: 0.5}", override)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Cannot read configuration .*: No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ReidEdgeError, match=r"Cannot read configuration .*: Is a directory"):
        load_config(tmp_path)
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"lock: \xff\xfe")
    with pytest.raises(ReidEdgeError, match="is not UTF-8 text \\(byte 6\\)"):
        load_config(path)
    path.write_bytes(b"\xef\xbb\xbflock: {accept: 0.45}")  # as some editors save
    assert load_config(path).lock.accept == 0.45


# -- fuzzing ----------------------------------------------------------------------------------------

_TOKENS = ["0", "-1", "1e999", "-1e-300", ".nan", ".inf", "true", "null", "''", '"0"', "[]", "{}"]
_TOKENS += ["[1, 2]", "{a: 1}", "&a 1", "*a", "!!int x", "---", "...", "\t", "\n", "  ", ": ", "- "]
_TOKENS += [
    "? ",
    "#",
    "%",
    "@",
    "`",
    "|",
    ">",
    "<<",
    "\x00",
    "\u2028",
    "\ud800",
    "9" * 30,
    "[" * 40,
]
_TOKENS += ["speed_kmh: 3", "safety:", "input: 0", "'", '"\\x"', "wheeltec:", "gpio:1", "lines:/x"]


def mutated(text: str, rng: random.Random) -> str:
    """``text`` with one to four changes such as typing errors and copied pieces make."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + rng.choice((0, 1, 3, 20)))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + rng.choice(_TOKENS) + text[end:]
        elif kind == 1:
            text = (
                text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[at:]
            )
        elif kind == 2:
            text = text[:at] + text[end:]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:other] + text[at:end] + text[other:]
    return text


def survives(text: str, folder: Path) -> bool:
    """Whether a configuration is accepted; what refuses it must be one sentence."""
    try:
        config_from_text(text, "car.yaml", (), folder)
        return True
    except ReidEdgeError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000, text
        return False


# Each text starts from one section, so that a change seldom hides behind another mistake.
PARTS = [CAR[m.start() : m.end()] for m in re.finditer(r"^\w+:.*\n(  .*\n)*", CAR, re.M)]


def fuzz(count: int, seed: int, folder: Path) -> int:
    """Number of mutated configurations that were accepted."""
    rng = random.Random(seed)
    return sum(survives(mutated(rng.choice(PARTS), rng), folder) for _ in range(count))


def test_mutated_configurations_end_in_a_sentence_or_a_configuration(tmp_path):
    accepted = fuzz(5000, 1, tmp_path)
    assert 200 < accepted < 4800  # both ends are reached


@pytest.mark.slow
def test_a_hundred_thousand_mutated_configurations(tmp_path):
    assert fuzz(100000, 2, tmp_path) > 4000
