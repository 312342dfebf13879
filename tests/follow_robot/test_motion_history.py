"""How the car has moved, against brute-force integration."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.motion_history import MotionHistory, travelled
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

speeds = st.builds(Velocity, st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3))


def integrate(velocity_at, from_s, to_s, steps=4000):
    x = y = turn = 0.0
    dt = (to_s - from_s) / steps
    for i in range(steps):
        vx, vy, wz = velocity_at(from_s + (i + 0.5) * dt)
        heading = turn + wz * dt / 2
        x += dt * (vx * math.cos(heading) - vy * math.sin(heading))
        y += dt * (vx * math.sin(heading) + vy * math.cos(heading))
        turn += wz * dt
    return x, y, turn


@given(speeds, st.floats(0, 2))
@settings(max_examples=30, deadline=None)
def test_an_arc(velocity, duration_s):
    expected = integrate(lambda t: velocity, 0, duration_s)
    assert travelled(velocity, duration_s) == pytest.approx(expected, abs=1e-5)


def test_a_quarter_circle_by_hand():
    # 1 m/s at 1 rad/s for pi/2 s: radius 1, so 1 m ahead and 1 m to the left.
    moved = travelled(Velocity(1, 0, 1), math.pi / 2)
    assert moved == pytest.approx((1, 1, math.pi / 2))


@given(st.lists(st.tuples(speeds, st.floats(0.01, 0.5)), min_size=1, max_size=5), st.floats(0, 0.3))
@settings(max_examples=30, deadline=None)
def test_pieces_add_up(pieces, delay_s):
    history = MotionHistory(delay_s)
    now, starts = 10.0, []
    for velocity, lasts_s in pieces:
        history.add(velocity, now)
        starts.append((now + delay_s, velocity))
        now += lasts_s

    def velocity_at(t):
        held = [v for start, v in starts if start <= t]
        return held[-1] if held else STOP

    moved = history.moved(9.9, now)
    assert moved == pytest.approx(integrate(velocity_at, 9.9, now, 20000), abs=2e-3)
    mean = history.mean(9.9, now)
    assert mean.wz_radps * (now - 9.9) == pytest.approx(moved.turn_rad, abs=1e-9)


def test_mean_of_no_time_is_what_holds_then():
    history = MotionHistory(0.1)
    assert history.mean(5, 5) == STOP
    history.add(Velocity(1), 1.0)
    assert history.mean(1.05, 1.05) == STOP  # not yet
    assert history.mean(1.1, 1.1) == Velocity(1)


def test_old_velocities_are_dropped_but_the_window_stays_whole():
    history = MotionHistory(0.1, keep_s=1.0)
    for i in range(1000):
        history.add(Velocity(1.0 if i % 2 else 0.5), i * 0.1)
    assert len(history._steps) < 15
    assert history.moved(98.9, 99.9).x_m == pytest.approx(0.75)


def test_reset_is_standing_still():
    history = MotionHistory()
    history.add(Velocity(1), 0.0)
    history.reset()
    assert history.moved(0, 1) == (0, 0, 0)
    history.add(Velocity(1), -5.0)  # and any time may follow


def test_mistakes():
    history = MotionHistory()
    history.add(STOP, 1.0)
    with pytest.raises(ReidEdgeError, match="backwards"):
        history.add(STOP, 0.5)
    with pytest.raises(ReidEdgeError, match="delay_s"):
        MotionHistory(3.0, keep_s=2.0)
