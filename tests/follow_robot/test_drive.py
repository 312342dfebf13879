"""What each kind of car can do."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.drive import ACKERMANN, DIFFERENTIAL, HOLONOMIC, KINDS, Drive
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

velocities = st.builds(Velocity, st.floats(-2, 2), st.floats(-2, 2), st.floats(-4, 4))
drives = st.builds(
    lambda kind, wheel, angle, radius: Drive(
        kind, wheel_speed_mps=wheel, max_steering_rad=angle, min_turn_radius_m=radius
    ),
    st.sampled_from(KINDS),
    st.floats(0.2, 2),
    st.floats(0.1, 1.0),
    st.floats(0, 1),
)


def test_by_hand():
    asked = Velocity(0.4, 0.2, 2.0)
    assert Drive(HOLONOMIC).feasible(asked) == asked
    assert Drive(DIFFERENTIAL).feasible(asked) == (0.4, 0.0, 2.0)
    # Wheelbase 0.2 m at 0.5 rad: radius 0.2 / tan(0.5) = 0.3661 m, so 0.4 m/s turn 1.0926 rad/s.
    ackermann = Drive(ACKERMANN, wheelbase_m=0.2, max_steering_rad=0.5)
    assert ackermann.turn_radius_m == pytest.approx(0.36610, abs=1e-5)
    assert ackermann.feasible(asked) == pytest.approx((0.4, 0.0, 1.09260), abs=1e-5)
    assert ackermann.feasible(Velocity(-0.4, 0, -2)).wz_radps == pytest.approx(-1.0926, abs=1e-4)
    assert Drive(ACKERMANN, min_turn_radius_m=0.8).turn_radius_m == 0.8


def test_a_steered_car_does_not_turn_on_the_spot():
    assert Drive(ACKERMANN).feasible(Velocity(0, 0.3, 1.0)) == STOP
    assert not Drive(ACKERMANN).turns_on_the_spot
    assert Drive(DIFFERENTIAL).feasible(Velocity(0, 0, 1.0)).wz_radps == 1.0


def test_too_fast_wheels_slow_everything():
    # Differential, 0.2 m wide: the outer wheel would do 0.8 + 2 * 0.1 = 1.0 m/s, it can do 0.5.
    drive = Drive(DIFFERENTIAL, wheel_speed_mps=0.5, track_width_m=0.2)
    assert drive.feasible(Velocity(0.8, 0, 2.0)) == pytest.approx((0.4, 0, 1.0))


@given(drives, velocities)
@settings(max_examples=300, deadline=None)
def test_nothing_is_added(drive, asked):
    found = drive.feasible(asked)
    for before, after in zip(asked, found):
        assert abs(after) <= abs(before)
        assert after * before >= 0  # never the other way
    assert drive.feasible(found) == pytest.approx(found, abs=1e-9)
    lever = 0.2 if drive.holonomic else 0.1
    wheel = abs(found.vx_mps) + abs(found.vy_mps) + abs(found.wz_radps) * lever
    assert wheel <= drive.wheel_speed_mps + 1e-9
    if not drive.holonomic:
        assert found.vy_mps == 0
    if not drive.turns_on_the_spot:
        assert abs(found.wz_radps) * drive.turn_radius_m <= abs(found.vx_mps) + 1e-9


@given(drives, velocities, st.floats(0, 2))
@settings(max_examples=200, deadline=None)
def test_slower_is_still_feasible_and_on_the_same_path(drive, asked, speed_mps):
    asked = drive.feasible(asked)
    found = drive.slowed(asked, speed_mps)
    assert abs(found.vx_mps) <= speed_mps + 1e-9
    assert drive.feasible(found) == pytest.approx(found, abs=1e-9)
    if drive.kind == ACKERMANN:  # curvature: turn per way
        assert found.wz_radps * asked.vx_mps == pytest.approx(asked.wz_radps * found.vx_mps)
    else:
        assert found.wz_radps == asked.wz_radps
        assert found.vy_mps * asked.vx_mps == pytest.approx(asked.vy_mps * found.vx_mps)


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(kind="tank"), "holonomic, differential, ackermann.*'tank'"),
        (dict(wheelbase_m=0.0), "wheelbase_m must be above 0"),
        (dict(max_steering_rad=30.0), "radians"),
        (dict(track_width_m=math.nan), "track_width_m"),
    ],
)
def test_impossible_cars_are_refused(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        Drive(**values)


def test_not_a_velocity():
    with pytest.raises(ReidEdgeError, match="finite"):
        Drive().feasible(Velocity(math.nan))
