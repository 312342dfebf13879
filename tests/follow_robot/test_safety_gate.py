"""The safety gate: every combination of faults, and what must hold for any input at all."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot import safety_gate as gate_module
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_gate import (
    CAPPED,
    COMMAND_OLD,
    FRAME_OLD,
    FUTURE,
    NO_COMMAND,
    NO_REVERSE,
    NOT_FINITE,
    OBSTACLE_INVALID,
    OBSTACLE_MISSING,
    OBSTACLE_NEAR,
    OBSTACLE_OLD,
    OBSTACLE_STOP,
    OUT_OF_ORDER,
    PRESSED,
    RAMPED,
    TARGET_OLD,
    SafetyGate,
    free_speed_mps,
)
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import STOP, Command, Velocity

NOW = 1000.0
TICK = 0.05
LIMITS = SafetyLimits()
EAGER = SafetyLimits(  # so fast that no ramp is in the way
    reverse_mps=0.5, acceleration_mps2=2.5, braking_mps2=10.0, turn_acceleration_radps2=10.0
)


def command(
    vx=0.05, vy=0.0, wz=0.1, sequence=1, now_s=NOW, command_s=0.0, frame_s=0.0, target_s=0.0
):
    """A command whose times are so long ago."""
    return Command(
        Velocity(vx, vy, wz), now_s - frame_s, now_s - target_s, now_s - command_s, sequence
    )


def drive(gate, asked, ticks, start_s=NOW, obstacle_m=None, sequence=1):
    """Judge fresh commands tick by tick; all velocities let through."""
    out = []
    for i in range(ticks):
        now_s = start_s + i * TICK
        reading = None if obstacle_m is None else ObstacleReading(obstacle_m, now_s)
        verdict = gate.judge(command(*asked, sequence + i, now_s), now_s, reading)
        out.append(verdict.velocity)
    return out


FAULTS = {
    "pressed": PRESSED + "button",
    "none": NO_COMMAND,
    "nan": NOT_FINITE,
    "order": OUT_OF_ORDER,
    "command": COMMAND_OLD,
    "frame": FRAME_OLD,
    "target": TARGET_OLD,
    "future": FUTURE,
    "obstacle": OBSTACLE_OLD,
}
AGES = ("command", "frame", "target")
# One of a command's three times is from the future, so not all three are too old as well.
COMBINATIONS = [
    faults
    for count in range(1, len(FAULTS) + 1)
    for faults in itertools.combinations(FAULTS, count)
    if not {"future", *AGES} <= set(faults)
]


class TestFaults:
    def test_passes_what_is_within_all_limits(self):
        verdict = SafetyGate(LIMITS).judge(command(), NOW)
        assert verdict == (Velocity(0.05, 0.0, 0.1), ())
        assert not verdict.is_fault

    @pytest.mark.parametrize("faults", COMBINATIONS, ids="+".join)
    def test_every_combination_stops_a_moving_car_at_once(self, faults):
        gate = SafetyGate(LIMITS)
        assert drive(gate, (0.4, 0.1, 0.5), 12, NOW - 12 * TICK)[-1] == Velocity(0.4, 0.1, 0.5)
        ages_s = {age: 0.301 if age in faults else 0.1 for age in AGES}
        if "future" in faults:
            ages_s[next(age for age in AGES if age not in faults)] = -0.1
        asked = command(
            math.nan if "nan" in faults else 0.4,
            0.1,
            0.5,
            sequence=3 if "order" in faults else 13,
            command_s=ages_s["command"],
            frame_s=ages_s["frame"],
            target_s=ages_s["target"],
        )
        if "pressed" in faults:
            gate.press("button")
        reading = ObstacleReading(9.0, NOW - 0.501) if "obstacle" in faults else None
        verdict = gate.judge(None if "none" in faults else asked, NOW, reading)
        assert verdict.velocity == STOP
        assert verdict.is_fault
        expected = set(faults)
        if "none" in faults:  # nothing can be said of a command that is not there
            expected &= {"none", "pressed", "obstacle"}
        assert set(verdict.reasons) == {FAULTS[name] for name in expected}

    def test_the_strongest_reason_comes_first(self):
        gate = SafetyGate(LIMITS)
        gate.press("a")
        gate.press("b")
        gate.press("a")
        verdict = gate.judge(command(math.inf, command_s=1, frame_s=1, target_s=1), NOW)
        assert verdict.reasons == (
            PRESSED + "a",
            PRESSED + "b",
            NOT_FINITE,
            COMMAND_OLD,
            FRAME_OLD,
            TARGET_OLD,
        )

    @pytest.mark.parametrize("age", ["command_s", "frame_s", "target_s"])
    @pytest.mark.parametrize(
        "age_s, moves",
        [(0.0, True), (0.3, True), (0.3001, False), (-0.02, True), (-0.021, False)]
        + [(math.nan, False), (math.inf, False), (-math.inf, False)],
    )
    def test_ages_at_their_limits(self, age, age_s, moves):
        # At time 0 the ages are exact.
        verdict = SafetyGate(LIMITS).judge(command(now_s=0.0, **{age: age_s}), 0.0)
        assert verdict.velocity.is_stop != moves

    def test_a_target_never_seen_stops(self):
        assert SafetyGate(LIMITS).judge(command(target_s=math.inf), NOW).reasons == (TARGET_OLD,)

    def test_an_old_target_matters_only_for_motion(self):
        verdict = SafetyGate(LIMITS).judge(command(0, 0, 0, target_s=9), NOW)
        assert verdict == (STOP, ())

    def test_braking_gently_ends_when_the_target_is_too_old(self):
        limits = SafetyLimits(speed_mps=1.5, acceleration_mps2=2.5, braking_mps2=0.5)
        gate = SafetyGate(limits)
        moving = drive(gate, (1.5, 0.0, 0.0), 20, NOW - 20 * TICK)
        assert moving[-1].vx_mps == 1.5
        speeds = []
        for i in range(8):
            now_s = NOW + i * TICK
            asked = command(0, 0, 0, 100 + i, now_s, target_s=i * TICK + TICK)
            speeds.append(gate.judge(asked, now_s).velocity.vx_mps)
        assert all(v > 1.3 for v in speeds[:5])
        assert speeds[6:] == [0.0, 0.0]

    def test_a_clock_that_is_not_a_number_stops(self):
        assert SafetyGate(LIMITS).judge(command(), math.nan).is_fault


class TestOrder:
    def test_the_same_command_may_be_judged_again(self):
        gate, asked = SafetyGate(LIMITS), command()
        assert not gate.judge(asked, NOW).is_fault
        assert not gate.judge(asked, NOW + TICK).is_fault

    def test_two_programs_that_steer_are_noticed(self):
        gate = SafetyGate(LIMITS)
        assert not gate.judge(command(sequence=100), NOW).is_fault
        assert gate.judge(command(sequence=1), NOW).reasons == (OUT_OF_ORDER,)
        assert not gate.judge(command(sequence=101), NOW).is_fault
        assert gate.judge(command(sequence=2), NOW).velocity == STOP

    def test_one_number_for_two_commands(self):
        gate = SafetyGate(LIMITS)
        gate.judge(command(0.05, sequence=7), NOW)
        assert gate.judge(command(0.04, sequence=7), NOW).reasons == (OUT_OF_ORDER,)


class TestEmergencyStop:
    def test_it_is_latched_until_rearmed(self):
        gate = SafetyGate(LIMITS)
        drive(gate, (0.4, 0, 0), 10)
        gate.press("button")
        assert gate.pressed == ("button",)
        after = drive(gate, (0.4, 0, 0), 20, NOW + 10 * TICK, sequence=20)
        assert after == [STOP] * 20
        gate.rearm()
        assert gate.pressed == ()
        again = drive(gate, (0.4, 0, 0), 3, NOW + 30 * TICK, sequence=50)
        assert [v.vx_mps for v in again] == pytest.approx([0.05, 0.10, 0.15])

    def test_standing_starts_from_zero(self):
        gate = SafetyGate(LIMITS)
        assert drive(gate, (0.4, 0, 0), 10)[-1].vx_mps == 0.4
        gate.stand()
        assert drive(gate, (0.4, 0, 0), 1, NOW + 10 * TICK, sequence=50)[0].vx_mps == pytest.approx(
            0.05
        )


class TestLimits:
    def test_caps(self):
        gate = SafetyGate(LIMITS)
        assert drive(gate, (9, 9, -9), 40)[-1] == Velocity(0.5, 0.3, -1.5)
        verdict = gate.judge(command(9, -9, 9, 99, NOW + 40 * TICK), NOW + 40 * TICK)
        assert CAPPED in verdict.reasons

    def test_it_does_not_reverse_unless_allowed(self):
        verdict = SafetyGate(LIMITS).judge(command(-0.3, 0, 0), NOW)
        assert verdict == (STOP, (NO_REVERSE,))
        assert drive(SafetyGate(EAGER), (-0.9, 0, 0), 9)[-1].vx_mps == -0.5

    def test_ramps(self):
        gate = SafetyGate(LIMITS)
        up = drive(gate, (0.5, 0, 1.5), 12)
        # 1 m/s² and 6 rad/s² at 20 Hz
        assert [v.vx_mps for v in up[:3]] == pytest.approx([0.05, 0.10, 0.15])
        assert [v.wz_radps for v in up[:3]] == pytest.approx([0.3, 0.6, 0.9])
        down = drive(gate, (0, 0, 0), 5, NOW + 12 * TICK, sequence=50)
        # 2.5 m/s²
        assert [v.vx_mps for v in down] == pytest.approx([0.375, 0.25, 0.125, 0, 0])
        assert down[-1] == STOP

    def test_it_stands_before_it_turns_back(self):
        gate = SafetyGate(EAGER)
        drive(gate, (0.4, 0, 0), 9)
        back = drive(gate, (-0.4, 0, 0), 4, NOW + 9 * TICK, sequence=50)
        assert [v.vx_mps for v in back] == pytest.approx([0, -0.125, -0.25, -0.375])

    def test_a_ramp_is_said(self):
        assert SafetyGate(LIMITS).judge(command(0.5), NOW).reasons == (RAMPED,)

    def test_a_pause_is_not_made_up_for(self):
        gate = SafetyGate(LIMITS)
        gate.judge(command(0.5, 0, 0, 1), NOW)
        leap = gate.judge(command(0.5, 0, 0, 2, NOW + 60), NOW + 60)
        assert leap.velocity.vx_mps == pytest.approx(0.05 + 2 * 0.05)

    def test_a_clock_that_runs_back_gives_no_speed(self):
        gate = SafetyGate(LIMITS)
        first = gate.judge(command(0.5, 0, 0, 1), NOW).velocity
        assert gate.judge(command(0.5, 0, 0, 2, NOW - 5), NOW - 5).velocity == first


class TestObstacle:
    def test_no_sensor_is_allowed_unless_required(self):
        assert not SafetyGate(LIMITS).judge(command(), NOW).reasons
        gate = SafetyGate(SafetyLimits(obstacle_required=True))
        assert gate.judge(command(), NOW) == (STOP, (OBSTACLE_MISSING,))
        assert not gate.judge(command(), NOW, ObstacleReading(5.0, NOW)).is_fault

    def test_a_sensor_that_spoke_once_has_to_go_on(self):
        gate = SafetyGate(LIMITS)
        assert not gate.judge(command(), NOW, ObstacleReading(5.0, NOW)).is_fault
        later = NOW + 0.51
        assert gate.judge(command(sequence=2, now_s=later), later).reasons == (OBSTACLE_OLD,)

    @pytest.mark.parametrize("distance_m", [math.nan, -0.1, -math.inf])
    def test_no_distance_is_a_stop(self, distance_m):
        verdict = SafetyGate(LIMITS).judge(command(), NOW, ObstacleReading(distance_m, NOW))
        assert verdict == (STOP, (OBSTACLE_INVALID,))

    def test_readings_from_the_future_are_not_believed(self):
        verdict = SafetyGate(LIMITS).judge(command(), NOW, ObstacleReading(9.0, NOW + 1))
        assert verdict.reasons == (OBSTACLE_OLD,)

    def test_too_near_stops_forwards_only(self):
        gate = SafetyGate(EAGER)
        assert drive(gate, (0.5, 0.2, 0.5), 9)[-1] == Velocity(0.5, 0.2, 0.5)
        now_s = NOW + 9 * TICK
        verdict = gate.judge(command(0.5, 0.2, 0.5, 50, now_s), now_s, ObstacleReading(0.4, now_s))
        assert verdict == (Velocity(0.0, 0.2, 0.5), (OBSTACLE_STOP,))
        back = gate.judge(command(-0.1, 0, 0, 51, now_s + TICK), now_s + TICK)
        assert back.velocity.vx_mps == -0.1

    def test_the_speed_towards_something(self):
        # from 0.5 m/s at 1 m to 0 at 0.4 m
        assert free_speed_mps(LIMITS, 0.7) == pytest.approx(0.25)
        assert free_speed_mps(LIMITS, 0.4) == 0.0
        assert free_speed_mps(LIMITS, 0.0) == 0.0
        assert free_speed_mps(LIMITS, 1.0) == math.inf
        # braking with 0.5 m/s² over 0.01 m: sqrt(2 * 0.5 * 0.01)
        abrupt = SafetyLimits(braking_mps2=0.5, obstacle_stop_m=0.4, obstacle_slow_m=0.41)
        assert free_speed_mps(abrupt, 0.409) == pytest.approx(math.sqrt(0.009))
        step = SafetyLimits(obstacle_stop_m=0.4, obstacle_slow_m=0.4)
        assert (free_speed_mps(step, 0.4), free_speed_mps(step, 0.41)) == (0.0, math.inf)

    def test_near_means_slower(self):
        gate = SafetyGate(EAGER)
        # The reading is new: the car is let through with 0.25 m/s, half of 0.5 m/s at half way.
        assert drive(gate, (0.5, 0, 0), 9, obstacle_m=0.7)[-1].vx_mps == pytest.approx(0.25)
        verdict = gate.judge(command(0.5, 0, 0, 50, NOW + 9 * TICK), NOW + 9 * TICK)
        assert OBSTACLE_NEAR in verdict.reasons

    def test_it_brakes_for_an_obstacle_at_once(self):
        gate = SafetyGate(LIMITS)  # which brakes by 0.125 m/s per tick when asked to
        assert drive(gate, (0.5, 0, 0), 12)[-1].vx_mps == 0.5
        now_s = NOW + 12 * TICK
        asked = command(0.5, 0, 0, 50, now_s)
        # 0.08 m are left before the stop
        near = gate.judge(asked, now_s, ObstacleReading(0.48, now_s)).velocity.vx_mps
        assert near == pytest.approx(0.5 * 0.08 / 0.6)
        assert gate.judge(asked, now_s + 0.01, ObstacleReading(0.4, now_s + 0.01)).velocity == STOP

    def test_a_reading_ages_by_the_way_driven_since(self):
        gate = SafetyGate(EAGER)
        drive(gate, (0.5, 0, 0), 9)
        now_s = NOW + 9 * TICK
        verdict = gate.judge(
            command(0.5, 0, 0, 50, now_s), now_s, ObstacleReading(0.7, now_s - 0.4)
        )
        # 0.4 s at 0.5 m/s: 0.5 m are left, 0.1 m before the stop
        assert verdict.velocity.vx_mps == pytest.approx(0.5 * 0.1 / 0.6)

    def test_an_obstacle_never_speeds_the_car_up(self):
        gate = SafetyGate(EAGER)
        assert drive(gate, (0.1, 0, 0), 9, obstacle_m=0.9)[-1].vx_mps == 0.1
        assert drive(SafetyGate(EAGER), (-0.2, 0, 0), 9, obstacle_m=0.1)[-1].vx_mps == -0.2


class TestDue:
    def test_the_first_of_all_limits(self):
        gate = SafetyGate(LIMITS)
        assert gate.due_s(None) == math.inf
        asked = command(command_s=0.1, frame_s=0.2, target_s=0.15)
        assert gate.due_s(asked) == pytest.approx(NOW + 0.1)
        gate.judge(asked, NOW, ObstacleReading(5.0, NOW - 0.45))
        assert gate.due_s(asked) == pytest.approx(NOW + 0.05)

    def test_the_car_moves_until_then_and_not_after(self):
        gate, asked = SafetyGate(LIMITS), command(command_s=0.1, frame_s=0.2, target_s=0.15)
        gate.judge(asked, NOW)
        due_s = gate.due_s(asked)
        assert not gate.judge(asked, due_s - 1e-6).is_fault
        assert gate.judge(asked, due_s + 1e-6).is_fault


# -- whatever comes ------------------------------------------------------------------------------------

speeds = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-2, 2)
ages = st.sampled_from([0.0, 0.05, 0.299, 0.31, -0.01, -1.0, math.inf, math.nan])
steps = st.lists(
    st.fixed_dictionaries(
        {
            "asked": st.tuples(speeds, speeds, speeds) | st.just((0.0, 0.0, 0.0)),
            "ages": st.tuples(ages, ages, ages) | st.just((0.0, 0.05, 0.05)),
            "sequence": st.sampled_from([1, 1, 1, 1, 0, -3]),
            "wait": st.sampled_from([TICK, TICK, 0.001, 0.02, 0.2, 3.0]),
            "obstacle": st.none() | st.tuples(speeds | st.floats(0, 3), ages),
            "press": st.booleans() | st.just(False),
            "missing": st.just(False) | st.booleans(),
        }
    ),
    min_size=1,
    max_size=40,
)
limit_sets = st.builds(
    SafetyLimits,
    speed_mps=st.floats(0, 1.5),
    reverse_mps=st.sampled_from([0.0, 0.3]),
    lateral_mps=st.floats(0, 1),
    turn_radps=st.floats(0, 3.2),
    acceleration_mps2=st.floats(0, 2.5),
    braking_mps2=st.floats(0.5, 10),
    turn_acceleration_radps2=st.floats(0, 10),
    obstacle_required=st.booleans(),
)
EPS = 1e-9


@settings(max_examples=300, deadline=None)
@given(limits=limit_sets, run=steps)
def test_what_always_holds(limits, run):
    gate = SafetyGate(limits)
    now_s, sequence, last, newest = NOW, 0, STOP, None
    for step in run:
        now_s += step["wait"]
        sequence += step["sequence"]
        asked = command(*step["asked"], sequence, now_s, *step["ages"])
        given_command = None if step["missing"] else asked
        reading = step["obstacle"] and ObstacleReading(
            step["obstacle"][0], now_s - step["obstacle"][1]
        )
        newest = reading or newest
        if step["press"]:
            gate.press("test")
        elif gate.pressed and step["sequence"] == 1:
            gate.rearm()
            last = STOP
        velocity, reasons = gate.judge(given_command, now_s, reading or None)
        fault = bool(set(reasons) & set(gate_module.FAULTS)) or any(
            r.startswith(PRESSED) for r in reasons
        )

        # Independent of the reasons: what must be a stop.
        must_stop = (
            given_command is None
            or gate.pressed
            or not all(map(math.isfinite, step["asked"]))
            or not all(-0.02 <= now_s - t <= 0.3 for t in (asked.made_s, asked.frame_time_s))
            or (newest is None and limits.obstacle_required)
            or (newest is not None and not newest.distance_m >= 0)
            or (newest is not None and not now_s - newest.time_s <= limits.obstacle_age_s)
        )
        if not asked.velocity.is_stop:
            must_stop = must_stop or not now_s - asked.target_time_s <= 0.3
        if must_stop:
            assert velocity == STOP and fault
        if fault:
            assert velocity == STOP

        assert velocity.is_finite
        assert -limits.reverse_mps <= velocity.vx_mps <= limits.speed_mps
        assert abs(velocity.vy_mps) <= limits.lateral_mps
        assert abs(velocity.wz_radps) <= limits.turn_radps
        dt_s = min(step["wait"], 2 * TICK)
        if not fault:
            for new, old, wanted, grow in zip(
                velocity,
                last,
                asked.velocity,
                (limits.acceleration_mps2,) * 2 + (limits.turn_acceleration_radps2,),
            ):
                # between what was and what is asked for (or zero): never more than both, and never
                # to a side that neither is on
                assert min(old, wanted, 0) - EPS <= new <= max(old, wanted, 0) + EPS
                assert abs(new) - abs(old) <= grow * max(dt_s, TICK if last == STOP else 0) + EPS
            if newest is None:
                slower = abs(last.vx_mps) - abs(velocity.vx_mps)
                assert slower <= limits.braking_mps2 * dt_s + EPS
            elif newest.distance_m <= limits.obstacle_stop_m:
                assert velocity.vx_mps <= 0
            turned = abs(velocity.wz_radps - last.wz_radps)
            assert turned <= limits.turn_acceleration_radps2 * max(dt_s, TICK) + EPS
        last = velocity


@settings(max_examples=100, deadline=None)
@given(limits=limit_sets, run=steps)
def test_the_same_inputs_give_the_same_verdicts(limits, run):
    def verdicts():
        gate, now_s, sequence = SafetyGate(limits), NOW, 0
        for step in run:
            now_s += step["wait"]
            sequence += step["sequence"]
            yield gate.judge(command(*step["asked"], sequence, now_s, *step["ages"]), now_s)

    assert list(verdicts()) == list(verdicts())
