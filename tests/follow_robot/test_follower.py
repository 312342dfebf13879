"""What the lock says becomes a command, with the times it rests on; nothing moves without all of it."""

import math

import pytest

from follow_robot.chain import follower_of
from follow_robot.config import config_from_text
from follow_robot.velocity import STOP, Velocity
from runtime.frame_record import FrameRecord
from runtime.lock_types import ENROLLING, IDLE, LOCKED, LOST, OCCLUDED, SEARCHING, LockOutput
from tests.follow_robot.figures import figure_box

CONFIG = config_from_text("camera: {height_m: 0.5}\ncontroller: {distance_m: 1.5}", "test")
SIZE = (480, 640)
PERIOD_S = 0.1


@pytest.fixture
def follower():
    made = follower_of(CONFIG)
    made.going = True
    return made


def box_at(distance_m, bearing_rad=0.0):
    return figure_box(CONFIG.camera, SIZE, distance_m, bearing_rad, CONFIG.person)


def record(time_s, state=LOCKED, box=None):
    lock = LockOutput(state, 1 if box else None, box)
    return FrameRecord(0, time_s, SIZE, [], lock, [1, 0, 0, 0, 1, 0])


def follow(follower, count=10, distance_m=3.0, start_s=0.0, bearing_rad=0.0):
    """The target stands there for some frames; the last decision."""
    for index in range(count):
        time_s = start_s + index * PERIOD_S
        decision = follower.step(
            record(time_s, LOCKED, box_at(distance_m, bearing_rad)), time_s + 0.02
        )
    return decision


def test_it_drives_towards_a_target_that_is_too_far(follower):
    decision = follow(follower, distance_m=3.0)
    assert decision.measurement.distance_m == pytest.approx(3.0, rel=0.1)
    assert decision.estimate.distance_m == pytest.approx(3.0, rel=0.1)
    assert decision.command.velocity.vx_mps > 0.2


def test_it_turns_to_where_the_target_is(follower):
    left = follow(follower, distance_m=2.5, bearing_rad=0.3).command.velocity
    assert left.wz_radps > 0.1
    other = follower_of(CONFIG)
    other.going = True
    right = follow(other, distance_m=2.5, bearing_rad=-0.3).command.velocity
    assert right.wz_radps == pytest.approx(-left.wz_radps, abs=0.02)


def test_a_command_carries_the_times_it_rests_on(follower):
    command = follow(follower, 3).command
    assert command.frame_time_s == command.target_time_s == pytest.approx(0.2)
    assert command.made_s == pytest.approx(0.22)
    gone = follower.step(record(0.3, SEARCHING), 0.32).command
    assert (gone.frame_time_s, gone.made_s) == (0.3, 0.32)
    assert gone.target_time_s == pytest.approx(0.2)


def test_commands_are_numbered_without_gaps(follower):
    numbers = [follow(follower, 1).command.sequence]
    numbers.append(follower.halt(0.5).sequence)
    numbers.append(follower.step(record(0.6, IDLE), 0.6).command.sequence)
    assert numbers == [1, 2, 3]


def test_nothing_moves_on_hold(follower):
    follower.going = False
    assert follow(follower).command.velocity == STOP
    follower.going = True
    assert follow(follower, start_s=1.0).command.velocity.vx_mps > 0


def test_a_new_one_is_on_hold():
    assert follow(follower_of(CONFIG)).command.velocity == STOP


@pytest.mark.parametrize("state", [IDLE, ENROLLING, SEARCHING, LOST])
def test_a_car_without_a_target_stands_at_once(follower, state):
    assert follow(follower).command.velocity.vx_mps > 0
    assert follower.step(record(1.0, state), 1.02).command.velocity == STOP


def test_behind_somebody_it_goes_on_for_a_moment_only(follower):
    follow(follower)
    last_seen_s = 0.9
    time_s, moved = last_seen_s, []
    while time_s < last_seen_s + 1.0:
        time_s += PERIOD_S / 2
        decision = follower.step(record(time_s, OCCLUDED), time_s)
        assert decision.measurement is None
        assert decision.command.target_time_s == pytest.approx(last_seen_s)
        if decision.command.velocity != STOP:
            moved.append(time_s - last_seen_s)
    assert moved and max(moved) <= CONFIG.controller.stale_s + 1e-9
    assert moved == sorted(moved) and moved[0] == pytest.approx(PERIOD_S / 2)


def test_a_picture_that_is_not_believed_moves_nothing(follower):
    follow(follower)
    frozen = follower.step(record(1.0, LOCKED, box_at(3.0)), 1.02, frame_time_s=0.9)
    assert frozen.measurement is None and frozen.command.velocity == STOP
    assert frozen.command.frame_time_s == 0.9
    assert frozen.command.target_time_s == pytest.approx(0.9)


def test_a_black_camera_from_the_start(follower):
    command = follower.step(record(1.0, IDLE), 1.02, frame_time_s=-math.inf).command
    assert command.velocity == STOP and command.frame_time_s == -math.inf


def test_the_cars_own_motion_is_not_the_targets(follower):
    """A car that closes in at 0.3 m/s on somebody who stands sees the distance shrink."""
    for index in range(20):
        time_s = index * PERIOD_S
        box = box_at(4.0 - 0.3 * time_s)
        decision = follower.step(record(time_s, LOCKED, box), time_s, Velocity(0.3))
    assert decision.estimate.approach_mps == pytest.approx(0.0, abs=0.1)


def test_halt_is_a_stop_that_rests_on_no_frame(follower):
    follow(follower)
    command = follower.halt(1.0)
    assert command.velocity == STOP and command.frame_time_s == -math.inf
    assert command.target_time_s == pytest.approx(0.9) and command.made_s == 1.0
    after = follower.step(record(1.0, LOCKED, box_at(3.0)), 1.02).command.velocity
    assert after.vx_mps <= CONFIG.controller.acceleration_mps2 * 0.2 + 1e-9  # from a standstill


def test_another_target_starts_from_nothing(follower):
    follow(follower)
    follower.forget()
    decision = follower.step(record(1.0, LOCKED), 1.02)
    assert decision.estimate is None and decision.command.velocity == STOP
    assert decision.command.target_time_s == -math.inf
