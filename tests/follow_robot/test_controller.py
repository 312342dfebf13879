"""The controller: limits that always hold, and a closed loop that follows."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.camera_model import CameraModel
from follow_robot.controller import Controller, ControllerSettings
from follow_robot.drive import ACKERMANN, DIFFERENTIAL, HOLONOMIC, KINDS, Drive
from follow_robot.ranging import PersonPrior, measure
from follow_robot.target import TargetEstimate
from follow_robot.target_filter import TargetFilter
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.following import Car, follow

GOAL_M = ControllerSettings().distance_m
S = ControllerSettings()


def at(
    time_s, distance=2.0, bearing=0.0, approach=0.0, sigma=0.05, bearing_sigma=0.02, seen_s=None
):
    seen_s = time_s if seen_s is None else seen_s
    return TargetEstimate(distance, bearing, sigma, bearing_sigma, approach, seen_s, time_s)


def settle(controller, seconds=3.0, period_s=0.05, start_s=0.0, **place):
    """The same estimate again and again; the last velocity."""
    velocity = STOP
    for i in range(round(seconds / period_s) + 1):
        now = start_s + i * period_s
        velocity = controller.update(at(now, **place), now)
    return velocity


def no_delay(**values):
    """Settings under which an estimate that never changes is not corrected for the car's motion."""
    return ControllerSettings(reaction_s=0.0, **values)


# One decision at a time.


def test_starts_from_a_standstill_and_reaches_full_speed():
    controller = Controller()
    assert controller.update(at(0.0, 3.0), 0.0) == STOP
    assert settle(controller, start_s=0.1, distance=3.0) == pytest.approx((S.speed_mps, 0, 0))


def test_speed_is_the_targets_plus_what_closes_the_distance():
    controller = Controller(ControllerSettings(distance_time_s=1.0))
    # 0.1 m too far from somebody who walks away at 0.3 m/s.
    found = settle(controller, distance=GOAL_M + 0.1, approach=-0.3)
    assert found.vx_mps == pytest.approx(0.4)
    # 0.1 m too near to the same: still after them, but slower.
    found = settle(controller, start_s=3.05, distance=GOAL_M - 0.1, approach=-0.3)
    assert found.vx_mps == pytest.approx(0.2)


def test_somebody_who_comes_nearer_is_awaited():
    controller = Controller()
    assert settle(controller, distance=GOAL_M + 0.3, approach=0.5) == STOP


def test_turns_towards_the_target():
    for bearing in (0.3, -0.3):
        found = settle(Controller(), distance=GOAL_M, bearing=bearing, seconds=1.0)
        assert found.vx_mps == 0
        assert found.wz_radps == pytest.approx(bearing / S.bearing_time_s, rel=0.01)


def test_a_target_far_to_the_side_is_turned_to_first():
    ahead = settle(Controller(), distance=3.0, bearing=0.2).vx_mps
    aside = settle(Controller(), distance=3.0, bearing=0.6).vx_mps
    assert 0 < aside < 0.6 * ahead
    found = settle(Controller(no_delay()), distance=3.0, bearing=S.drive_bearing_rad + 0.01)
    assert found.vx_mps == 0 and found.wz_radps == pytest.approx(S.turn_radps)


def test_uncertainty_slows_and_stops():
    speeds = [
        settle(Controller(), distance=3.0, sigma=3.0 * share).vx_mps
        for share in (0.05, 0.2, 0.3, 0.4, 0.5, 0.9)
    ]
    assert speeds[:2] == pytest.approx([S.speed_mps] * 2)
    assert speeds[1] > speeds[2] > speeds[3] > speeds[4] == speeds[5] == 0


def test_an_uncertain_direction_slows_too():
    vague = settle(Controller(), distance=3.0, bearing_sigma=0.5).vx_mps
    assert 0 < vague < 0.8 * S.speed_mps
    assert settle(Controller(), distance=3.0, bearing_sigma=1.0).vx_mps == 0


def test_never_forwards_where_the_target_may_be_near():
    near = S.min_distance_m + 0.1
    for sigma, moves in ((0.1, False), (0.01, True)):
        controller = Controller()
        settle(controller, seconds=1, distance=GOAL_M, approach=-0.6)
        found = settle(controller, start_s=1.05, distance=near, sigma=sigma, approach=-1.0)
        assert (found.vx_mps > 0) == moves


def test_somebody_who_fills_the_frame_stops_the_car():
    """A box cut off at every side is near, however little is known of where."""
    camera, size = CameraModel(), (240, 320)
    controller, target_filter = Controller(), TargetFilter()
    for i in range(40):
        now = 0.1 * i
        reading = measure((0, 0, 320, 240), size, camera, PersonPrior())
        found = controller.update(target_filter.update(reading, STOP, now), now)
        assert found.vx_mps == 0


def test_rest_has_hysteresis():
    controller = Controller()
    between = GOAL_M + (S.distance_band_m + S.distance_start_m) / 2
    assert settle(controller, distance=between, seconds=2) == STOP  # at rest it stays at rest
    assert settle(controller, start_s=2.1, distance=GOAL_M + 0.4, seconds=1).vx_mps > 0.2
    # Driving it goes on until it is well within the band, and stays there.
    assert settle(controller, start_s=3.2, distance=between, seconds=2).vx_mps > 0.1
    inside = GOAL_M + S.distance_band_m / 2
    assert settle(controller, start_s=5.3, distance=inside, seconds=1.5) == STOP
    assert settle(controller, start_s=6.9, distance=between, seconds=2) == STOP


def test_turning_at_rest_has_hysteresis():
    controller = Controller()
    between = (S.bearing_band_rad + S.bearing_start_rad) / 2
    assert settle(controller, distance=GOAL_M, bearing=between) == STOP
    assert settle(controller, start_s=3.1, distance=GOAL_M, bearing=0.2).wz_radps > 0.2
    assert settle(controller, start_s=6.2, distance=GOAL_M, bearing=between).wz_radps > 0.1
    assert abs(settle(controller, start_s=9.3, distance=GOAL_M, bearing=0.02).wz_radps) < 1e-3
    assert abs(settle(controller, start_s=12.4, distance=GOAL_M, bearing=between).wz_radps) < 1e-3


def test_backs_off_only_when_allowed():
    assert settle(Controller(), distance=0.6).vx_mps == 0
    allowed = Controller(ControllerSettings(allow_reverse=True))
    assert settle(allowed, distance=0.6).vx_mps == pytest.approx(-S.reverse_mps)
    # Not onto somebody who is behind or beside the car.
    for kind in KINDS:
        for bearing in (3.1, -1.0):
            allowed = Controller(ControllerSettings(allow_reverse=True), Drive(kind))
            assert settle(allowed, distance=0.6, bearing=bearing, seconds=0.2).vx_mps == 0
    # Not from somebody who is still farther than the distance to keep.
    far = Controller(ControllerSettings(allow_reverse=True))
    assert settle(far, distance=GOAL_M + 0.3, approach=1.0).vx_mps == 0


def test_a_holonomic_car_drives_straight_at_the_target():
    found = settle(Controller(no_delay(), Drive(HOLONOMIC)), distance=3.0, bearing=0.3)
    assert math.atan2(found.vy_mps, found.vx_mps) == pytest.approx(0.3)
    found = settle(Controller(no_delay(), Drive(HOLONOMIC)), distance=3.0, bearing=-0.3)
    assert found.vy_mps < 0
    found = settle(Controller(no_delay(lateral=False), Drive(HOLONOMIC)), distance=3.0, bearing=0.3)
    assert found.vy_mps == 0
    slow = settle(
        Controller(no_delay(lateral_mps=0.05), Drive(HOLONOMIC)), distance=3.0, bearing=0.3
    )
    assert slow.vy_mps == pytest.approx(0.05)
    assert math.atan2(slow.vy_mps, slow.vx_mps) == pytest.approx(0.3)


def test_a_steered_car_stays_on_the_wished_path_while_it_speeds_up():
    # Wished: 0.5 m/s with 0.3 / 0.65 rad/s, a radius of 1.08 m, wider than its smallest.
    controller = Controller(no_delay(turn_smoothing_s=0.0), Drive(ACKERMANN, max_steering_rad=0.5))
    for i in range(12):
        found = controller.update(at(0.05 * i, 3.0, 0.3), 0.05 * i)
        if found.vx_mps > 0:
            assert found.wz_radps / found.vx_mps == pytest.approx(0.3 / 0.65 / 0.5, rel=0.01)
    assert found.vx_mps > 0.3


# What ends in a stop.


def running():
    controller = Controller()
    assert settle(controller, seconds=2.0, distance=3.0).vx_mps == pytest.approx(S.speed_mps)
    return controller


@pytest.mark.parametrize(
    "estimate",
    [
        None,
        at(2.05, seen_s=2.05 - S.stale_s - 0.01),
        at(2.05 - S.stale_s - 0.01),
        at(2.5),
        at(2.05, seen_s=3.0),
        at(2.05, distance=math.nan),
        at(2.05, approach=math.inf),
        at(2.05, distance=0.0),
        at(2.05, sigma=-1.0),
    ],
)
def test_no_usable_estimate_is_a_stop_at_once(estimate):
    controller = running()
    assert controller.update(estimate, 2.05) == STOP
    # And what comes after starts from a standstill.
    assert controller.update(at(2.1, 3.0), 2.1) == STOP
    most = S.acceleration_mps2 * 0.05
    assert controller.update(at(2.15, 3.0), 2.15).vx_mps <= most


def test_an_estimate_is_good_until_it_is_stale():
    controller = running()
    assert controller.update(at(2.05, 3.0, seen_s=2.06 - S.stale_s), 2.05).vx_mps > 0


def test_time_that_runs_backwards_is_a_stop():
    controller = running()
    assert controller.update(at(1.0, 3.0), 1.0) == STOP


def test_a_decision_after_a_long_pause_starts_from_a_standstill():
    controller = running()
    assert controller.update(at(5.0, 3.0), 5.0) == STOP


def test_reset_starts_from_a_standstill():
    controller = running()
    controller.reset()
    assert controller.update(at(2.05, 3.0), 2.05) == STOP


# Limits, whatever is estimated.

estimates = st.one_of(
    st.none(),
    st.tuples(
        st.floats(0.05, 8),
        st.floats(-math.pi, math.pi),
        st.floats(-2, 2),
        st.floats(0, 3),
        st.floats(0, 1),
        st.floats(0, 0.4),
        st.floats(0, 0.4),
    ),
)
sequences = st.lists(st.tuples(estimates, st.floats(0.0, 0.4)), min_size=2, max_size=40)


@given(st.sampled_from(KINDS), st.booleans(), sequences)
@settings(max_examples=200, deadline=None)
def test_limits_are_never_exceeded(kind, reverse, sequence):
    drive = Drive(kind)
    controller = Controller(ControllerSettings(allow_reverse=reverse), drive)
    now, last, rise = 10.0, STOP, 0.0
    slack = 1e-9
    for values, dt in sequence:
        now += dt
        estimate = None
        if values is not None:
            distance, bearing, approach, sigma, bearing_sigma, unseen, late = values
            estimate = TargetEstimate(
                distance, bearing, sigma, bearing_sigma, approach, now - unseen - late, now - late
            )
        found = controller.update(estimate, now)
        assert found.is_finite
        lowest = -S.reverse_mps if reverse else 0.0
        assert lowest - slack <= found.vx_mps <= S.speed_mps + slack
        assert abs(found.vy_mps) <= (S.lateral_mps if kind == HOLONOMIC else 0) + slack
        assert abs(found.wz_radps) <= S.turn_radps + slack
        assert drive.feasible(found) == pytest.approx(found, abs=1e-9)
        if estimate is None or now - estimate.seen_s > S.stale_s + slack:
            assert found == STOP
        if found == STOP:
            last, rise = STOP, 0.0
            continue
        for before, after in zip(last[:2], found[:2]):
            if abs(after) > abs(before):
                assert after * before >= 0  # never through a standstill in one step
                assert abs(after) - abs(before) <= S.acceleration_mps2 * dt + slack
            else:
                assert abs(before) - abs(after) <= S.braking_mps2 * dt + slack
        if kind != ACKERMANN or found.vx_mps >= last.vx_mps:
            # A steered car that brakes turns slower at the rate that braking dictates.
            turned = abs(found.wz_radps - last.wz_radps)
            assert turned <= S.turn_acceleration_radps2 * dt + slack
        gained = (abs(found.vx_mps) - abs(last.vx_mps)) / dt if dt > 0 else rise
        assert max(gained, 0.0) - max(rise, 0.0) <= S.jerk_mps3 * dt + 1e-6
        last, rise = found, gained


@given(sequences)
@settings(max_examples=30, deadline=None)
def test_the_same_estimates_give_the_same_answers(sequence):
    answers = []
    for _ in range(2):
        controller, now = Controller(), 0.0
        answers.append([])
        for values, dt in sequence:
            now += dt
            estimate = None if values is None else at(now, *values[:5])
            answers[-1].append(controller.update(estimate, now))
    assert answers[0] == answers[1]


# The closed loop. Point target, point car with dead time and lag, 10 Hz, 0.15 s latency, 5 % noise.


def rms(moments, from_s):
    return math.sqrt(np.mean([(m.distance_m - GOAL_M) ** 2 for m in moments if m.time_s >= from_s]))


def walking(speed_mps):
    return lambda time_s: (GOAL_M + speed_mps * time_s, 0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("speed_mps", [0.3, 0.4])
def test_steady_following(kind, speed_mps):
    for seed in range(3):
        moments = follow(walking(speed_mps), Controller(drive=Drive(kind)), 25, seed)
        assert rms(moments, 5) <= 0.2
        assert max(abs(m.bearing_rad) for m in moments) < 0.1
        assert min(m.distance_m for m in moments) > 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_somebody_who_walks_in_a_circle(kind):
    def circle(time_s, radius=1.5, speed=0.4):
        angle = speed * time_s / radius
        return GOAL_M + radius * math.sin(angle), radius - radius * math.cos(angle)

    moments = follow(circle, Controller(drive=Drive(kind)), 25, 1)
    assert rms(moments, 8) <= 0.2
    assert max(abs(m.bearing_rad) for m in moments if m.time_s > 8) < 0.5


@pytest.mark.parametrize("timed", [True, False])
def test_step_response_hardly_overshoots(timed):
    for seed in range(3):
        moments = follow(lambda time_s: (3.0, 0.0), Controller(), 15, seed, timed=timed)
        assert min(m.distance_m for m in moments) > GOAL_M - (0.15 if timed else 0.25)
        settled = [m for m in moments if m.time_s > 10]
        assert all(abs(m.distance_m - GOAL_M) < S.distance_start_m for m in settled)
        assert all(m.velocity.vx_mps == 0 for m in settled[-100:])  # and comes to rest


@pytest.mark.parametrize("bearing", [0.6, 1.5, -2.5])
def test_turning_hardly_overshoots(bearing):
    place = 1.3 * math.cos(bearing), 1.3 * math.sin(bearing)
    moments = follow(lambda time_s: place, Controller(), 8, 2)
    overshoot = max(-m.bearing_rad * np.sign(bearing) for m in moments if m.time_s > 0.5)
    assert overshoot < 0.1
    assert all(abs(m.bearing_rad) < 0.15 for m in moments if m.time_s > 5)


@pytest.mark.parametrize(
    "delay_s, lag_s, gain", [(0.0, 0.02, 1.0), (0.15, 0.25, 1.0), (0.05, 0.1, 1.2)]
)
@pytest.mark.parametrize("timed", [True, False])
def test_cars_that_are_not_as_assumed_are_still_followed_steadily(delay_s, lag_s, gain, timed):
    moments = follow(walking(0.4), Controller(), 25, 4, Car(delay_s, lag_s, gain), timed=timed)
    assert rms(moments, 6) <= 0.3
    assert max(abs(m.bearing_rad) for m in moments) < 0.2


def test_somebody_who_stops_short_is_not_run_into():
    def stops(time_s):
        return GOAL_M + 0.45 * min(time_s, 8.0), 0.0

    for seed in range(3):
        moments = follow(stops, Controller(), 16, seed)
        assert min(m.distance_m for m in moments) > 0.8
        assert moments[-1].velocity == STOP


def test_a_target_that_vanishes_stops_the_car_in_time():
    vanish_s = 10.0
    moments = follow(walking(0.4), Controller(), 14, 0, visible=lambda time_s: time_s < vanish_s)
    assert any(m.velocity.vx_mps > 0.2 for m in moments if m.time_s < vanish_s)
    # Seen for the last time at 9.9 s; decisions come every 0.1 s.
    moving = [m.time_s for m in moments if not m.velocity.is_stop]
    assert max(moving) < vanish_s + S.stale_s + 0.1


def test_a_target_that_comes_back_is_followed_again():
    moments = follow(walking(0.3), Controller(), 20, 0, visible=lambda time_s: not 8 <= time_s < 9)
    assert rms(moments, 15) <= 0.3


def test_missed_frames_do_not_stop_the_car():
    """Every third frame without the target: the filter predicts in between."""
    moments = follow(
        walking(0.3), Controller(), 20, 0, visible=lambda time_s: round(time_s * 10) % 3 != 0
    )
    assert rms(moments, 6) <= 0.2
    assert np.mean([m.velocity.is_stop for m in moments if m.time_s > 6]) < 0.05


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(speed_mps=3.0), "speed_mps may be at most 1.5"),
        (dict(stale_s=1.0), "stale_s may be at most 0.3"),
        (dict(distance_m=-1.0), "distance_m must be a number above 0"),
        (dict(distance_band_m=0.5), "distance_band_m .* below distance_start_m"),
        (dict(min_distance_m=2.0), "min_distance_m .* below distance_m"),
        (dict(drive_bearing_rad=2.0), "at most 1.57"),
        (dict(jerk_mps3=math.nan), "jerk_mps3"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        ControllerSettings(**values)


def test_replacing_one_setting_keeps_the_checks():
    with pytest.raises(ReidEdgeError):
        replace(S, turn_radps=10.0)
    assert Controller(drive=Drive(DIFFERENTIAL)).update(None, 0.0) == Velocity()
