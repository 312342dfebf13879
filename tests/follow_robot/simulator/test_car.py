"""How the simulated car follows what its wheels are told."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.simulator.car import ACKERMANN, DIFFERENTIAL, HOLONOMIC, Car, CarModel
from follow_robot.simulator.plane import Pose
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

DT_S = 0.01


def drive(car, wanted, seconds, start_s=0.0):
    for step in range(round(seconds / DT_S)):
        car.step(wanted, start_s + step * DT_S, DT_S)


def test_it_reaches_what_it_is_told_and_stops_again():
    car = Car(Pose(0, 0, 0), CarModel())
    drive(car, Velocity(0.5), 3.0)
    assert car.velocity.vx_mps == pytest.approx(0.5, abs=1e-3)
    drive(car, STOP, 3.0, start_s=3.0)
    assert car.velocity.vx_mps == pytest.approx(0.0, abs=1e-3)
    assert car.pose.x == pytest.approx(
        1.5, abs=0.02
    )  # what it lags at the start it gains at the end
    assert (car.pose.y, car.pose.heading_rad) == (0, 0)


def test_nothing_happens_within_the_delay():
    car = Car(Pose(0, 0, 0), CarModel(delay_s=0.2))
    drive(car, Velocity(0.5), 0.2)
    assert car.velocity == STOP
    drive(car, Velocity(0.5), 0.1, start_s=0.2)
    assert car.velocity.vx_mps > 0.1


def test_without_lag_and_limits_it_follows_at_once():
    model = CarModel(delay_s=0.0, lag_s=0.0, acceleration_mps2=1e6, turn_acceleration_radps2=1e6)
    car = Car(Pose(0, 0, 0), model)
    car.step(Velocity(0.4, 0.0, 1.0), 0.0, DT_S)
    assert car.velocity == Velocity(0.4, 0.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3))
def test_no_speed_changes_faster_than_the_car_can(vx, vy, wz):
    model = CarModel(drive=HOLONOMIC, lag_s=0.01)
    car = Car(Pose(0, 0, 0), model)
    for step in range(60):
        before = car.velocity
        car.step(Velocity(vx, vy, wz) if step < 30 else STOP, step * DT_S, DT_S)
        change = [abs(a - b) / DT_S for a, b in zip(car.velocity, before)]
        assert max(change[:2]) <= model.acceleration_mps2 + 1e-9
        assert change[2] <= model.turn_acceleration_radps2 + 1e-9


def test_driving_a_curve_leads_around_a_circle():
    car = Car(Pose(0, 0, 0), CarModel(delay_s=0.0, lag_s=0.0, acceleration_mps2=1e6))
    car.model = CarModel(
        delay_s=0.0, lag_s=0.0, acceleration_mps2=1e6, turn_acceleration_radps2=1e6
    )
    drive(car, Velocity(0.5, 0.0, 1.0), 2 * math.pi)
    assert (car.pose.x, car.pose.y) == pytest.approx((0, 0), abs=0.01)
    drive(car, Velocity(0.5, 0.0, 1.0), math.pi, start_s=10.0)
    assert (car.pose.x, car.pose.y) == pytest.approx((0, 1.0), abs=0.01)  # radius 0.5


def test_only_a_holonomic_car_drives_sideways():
    for drive_kind, sideways in ((HOLONOMIC, 0.3), (DIFFERENTIAL, 0.0), (ACKERMANN, 0.0)):
        car = Car(Pose(0, 0, 0), CarModel(drive=drive_kind))
        drive(car, Velocity(0.0, 0.3, 0.0), 2.0)
        assert car.velocity.vy_mps == pytest.approx(sideways, abs=1e-3)


def test_a_car_that_steers_turns_only_while_it_drives_and_not_too_tightly():
    car = Car(Pose(0, 0, 0), CarModel(drive=ACKERMANN, turn_radius_m=0.5))
    drive(car, Velocity(0.0, 0.0, 2.0), 1.0)
    assert car.pose.heading_rad == 0
    drive(car, Velocity(0.4, 0.0, 3.0), 2.0, start_s=1.0)
    assert car.velocity.wz_radps == pytest.approx(0.4 / 0.5, abs=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"drive": "tracked"}, {"lag_s": -1}, {"radius_m": 0}, {"acceleration_mps2": 0}]
)
def test_impossible_cars_are_refused(wrong):
    with pytest.raises(ReidEdgeError):
        CarModel(**wrong)
