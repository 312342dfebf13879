"""Rosmaster: the vectors, the cars, the reports."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follow_robot.chassis import Rosmaster, Telemetry
from follow_robot.chassis.rosmaster import CARS
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.chassis.streams import survives

VECTORS = [
    (STOP, "ff fc 0a 12 01 00 00 00 00 00 00 1d"),
    (Velocity(0.2), "ff fc 0a 12 01 c8 00 00 00 00 00 e5"),
    (Velocity(0.2, 0, -0.5), "ff fc 0a 12 01 c8 00 00 00 0c fe ef"),
]


def report(kind, data):
    body = bytes([len(data) + 3, kind]) + data
    return b"\xff\xfb" + body + bytes([sum(body) % 256])


def speed(vx=0, vy=0, wz=0, battery=120):
    return report(0x0A, struct.pack("<3hB", vx, vy, wz, battery))


@pytest.mark.parametrize("velocity, frame", VECTORS)
def test_commands(velocity, frame):
    assert Rosmaster().encode(velocity) == bytes.fromhex(frame)


def test_a_stop_is_the_motion_of_zeros():
    assert Rosmaster().stop() == bytes.fromhex(VECTORS[0][1])


def test_a_start_stops_and_asks_for_reports_without_writing_flash():
    assert Rosmaster().start() == [
        bytes.fromhex(VECTORS[0][1]),
        bytes.fromhex("ff fc 05 01 01 00 07"),
    ]


@pytest.mark.parametrize(
    "car, code, widest",
    [
        ("x3", 1, (1000, 1000, 5000)),
        ("x3plus", 2, (700, 700, 3200)),
        ("x1", 4, (1000, 0, 5000)),
        ("r2", 5, (1800, 0, 3000)),
    ],
)
def test_cars_and_their_ranges(car, code, widest):
    chassis = Rosmaster(car)
    assert chassis.holonomic == (widest[1] > 0)
    for sign in (1, -1):
        frame = chassis.encode(Velocity(sign * 9, sign * 9, sign * 9))
        assert frame[4] == code
        assert struct.unpack("<3h", frame[5:11]) == tuple(sign * w for w in widest)
    assert chassis.clamped == 2
    chassis.encode(Velocity(*(w / 1000 for w in widest)))
    assert chassis.clamped == 2


@given(st.sampled_from(sorted(CARS)), st.tuples(*[st.floats(-10, 10)] * 3))
def test_every_command_is_whole(car, parts):
    frame = Rosmaster(car).encode(Velocity(*parts))
    assert len(frame) == 12 and frame[:4] == b"\xff\xfc\x0a\x12"
    # The checksum as the vendor's library forms it, over the header too.
    assert frame[-1] == (sum(frame[:-1]) + 5) % 256


def test_what_is_not_finite_is_refused():
    with pytest.raises(ReidEdgeError, match="must be finite"):
        Rosmaster().encode(Velocity(float("nan")))


def test_unknown_cars_are_refused():
    with pytest.raises(ReidEdgeError, match="x3, x3plus, x1, r2, got 'x4'"):
        Rosmaster("x4")


def test_speed_and_battery():
    (telemetry,) = Rosmaster().feed(speed(200, -30, -500, 123))
    assert telemetry.velocity == Velocity(0.2, -0.03, -0.5)
    assert telemetry.battery_v == pytest.approx(12.3)
    assert telemetry.stopped is None


def test_the_r2_reports_its_steering_where_others_report_sideways_speed():
    (telemetry,) = Rosmaster("r2").feed(speed(200, -30, 0))
    assert telemetry.velocity == Velocity(0.2, 0.0, 0.0)
    assert telemetry.extra == {"steering_deg": -30.0}


def test_attitude_encoders_and_inertial_units():
    chassis = Rosmaster()
    (attitude,) = chassis.feed(report(0x0C, struct.pack("<3h", 100, -200, 15708)))
    assert attitude.velocity is None
    assert attitude.extra == {"roll_rad": 0.01, "pitch_rad": -0.02, "yaw_rad": 1.5708}
    (encoders,) = chassis.feed(report(0x0D, struct.pack("<4i", 1, -2, 2**31 - 1, -(2**31))))
    assert list(encoders.extra.values()) == [1, -2, 2**31 - 1, -(2**31)]
    counts = struct.pack("<9h", 3755, 3755, -3755, 1672, 0, -1672, 1, 2, 3)
    (mpu,) = chassis.feed(report(0x0B, counts))
    assert [round(v, 3) for v in mpu.extra.values()] == [1, -1, 1, 1, 0, -1]
    (icm,) = chassis.feed(report(0x0E, struct.pack("<9h", 1000, 500, -500, 9810, 0, 1, 0, 0, 0)))
    assert [round(v, 3) for v in icm.extra.values()] == [1, 0.5, -0.5, 9.81, 0, 0.001]
    assert chassis.frames == 4


def test_parts_told_in_turn_make_up_a_whole():
    whole = None
    for telemetry in Rosmaster().feed(speed(200) + FRAMES[1] + speed(100, battery=99) + FRAMES[1]):
        whole = telemetry.over(whole)
    assert whole.velocity == Velocity(0.1) and whole.battery_v == pytest.approx(9.9)
    assert whole.stopped is None and whole.extra["yaw_rad"] == 0.0003
    assert whole.over(Telemetry(stopped=True, extra={"a": 1.0})).stopped is True


def test_unknown_and_short_reports_are_frames_without_telemetry():
    chassis = Rosmaster()
    assert chassis.feed(report(0x51, b"\x03\x03") + report(0x0A, b"\x01\x02")) == []
    assert chassis.frames == 2


def test_a_bad_length_hides_nothing():
    """The vendor's reader waits for as many bytes as a damaged length says."""
    good = speed(200)
    for length in range(256):
        chassis = Rosmaster()
        found = chassis.feed(b"\xff\xfb" + bytes([length]) + good + bytes(60))
        assert [t.velocity for t in found] == [Velocity(0.2)], length


def test_a_header_with_no_room_for_a_type_is_no_frame():
    chassis = Rosmaster()
    chassis.feed(b"\xff\xfb\x02\x02" * 20 + bytes(60))
    assert chassis.frames == 0


def test_headers_in_the_payload_do_not_matter():
    data = report(0x0D, b"\xff\xfb\x0a\x0a" * 4)
    assert len(Rosmaster().feed(data[3:] + data * 3)) == 3


def test_our_own_commands_are_no_reports():
    assert Rosmaster().feed(Rosmaster().encode(Velocity(0.2)) * 10) == []


FRAMES = [
    speed(120, 7, -300),
    report(0x0C, struct.pack("<3h", 1, 2, 3)),
    report(0x0D, b"\xff\xfb\x0a\x0a" * 4),
    report(0x0B, bytes(18)),
]


def test_random_bytes():
    assert survives(Rosmaster, FRAMES, 100_000, seed=2) < 100
