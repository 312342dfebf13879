"""Yahboom's board's side of the wire."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.chassis import Rosmaster
from follow_robot.simulator.firmware import RosmasterFirmware
from follow_robot.velocity import STOP, Velocity

STOP_FRAME = bytes.fromhex("ff fc 0a 12 01 00 00 00 00 00 00 1d")
AHEAD = bytes.fromhex("ff fc 0a 12 01 c8 00 00 00 00 00 e5")
CURVE = bytes.fromhex("ff fc 0a 12 01 c8 00 00 00 0c fe ef")


def heard(*chunks):
    board = RosmasterFirmware()
    for chunk in chunks:
        board.receive(chunk, 1.0)
    return board


def test_it_obeys_the_protocol_s_vectors():
    assert heard(AHEAD).wanted(1.0) == Velocity(0.2)
    assert heard(CURVE).wanted(1.0) == Velocity(0.2, 0.0, -0.5)
    assert heard(CURVE, STOP_FRAME).wanted(1.0) == STOP
    assert heard(CURVE, bytes.fromhex("ff fc 04 0f 5f 72")).wanted(1.0) == STOP  # reset state


@settings(deadline=None)
@given(st.integers(1, 12))
def test_frames_may_come_in_any_pieces(size):
    data = AHEAD + CURVE
    assert heard(*[data[i : i + size] for i in range(0, len(data), size)]).commands == 2


@settings(deadline=None)
@given(st.integers(4, 11), st.integers(0, 7))
def test_a_damaged_frame_is_not_obeyed_and_the_next_one_is(byte, bit):
    damaged = bytearray(AHEAD)
    damaged[byte] ^= 1 << bit
    board = heard(bytes(damaged))
    assert board.commands == 0 and board.rejected == 1
    board.receive(CURVE, 1.0)
    assert board.commands == 1


def test_noise_false_headers_and_wrong_lengths_are_passed_over():
    board = heard(b"\x00\xff\xff\xfc\x02\xff\xfc\xf0" + AHEAD)
    assert board.wanted(1.0) == Velocity(0.2)


def test_four_kinds_of_reports_come_in_turn_each_every_forty_milliseconds():
    board = RosmasterFirmware(battery_v=12.3)
    moving = Velocity(0.3, -0.1, 0.4)
    reports = b"".join(board.report(moving, 0.01 * n) for n in range(1, 101))
    read = Rosmaster().feed(reports)
    assert len(read) == 100
    speeds = [t for t in read if t.velocity is not None]
    assert len(speeds) == 25
    assert speeds[-1].velocity == pytest.approx(moving)
    assert speeds[-1].battery_v == pytest.approx(12.3)
    yaws = [t.extra["yaw_rad"] for t in read if "yaw_rad" in t.extra]
    assert yaws[-1] == pytest.approx(0.4, abs=0.02)  # after a second
    assert sum("encoder_1" in t.extra for t in read) == 25


def test_reports_can_be_switched_off():
    board = RosmasterFirmware()
    board.receive(bytes.fromhex("ff fc 05 01 00 00 06"), 0.0)
    assert b"".join(board.report(STOP, 0.01 * n) for n in range(1, 20)) == b""
    for frame in Rosmaster().start():
        board.receive(frame, 0.2)
    assert board.report(STOP, 0.5)
