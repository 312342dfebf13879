"""WHEELTEC: the vectors, the reports, and stops that are heard behind lost bytes."""

import struct
from functools import partial, reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follow_robot.chassis import Wheeltec
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.chassis.streams import survives

VECTORS = [
    (STOP, "7b 00 00 00 00 00 00 00 00 7b 7d"),
    (Velocity(0.2), "7b 00 00 00 c8 00 00 00 00 b3 7d"),
    (Velocity(0.2, 0, -0.5), "7b 00 00 00 c8 00 00 fe 0c 41 7d"),
]


def report(flag=0, motion=(0, 0, 0), accel=(0, 0, 0), gyro=(0, 0, 0), battery=12000, length=24):
    """A report as the firmware packs it; in 32 bytes a key and unused ones follow the battery."""
    body = struct.pack(">BB9hH", 0x7B, flag, *motion, *accel, *gyro, battery)
    body += bytes(range(1, length - len(body) - 1))
    return body + bytes([reduce(xor, body), 0x7D])


class CountingFirmware:
    """Receives as ``usartx.c`` does: eleven bytes from the first 7B, then tail and checksum."""

    def __init__(self, count=0):
        self.buffer = [0x7B] * count
        self.velocity = None

    def receive(self, data):
        for byte in data:
            if self.buffer or byte == 0x7B:
                self.buffer.append(byte)
            if len(self.buffer) == 11:
                frame, self.buffer = bytes(self.buffer), []
                if frame[10] == 0x7D and reduce(xor, frame[:9]) == frame[9]:
                    self.velocity = struct.unpack(">3h", frame[3:9])


@pytest.mark.parametrize("velocity, frame", VECTORS)
def test_commands(velocity, frame):
    assert Wheeltec().encode(velocity) == bytes.fromhex(frame)


def test_parts_of_millimetres_are_rounded_and_never_become_minus_zero():
    chassis = Wheeltec()
    assert chassis.encode(Velocity(0.0006, -0.0004, -0.0)) == chassis.encode(Velocity(0.001))
    assert chassis.encode(Velocity(0.0129))[3:5] == b"\x00\x0d"  # a cast gives 12
    assert chassis.clamped == 0


def test_what_does_not_fit_is_limited_and_counted():
    chassis = Wheeltec()
    frame = chassis.encode(Velocity(1e300, -40, 33))
    assert struct.unpack(">3h", frame[3:9]) == (32767, -32767, 32767)
    assert chassis.clamped == 1
    chassis.encode(Velocity(32.767, -32.767, 32.767))
    assert chassis.clamped == 1


def test_a_car_that_cannot_go_sideways_is_not_told_to():
    chassis = Wheeltec(holonomic=False)
    assert not chassis.holonomic
    assert chassis.encode(Velocity(0.2, 0.3, -0.5)) == bytes.fromhex(VECTORS[2][1])
    assert chassis.clamped == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_what_is_not_finite_is_refused(bad, part):
    parts = [0.1, 0.1, 0.1]
    parts[part] = bad
    with pytest.raises(ReidEdgeError, match=r"must be finite.*stop"):
        Wheeltec().encode(Velocity(*parts))


@given(st.tuples(*[st.floats(-40, 40)] * 3))
def test_the_firmware_hears_what_was_said(parts):
    firmware = CountingFirmware()
    firmware.receive(Wheeltec().encode(Velocity(*parts)))
    for heard, said in zip(firmware.velocity, parts):
        assert abs(heard - max(-32767, min(32767, said * 1000))) <= 0.5


def test_bare_stops_are_never_heard_by_a_firmware_that_counts_from_their_checksum():
    """Why ``stop`` is more than ``encode(STOP)``: one byte is lost while the car drives."""
    chassis, firmware = Wheeltec(), CountingFirmware()
    drive = chassis.encode(Velocity(0.5))
    firmware.receive(drive)
    firmware.receive(drive[:4] + drive[5:])
    for _ in range(1000):
        firmware.receive(chassis.encode(STOP))
    assert firmware.velocity == (500, 0, 0)


@pytest.mark.parametrize("counted", range(11))
def test_one_stop_is_heard_whatever_the_firmware_was_counting(counted):
    firmware = CountingFirmware(counted)
    firmware.receive(Wheeltec().stop())
    assert firmware.velocity == (0, 0, 0)
    assert firmware.buffer == []


def test_a_start_stops_and_aligns():
    firmware = CountingFirmware(7)
    for frame in Wheeltec().start():
        firmware.receive(frame)
    firmware.receive(Wheeltec().encode(Velocity(0.2)))
    assert firmware.velocity == (200, 0, 0)


def test_a_stop_ends_with_the_stop_frame():
    assert Wheeltec().stop().endswith(bytes.fromhex(VECTORS[0][1]))


@pytest.mark.parametrize("length", [24, 32])
def test_reports(length):
    chassis = Wheeltec(report_bytes=length)
    data = report(1, (200, -30, -500), (16718, 0, -1672), (1000, 0, -1), 24123, length)
    assert len(data) == length
    (telemetry,) = chassis.feed(data)
    assert telemetry.velocity == Velocity(0.2, -0.03, -0.5)
    assert telemetry.battery_v == 24.123
    assert telemetry.stopped is True
    assert telemetry.extra["accel_x_mps2"] == pytest.approx(10.0, abs=1e-3)
    assert telemetry.extra["accel_z_mps2"] == pytest.approx(-1.0, abs=1e-3)
    assert telemetry.extra["gyro_x_radps"] == pytest.approx(0.26644)
    assert telemetry.extra["gyro_z_radps"] == pytest.approx(-0.00026644)
    assert chassis.feed(report(0, length=length))[0].stopped is False
    assert chassis.frames == 2


def test_the_other_length_is_not_understood():
    assert Wheeltec(report_bytes=24).feed(report(length=32) * 5) == []
    assert Wheeltec(report_bytes=32).feed(report(length=24) * 5) == []


def test_a_battery_above_the_range_of_int16_stays_positive():
    assert Wheeltec().feed(report(battery=48000))[0].battery_v == 48.0


def test_headers_and_tails_in_the_payload_do_not_matter():
    # Nowhere 7D 7B: the XOR of a repeated frame is the same from wherever it is counted, so there a
    # second frame would begin that no receiver could tell from the first.
    data = report(0x7B, (0x7B7D, 0x017B, 0x7D01), (0x7D7D,) * 3, (0x017B, 0x7B7B, 0x7B7B), 0x7B7D)
    assert b"\x7d\x7b" not in data
    assert len(Wheeltec().feed(data[5:] + data * 3 + data[:9])) == 3


def test_a_rotated_frame_with_a_wrong_checksum_is_refused():
    """The vendor's host takes such a frame."""
    data = bytearray(report(motion=(100, 0, 0)))
    data[22] ^= 1
    for turn in range(24):
        assert Wheeltec().feed(bytes(data[turn:] + data[:turn])) == []


def test_unknown_lengths_are_refused():
    with pytest.raises(ReidEdgeError, match="24 or 32, got 25"):
        Wheeltec(report_bytes=25)


FRAMES = [report(0, (120, 7, -300)), report(1, (0x7B7B, 0x7B7D, 0), battery=0x7D7B), report()]
LONG_FRAMES = [report(1, (3, 4, 5), length=32), report(0, (0x7B7D,) * 3, length=32)]


def test_random_bytes():
    assert survives(Wheeltec, FRAMES, 100_000, seed=1) < 100


def test_random_bytes_with_long_reports():
    make = partial(Wheeltec, report_bytes=32)
    assert survives(make, LONG_FRAMES, 20_000, seed=4) < 100
