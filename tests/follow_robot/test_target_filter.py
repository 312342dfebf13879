"""The target's filter: honest, freed from the car's motion, hard to mislead."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.motion_history import travelled
from follow_robot.target import Measurement
from follow_robot.target_filter import TargetFilter, TargetFilterSettings
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError


def seen(distance, bearing=0.0, sigma=0.05, bearing_sigma=0.02):
    return Measurement(distance, bearing, sigma, bearing_sigma, "height")


def watch(target_filter, distance=2.0, until_s=1.0, period_s=0.1, **kwargs):
    """A target that stands at one place, for some time."""
    estimate = None
    for i in range(round(until_s / period_s) + 1):
        estimate = target_filter.update(seen(distance, **kwargs), STOP, i * period_s)
    return estimate


def test_nothing_before_the_first_measurement():
    target_filter = TargetFilter()
    assert target_filter.update(None, Velocity(1, 0, 1), 5.0) is None
    estimate = target_filter.update(seen(2.0, 0.3), STOP, 5.1)
    assert estimate.distance_m == pytest.approx(2.0)
    assert estimate.bearing_rad == pytest.approx(0.3)
    assert estimate.approach_mps == 0
    assert (estimate.seen_s, estimate.time_s) == (5.1, 5.1)


def test_unseen_it_grows_uncertain_and_is_forgotten():
    target_filter = TargetFilter(TargetFilterSettings(forget_s=1.0))
    last = watch(target_filter)
    for i in range(1, 11):
        estimate = target_filter.update(None, STOP, 1.0 + 0.1 * i)
        assert estimate.seen_s == 1.0  # stays the time of the newest measurement
        assert estimate.time_s == pytest.approx(1.0 + 0.1 * i)
        assert estimate.distance_sigma_m > last.distance_sigma_m
        assert estimate.bearing_sigma_rad > last.bearing_sigma_rad
        last = estimate
    assert target_filter.update(None, STOP, 2.11) is None
    fresh = target_filter.update(seen(5.0), STOP, 2.2)  # and what comes next is a new start
    assert fresh.distance_m == pytest.approx(5.0)


def test_a_measurement_after_the_target_was_forgotten_starts_anew():
    target_filter = TargetFilter()
    watch(target_filter)
    assert target_filter.update(seen(6.0), STOP, 100.0).distance_m == pytest.approx(6.0)


def test_reset():
    target_filter = TargetFilter()
    watch(target_filter)
    target_filter.reset()
    assert target_filter.update(None, STOP, 0.0) is None  # any time may follow


def test_prediction_does_not_depend_on_the_number_of_steps():
    results = []
    for steps in (1, 4, 40):
        target_filter = TargetFilter()
        for i in range(10):
            target_filter.update(seen(2.0 + 0.05 * i, 0.02 * i), STOP, 0.1 * i)
        for i in range(steps):
            estimate = target_filter.update(None, STOP, 0.9 + 0.4 * (i + 1) / steps)
        results.append(estimate)
    for other in results[1:]:
        assert other == pytest.approx(results[0], rel=1e-6)


@pytest.mark.parametrize(
    "ego", [Velocity(0.5, 0, 0), Velocity(0, 0, 1.0), Velocity(0.4, 0.2, -0.8), Velocity(-0.3)]
)
def test_the_cars_own_motion_is_not_the_targets(ego):
    """A car that drives arcs past somebody who stands: measured exactly, the target stands."""
    target_filter = TargetFilter()
    x, y = 3.0, 0.5
    for i in range(12):
        if i:
            moved = travelled(ego, 0.1)
            dx, dy = x - moved.x_m, y - moved.y_m
            c, s = math.cos(moved.turn_rad), math.sin(moved.turn_rad)
            x, y = c * dx + s * dy, c * dy - s * dx
        estimate = target_filter.update(
            seen(math.hypot(x, y), math.atan2(y, x), 0.01, 0.005), ego, 0.1 * i
        )
    assert estimate.distance_m == pytest.approx(math.hypot(x, y), abs=1e-6)
    assert estimate.approach_mps == pytest.approx(0, abs=1e-6)


def test_approach_is_over_ground_and_towards_the_car():
    target_filter = TargetFilter()
    distance = 4.0
    for i in range(30):  # target comes at 0.3 m/s, the car at 0.5 m/s
        estimate = target_filter.update(
            seen(distance, 0.0, 0.01, 0.005), Velocity(0.5 if i else 0.0), 0.1 * i
        )
        distance -= 0.08
    assert estimate.approach_mps == pytest.approx(0.3, abs=0.02)


def test_a_target_behind_the_car_crosses_pi_smoothly():
    target_filter = TargetFilter()
    for i in range(30):
        angle = math.pi - 0.15 + 0.01 * i  # its sign changes half way
        measured = math.remainder(angle, 2 * math.pi)
        estimate = target_filter.update(seen(2.0, measured, 0.02, 0.01), STOP, 0.1 * i)
        assert target_filter.accepted
    assert math.remainder(estimate.bearing_rad - angle, 2 * math.pi) == pytest.approx(0, abs=0.03)


def run_model(filter_settings, rng, bias=0.0, steps=60, dt=0.1):
    """Squared errors over stated variances of distance and bearing, for a target as modelled."""
    target_filter = TargetFilter(filter_settings)
    place = np.array([2.0, 0.3])
    velocity = filter_settings.start_speed_mps * rng.standard_normal(2) * 0.5
    ego = Velocity(*(rng.uniform(-0.4, 0.4, 3)))
    found = []
    for i in range(steps):
        if i:
            place = place + velocity * dt
            velocity = velocity + filter_settings.acceleration_mps * math.sqrt(
                dt
            ) * rng.standard_normal(2)
            moved = travelled(ego, dt)
            c, s = math.cos(moved.turn_rad), math.sin(moved.turn_rad)
            turn = np.array([[c, s], [-s, c]])
            place, velocity = turn @ (place - [moved.x_m, moved.y_m]), turn @ velocity
        distance, bearing = float(np.hypot(*place)), math.atan2(place[1], place[0])
        if distance < 0.5:  # bearings change faster than any filter of plane geometry follows
            break
        sigma = 0.05 * distance
        reading = seen(
            distance * (1 + bias) + sigma * rng.standard_normal(),
            bearing + 0.02 * rng.standard_normal(),
            sigma,
        )
        estimate = target_filter.update(reading, ego, i * dt)
        if i >= 10:
            off = math.remainder(estimate.bearing_rad - bearing, 2 * math.pi)
            found.append(
                [
                    ((estimate.distance_m - distance) / estimate.distance_sigma_m) ** 2,
                    (off / estimate.bearing_sigma_rad) ** 2,
                ]
            )
    return np.reshape(found, (-1, 2))


def test_errors_are_as_large_as_stated():
    """Normalised estimation error squared, over 80 runs; 1 for a filter that is exactly honest."""
    rng = np.random.default_rng(0)
    exact = TargetFilterSettings(bias_share=0.0, ego_share=0.0)
    nees = np.concatenate([run_model(exact, rng) for _ in range(80)]).mean(axis=0)
    assert 0.75 < nees[0] < 1.3
    assert 0.75 < nees[1] < 1.3


def test_errors_that_stay_the_same_are_part_of_the_uncertainty():
    """A person six percent taller than thought is always measured six percent too near."""
    rng = np.random.default_rng(1)
    biased = [
        np.concatenate(
            [
                run_model(TargetFilterSettings(bias_share=share), rng, 0.06 * rng.standard_normal())
                for _ in range(50)
            ]
        )[:, 0].mean()
        for share in (0.0, 0.06)
    ]
    assert biased[0] > 2  # what averaging alone would claim
    assert biased[1] < 1.3


def test_an_outlier_makes_uncertain_but_does_not_move():
    target_filter = TargetFilter()
    before = watch(target_filter)
    after = target_filter.update(seen(4.0), STOP, 1.1)
    assert not target_filter.accepted
    assert after.distance_m == pytest.approx(before.distance_m, abs=0.02)
    assert after.distance_sigma_m > 0.5
    assert after.seen_s == 1.1  # the target was seen; where it is, is in doubt
    back = target_filter.update(seen(2.0), STOP, 1.2)
    assert target_filter.accepted
    assert back.distance_m == pytest.approx(2.0, abs=0.05)
    assert back.distance_sigma_m < 0.2
    assert abs(back.approach_mps) < 0.2


@pytest.mark.parametrize("distance, bearing", [(0.7, 0.0), (4.0, 0.0), (2.0, 0.6)])
def test_a_second_measurement_that_agrees_with_the_outlier_is_believed(distance, bearing):
    target_filter = TargetFilter()
    watch(target_filter)
    for i in (1, 2, 3):
        estimate = target_filter.update(seen(distance, bearing), STOP, 1 + 0.1 * i)
        assert target_filter.accepted == (i > 1)
    assert estimate.distance_m == pytest.approx(distance, abs=0.2)
    assert estimate.bearing_rad == pytest.approx(bearing, abs=0.1)
    assert abs(estimate.approach_mps) < 0.5  # a jump is no speed


def test_a_good_measurement_is_hardly_ever_an_outlier():
    rng = np.random.default_rng(2)
    target_filter = TargetFilter()
    refused = 0
    for i in range(3000):
        reading = seen(2 + 0.1 * rng.standard_normal(), 0.02 * rng.standard_normal(), 0.1)
        target_filter.update(reading, STOP, 0.1 * i)
        refused += not target_filter.accepted
    assert refused < 10


def test_speeds_are_those_of_people():
    target_filter = TargetFilter(TargetFilterSettings(fastest_mps=1.0))
    for i in range(30):
        estimate = target_filter.update(seen(2 + 0.3 * i, 0.0, 0.01), STOP, 0.1 * i)
        assert abs(estimate.approach_mps) <= 1.0 + 1e-9


def test_the_same_frame_twice_is_no_step():
    target_filter = TargetFilter()
    first = target_filter.update(seen(2.0), STOP, 1.0)
    again = target_filter.update(None, Velocity(1, 0, 1), 1.0)
    assert again == pytest.approx(first)


readings = st.one_of(
    st.none(),
    st.builds(
        seen, st.floats(0, 25), st.floats(-3.2, 3.2), st.floats(1e-3, 20), st.floats(1e-3, 3)
    ),
)
steps = st.tuples(
    readings,
    st.builds(Velocity, st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3)),
    st.floats(0, 1.5),
)


@given(st.lists(steps, max_size=25))
@settings(max_examples=100, deadline=None)
def test_whatever_is_measured_the_estimate_stays_a_number(sequence):
    target_filter = TargetFilter()
    now = newest = 0.0
    for reading, ego, dt in sequence:
        now += dt
        estimate = target_filter.update(reading, ego, now)
        newest = now if reading is not None else newest
        if estimate is not None:
            assert all(map(math.isfinite, estimate))
            assert estimate.distance_m > 0
            assert estimate.distance_sigma_m > 0 and estimate.bearing_sigma_rad > 0
            assert estimate.seen_s == newest and estimate.time_s == now


def test_mistakes():
    target_filter = TargetFilter()
    target_filter.update(seen(2.0), STOP, 1.0)
    with pytest.raises(ReidEdgeError, match="backwards"):
        target_filter.update(None, STOP, 0.9)
    with pytest.raises(ReidEdgeError, match="finite"):
        target_filter.update(seen(math.nan), STOP, 1.1)
    with pytest.raises(ReidEdgeError, match="above 0"):
        target_filter.update(seen(2.0, sigma=0.0), STOP, 1.1)
    with pytest.raises(ReidEdgeError, match="own velocity"):
        target_filter.update(None, Velocity(math.inf), 1.1)
    # None of them changed anything.
    assert target_filter.update(None, STOP, 1.0).distance_m == pytest.approx(2.0)


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(forget_s=0.0), "forget_s must be above 0"),
        (dict(acceleration_mps=-1.0), "acceleration_mps"),
        (dict(gate_sigma=1.0), "at least 2"),
        (dict(ego_share=1.0), "below 1"),
    ],
)
def test_impossible_settings_are_refused(values, words):
    with pytest.raises(ReidEdgeError, match=words):
        TargetFilterSettings(**values)
