"""Scenario files: read back as written, and every mistake said in one sentence with its place."""

import math

import pytest
import yaml

from follow_robot.config import Config, parse_config
from follow_robot.simulator.generator import KINDS, random_scenario
from follow_robot.simulator.scenario import (
    load_scenario,
    open_scenario,
    parse_scenario,
    scenario_yaml,
    shipped,
)
from runtime.errors import ReidEdgeError

SMALL = {"people": [{"name": "target", "path": [{"at": [2, 0]}, {"at": [5, 0]}]}]}


def with_(**changes):
    return {**SMALL, **changes}


def person(**fields):
    return {"people": [*SMALL["people"], {"name": "other", **fields}]}


@pytest.mark.parametrize("kind", KINDS)
def test_made_up_scenarios_are_the_same_each_time_and_survive_their_file(kind):
    for seed in range(25):
        scenario = random_scenario(kind, seed)
        assert scenario == random_scenario(kind, seed)
        assert parse_scenario(yaml.safe_load(scenario_yaml(scenario)), "there") == scenario
        assert scenario != random_scenario(kind, seed + 1)
        assert scenario.people[0].name == "target"


@pytest.mark.parametrize("kind", KINDS)
def test_people_of_made_up_scenarios_start_clear_of_the_car_and_of_walls(kind):
    from follow_robot.simulator.plane import Walls

    for seed in range(25):
        scenario = random_scenario(kind, seed)
        walls = Walls(scenario.walls)
        for who in scenario.people:
            if who.path:
                assert math.hypot(*who.path[0].at) > 1.0
                assert walls.distance(who.path[0].at) > 0.2


def test_there_are_shipped_scenarios_and_all_can_be_read():
    assert {"first_walk", "camera_faults", "two_of_them"} <= set(shipped())
    for name in shipped():
        scenario = load_scenario(name)
        assert scenario.name == name
        assert parse_scenario(yaml.safe_load(scenario_yaml(scenario)), name) == scenario


def test_a_scenario_is_opened_by_whatever_names_it(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    assert open_scenario(str(file)).people[0].name == "target"
    assert open_scenario("crossing", 7) == random_scenario("crossing", 7)
    assert open_scenario("first_walk").name == "first_walk"
    scenario = parse_scenario(SMALL, "x")
    assert open_scenario(scenario) is scenario
    with pytest.raises(ReidEdgeError, match=r"no scenario file .*nowhere.*crossing.*first_walk"):
        open_scenario("nowhere")


def test_the_car_s_configuration_has_the_scenario_s_camera_drive_and_settings():
    data = with_(
        camera={"hfov_deg": 80, "tilt_deg": 10, "height_m": 0.4},
        car={"model": {"drive": "ackermann", "turn_radius_m": 0.6}},
        config={"controller": {"distance_m": 1.9}},
    )
    base = Config()
    config = parse_scenario(data, "x").configuration(base)
    assert config.camera.horizontal_fov_deg == 80
    assert config.camera.pitch_rad == pytest.approx(-math.radians(10))
    assert config.camera.height_m == 0.4
    assert config.drive.kind == "ackermann" and config.drive.turn_radius_m >= 0.6
    assert config.controller.distance_m == 1.9
    assert config.safety == base.safety


def test_a_lens_calibrated_for_a_real_car_is_not_the_simulated_one_s():
    real = dict(zip(("width_px", "height_px"), (640, 480)), f_x_px=500.0, f_y_px=500.0)
    real.update(c_x_px=320.0, c_y_px=240.0, k1=-0.1, yaw_rad=0.2)
    base = parse_config({"camera": real}, "real")
    assert base.camera.f_x_px == 500.0
    camera = parse_scenario(SMALL, "x").configuration(base).camera
    assert camera.f_x_px is None and camera.k1 == 0 and camera.yaw_rad == 0


def test_looks_are_seeds_doubles_or_fields():
    data = {
        "people": [
            {**SMALL["people"][0], "look": {"seed": 4}},
            {"name": "b", "look": {"double_of": "target", "seed": 2}, "path": [{"at": [3, 1]}]},
            {"name": "c", "look": {"top": [9, 8, 7]}, "path": [{"at": [3, 2]}]},
        ]
    }
    target, double, own = parse_scenario(data, "x").walkers()
    assert double.look == target.look.double(2)
    assert own.look.top == (9, 8, 7)


@pytest.mark.parametrize(
    "data, said",
    [
        (None, "a scenario must be a section"),
        ([1], "a scenario must be a section"),
        ({}, "target 'target' is none of the people"),
        (with_(duraton_s=3), "unknown field 'duraton_s'; did you mean duration_s"),
        (with_(duration_s="long"), "duration_s must be a number, got the text 'long'"),
        (with_(duration_s=0.1), "duration_s must be 1 to 3600"),
        (with_(latency_s=5), "latency_s must be 0 to 1"),
        (with_(target="nobody"), "target 'nobody' is none"),
        (with_(camera={"rate": 3}), "unknown field 'rate'; did you mean rate_hz"),
        (with_(camera={"rate_hz": 900}), "rate_hz of 1 to 60"),
        (with_(car={"chassis": "tank"}), "simulated chassis is one of wheeltec"),
        (with_(car={"model": {"drive": "legs"}}), "drive is one of"),
        (
            with_(car={"chassis": "waveshare", "model": {"drive": "holonomic"}}),
            "its drive is differential",
        ),
        (with_(name="a/b"), "name is letters, digits"),
        (with_(events=[{"kind": "rain", "from_s": 1, "to_s": 2}]), "event's kind is one of"),
        (with_(events=[{"kind": "light", "from_s": 3, "to_s": 2}]), "0 <= from_s < to_s"),
        (with_(events=[{"kind": "light", "from_s": 3}]), "events.0.to_s is missing"),
        (with_(walls=[[0, 0, 1]]), "walls.0.3 is missing"),
        (person(), "other needs a path or a passing"),
        (person(path=[{"at": [1]}]), "people.1.path.0.at.1 is missing"),
        (person(path=[{"at": [1, float("nan")]}]), "must be a finite number"),
        (person(path=[{"at": [1, 1]}], look={"seed": -1}), "look's seed is a whole number"),
        (person(path=[{"at": [1, 1]}], look={"double_of": "x"}), "listed above, got 'x'"),
        (person(path=[{"at": [1, 1]}], look={"seed": 1, "top": [1, 2, 3]}), "a seed, a double_of"),
        ({"people": SMALL["people"] * 2}, "different names"),
        (
            {"people": [{"name": "target", "passing": {"at_s": 3}}]},
            "target walks along a path",
        ),
    ],
)
def test_every_mistake_is_one_sentence(data, said):
    with pytest.raises(ReidEdgeError, match=said) as caught:
        parse_scenario(data, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml") and "\n" not in str(caught.value)


def test_a_setting_of_the_car_that_is_wrong_is_said_when_it_is_needed():
    scenario = parse_scenario(with_(config={"safety": {"speed_mps": 9}}), "x")
    with pytest.raises(ReidEdgeError, match="speed_mps may be at most"):
        scenario.configuration()


def test_a_mistake_in_a_file_has_its_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: x\npeople:\n  - name: target\n    speed: 3\n")
    with pytest.raises(ReidEdgeError, match=r"mine\.yaml: line 4: unknown field 'speed'"):
        load_scenario(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReidEdgeError, match="not UTF-8"):
        load_scenario(file)
    with pytest.raises(ReidEdgeError, match="Cannot read scenario"):
        load_scenario(tmp_path)


def test_a_long_scenario_stays_inside_its_hall():
    scenario = random_scenario("crossing", 3, 300.0)
    target = scenario.people[0]
    xs, ys = zip(*[w.at for w in target.path])
    way = sum(math.hypot(x1 - x0, y1 - y0) for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:]))
    assert way > 0.3 * 250
    assert max(xs) < 12 and max(map(abs, ys)) < 3.8
    assert len(scenario.people) > 20
