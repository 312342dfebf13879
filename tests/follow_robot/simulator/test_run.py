"""The closed loop in simulated time, down to the bytes on a real pseudo-terminal."""

import json

import numpy as np
import pytest

from follow_robot.safety_gate import FRAME_OLD, PRESSED
from follow_robot.simulator.generator import random_scenario
from follow_robot.simulator.run import play
from follow_robot.simulator.scenario import load_scenario, parse_scenario
from follow_robot.velocity import STOP

LATEST_S = 0.35
WALK = {
    "duration_s": 9,
    "walls": [[-3, -4, 14, -4], [14, -4, 14, 4], [14, 4, -3, 4], [-3, 4, -3, -4]],
    "people": [
        {
            "name": "target",
            "look": {"seed": 7},
            "start_s": 3,
            "path": [{"at": [1.9, 0.1]}, {"at": [9, 0.6], "speed_mps": 0.45}],
        }
    ],
    "detector": {"miss": 0.0, "phantoms": 0.0},  # faults are the bars' matter
    "config": {
        "controller": {"distance_m": 1.7, "speed_mps": 0.8},
        "safety": {"speed_mps": 0.8},
    },
}


def scenario(**changes):
    return parse_scenario({**WALK, **changes}, "test")


def moving(result, start_s, end_s):
    """Cycles between two times in which the board was told to move."""
    series = result.series
    return [
        time_s
        for time_s, vx, wz in zip(series["time_s"], series["vx_mps"], series["wz_radps"])
        if start_s <= time_s < end_s and (vx or wz)
    ]


@pytest.fixture(scope="module")
def plain(viewer):
    return play(scenario(), viewer)


def test_the_car_follows_and_keeps_its_distance(plain):
    assert plain.enrolled_s is not None and plain.enrolled_s < 3
    assert plain.way_m > 1.5
    assert plain.following_share > 0.9 and plain.wrong_frames == []
    assert plain.after_target_s <= LATEST_S and plain.after_frames_s <= LATEST_S
    assert plain.collisions == {} and plain.nearest_m > 0.5
    assert plain.series["distance_m"][-1] == pytest.approx(1.7, abs=0.5)


def test_nothing_moves_before_somebody_is_chosen(plain):
    assert not moving(plain, 0.0, plain.enrolled_s)


def test_a_run_is_the_same_each_time(viewer, plain):
    again = play(scenario(), viewer)
    assert json.dumps(again.to_dict()) == json.dumps(plain.to_dict())


def test_another_seed_has_other_noise_and_the_same_end(viewer, plain):
    other = play(scenario(seed=5), viewer)
    assert other.series != plain.series
    assert other.wrong_frames == [] and other.following_share > 0.9


@pytest.mark.parametrize(
    "car",
    [
        {"chassis": "rosmaster"},
        {"chassis": "waveshare"},
        {"chassis": "rosmaster", "model": {"drive": "holonomic"}},
        {"model": {"drive": "holonomic"}},
        {"model": {"drive": "ackermann"}},
    ],
)
def test_every_chassis_and_drive_follows(viewer, car):
    result = play(scenario(car=car, duration_s=7), viewer)
    assert result.way_m > 0.7 and result.wrong_frames == []
    assert result.after_target_s <= LATEST_S


def test_a_board_that_boots_late_is_driven_once_it_listens(viewer):
    result = play(scenario(car={"boot_s": 6.0}), viewer)
    assert not moving(result, 0, 6.0)
    assert moving(result, 6.0, 9.0)


def test_a_camera_that_fails_stops_the_car_and_it_goes_on_afterwards(viewer):
    faults = {"camera_freeze": 5.5, "camera_black": 8.0, "camera_unplug": 10.5}
    events = [{"kind": k, "from_s": t, "to_s": t + 1.0} for k, t in faults.items()]
    result = play(scenario(duration_s=13, events=events), viewer)
    for kind, from_s in faults.items():
        assert moving(result, from_s - 0.5, from_s), "it was driving before %s" % kind
        assert not moving(result, from_s + LATEST_S, from_s + 1.0), kind
        assert moving(result, from_s + 1.0, from_s + 2.5), "it goes on after %s" % kind
    assert result.after_frames_s <= LATEST_S and result.after_target_s <= LATEST_S
    assert result.reasons[FRAME_OLD] > 20


def test_a_cable_pulled_for_a_moment_and_for_long(viewer):
    for end_s, pressed in ((7.0, False), (9.0, True)):
        events = [{"kind": "serial_unplug", "from_s": 6, "to_s": end_s}]
        result = play(scenario(duration_s=13, events=events), viewer)
        series = result.series
        away = [v for t, v in zip(series["time_s"], series["vx_mps"]) if 6.1 < t < end_s]
        assert len(set(away)) == 1 and away[0] > 0, "nobody can stop a board without a cable"
        # For long means that whoever plugged it in must allow motion again.
        assert any(reason.startswith(PRESSED) for reason in result.reasons) is pressed
        assert bool(moving(result, end_s + 2.5, 13.0)) is not pressed


def test_light_that_changes_does_not_lose_the_target(viewer):
    events = [{"kind": "light", "from_s": 5, "to_s": 7, "gain": 0.65}]
    result = play(scenario(events=events), viewer)
    assert result.following_share > 0.85 and result.wrong_frames == []


def test_the_last_bytes_on_the_wire_are_a_stop(viewer):
    boards = []
    result = play(scenario(duration_s=6), viewer, watch=lambda g: boards.append(g.stage.firmware))
    assert moving(result, 5.0, 6.0), "it was driving when the run ended"
    board = boards[-1]
    assert board.wanted(100.0) == STOP
    assert board.rejected == 0 and board.commands > 100


def test_a_glimpse_shows_what_happens(viewer):
    glimpses = []
    play(scenario(duration_s=3), viewer, watch=glimpses.append)
    last = glimpses[-1]
    assert last.picture.image.shape == (240, 320, 3)
    assert last.answer.record.people and last.answer.record.lock.box is not None
    assert last.stage.time_s == pytest.approx(3.0, abs=0.1)
    assert last.sent.arrived


def test_nothing_of_the_truth_reaches_the_chain(viewer):
    """With pictures that show nobody, boxes of the truth would still be there."""
    dark = scenario(events=[{"kind": "camera_black", "from_s": 0, "to_s": 9}])
    result = play(dark, viewer)
    assert result.enrolled_s is None and result.way_m == 0


def test_a_real_detector_may_look_instead(viewer):
    from dataclasses import replace

    from runtime.detection import Detections

    seen = []

    def nobody(image):
        seen.append(image.shape)
        return Detections.empty()

    result = play(scenario(duration_s=2), replace(viewer, detect=nobody))
    assert len(seen) == 20 and result.enrolled_s is None


@pytest.mark.parametrize("name", ["two_of_them", "ackermann"])
def test_shipped_scenarios_go_well(viewer, name):
    result = play(load_scenario(name), viewer)
    assert result.wrong_frames == [] and result.enrolled_s is not None
    assert max(result.after_target_s, result.after_frames_s) <= LATEST_S
    assert result.way_m > 1.0


def test_scenes_can_be_drawn_for_people(viewer):
    from follow_robot.simulator.top_view import render_scene

    scenes = []

    def draw(glimpse):
        if glimpse.picture is not None and len(scenes) < 30:
            stage, answer = glimpse.stage, glimpse.answer
            record = None if answer is None else answer.record
            scene = render_scene(
                stage.world, glimpse.picture.image, record, glimpse.sent.heard, 75.0, "said"
            )
            scenes.append(scene)

    play(random_scenario("crowd", 1, 3.0), viewer, watch=draw)
    assert {scene.shape for scene in scenes} == {(360, 960, 3)}
    left, right = scenes[-1][:, :480].astype(int), scenes[-1][:, 480:].astype(int)
    assert np.abs(left - scenes[0][:, :480]).mean() > 1 and right.std() > 10
