"""The WHEELTEC board's side of the wire, against the protocol's own byte vectors."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.chassis import Wheeltec
from follow_robot.simulator.firmware import WheeltecFirmware
from follow_robot.velocity import STOP, Velocity

STOP_FRAME = bytes.fromhex("7b 00 00 00 00 00 00 00 00 7b 7d")
AHEAD = bytes.fromhex("7b 00 00 00 c8 00 00 00 00 b3 7d")  # 0.2 m/s
CURVE = bytes.fromhex("7b 00 00 00 c8 00 00 fe 0c 41 7d")  # 0.2 m/s, -0.5 rad/s


def heard(*chunks, **options):
    board = WheeltecFirmware(**options)
    for chunk in chunks:
        board.receive(chunk, 1.0)
    return board


def test_it_obeys_the_protocol_s_vectors():
    assert heard(AHEAD).wanted(1.0) == Velocity(0.2)
    assert heard(CURVE).wanted(1.0) == Velocity(0.2, 0.0, -0.5)
    assert heard(CURVE, STOP_FRAME).wanted(1.0) == STOP


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10))
def test_frames_may_come_in_any_pieces(size):
    data = AHEAD + CURVE
    board = heard(*[data[i : i + size] for i in range(0, len(data), size)])
    assert board.commands == 2 and board.wanted(1.0) == Velocity(0.2, 0.0, -0.5)


@settings(deadline=None)
@given(st.integers(0, 10), st.integers(0, 7))
def test_a_single_flipped_bit_is_never_obeyed(byte, bit):
    damaged = bytearray(AHEAD)
    damaged[byte] ^= 1 << bit
    board = heard(bytes(damaged))
    assert board.commands == 0 and board.wanted(1.0) == STOP


def test_it_counts_from_the_first_header_and_does_not_look_back():
    board = heard(b"\x7b" + AHEAD)  # a stray byte swallows the frame behind it
    assert board.commands == 0 and board.rejected == 1
    board.receive(AHEAD, 1.0)  # its last byte is still counted: a tail is no header
    assert board.commands == 1


def test_a_lost_byte_makes_an_endless_row_of_plain_stops_unheard_and_the_chassis_stop_mends_it():
    board = heard(AHEAD)
    board.receive(STOP_FRAME[:3] + STOP_FRAME[4:], 1.0)
    for _ in range(50):
        board.receive(STOP_FRAME, 1.0)
    assert board.wanted(1.0) == Velocity(0.2), "the checksum of a stop looks like a header"
    board.receive(Wheeltec().stop(), 1.0)
    board.receive(Wheeltec().stop(), 1.0)
    assert board.wanted(1.0) == STOP


def test_noise_in_front_costs_at_most_the_bytes_of_a_frame():
    board = heard(b"\x00\x7d\x12" + AHEAD)
    assert board.wanted(1.0) == Velocity(0.2)


def test_commands_are_ignored_while_it_boots():
    board = WheeltecFirmware(boot_s=10.0)
    board.receive(AHEAD, 9.9)
    assert board.wanted(9.9) == STOP and board.wanted(10.5) == STOP
    board.receive(AHEAD, 10.5)
    assert board.wanted(10.5) == Velocity(0.2)


def test_without_a_watchdog_it_drives_on_for_ever_and_with_one_it_stops():
    assert heard(AHEAD).wanted(1e6) == Velocity(0.2)
    board = heard(AHEAD, watchdog_s=1.0)
    assert board.wanted(1.9) == Velocity(0.2)
    assert board.wanted(2.1) == STOP


def test_reports_come_at_twenty_hertz_and_say_how_the_car_moves():
    board = WheeltecFirmware(battery_v=11.1)
    reports = b"".join(board.report(Velocity(0.25, 0.0, -0.5), 0.01 * n) for n in range(1, 101))
    assert len(reports) == 20 * 24
    frame = reports[-24:]
    flag, vx, vy, wz = struct.unpack(">B3h", frame[1:8])
    assert (frame[0], frame[23], flag, vx, vy, wz) == (0x7B, 0x7D, 0, 250, 0, -500)
    assert struct.unpack(">H", frame[20:22])[0] == 11100
    check = 0
    for byte in frame[:22]:
        check ^= byte
    assert frame[22] == check
    read = Wheeltec().feed(reports)
    assert len(read) == 20
    assert read[-1].velocity == Velocity(0.25, 0.0, -0.5)
    assert read[-1].battery_v == pytest.approx(11.1)
    assert read[-1].stopped is False
    assert read[-1].extra["gyro_z_radps"] == pytest.approx(-0.5, abs=1e-3)


def test_while_booting_the_report_says_that_it_is_stopped():
    board = WheeltecFirmware(boot_s=1.0)
    assert Wheeltec().feed(board.report(STOP, 0.1))[0].stopped is True


def test_after_a_pause_one_report_comes_and_not_all_that_were_missed():
    board = WheeltecFirmware()
    board.report(STOP, 0.05)
    assert len(board.report(STOP, 3.0)) == 24
    assert board.report(STOP, 3.01) == b""
    assert len(board.report(STOP, 3.05)) == 24
