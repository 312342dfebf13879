"""Waveshare's board's side of the wire, its heartbeat and the heartbeat's fault."""

import json

import pytest

from follow_robot.chassis import Waveshare
from follow_robot.simulator.firmware import WaveshareFirmware
from follow_robot.velocity import STOP, Velocity


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


def board_at(now_s, *lines):
    board = WaveshareFirmware()
    for text in lines:
        board.receive(text, now_s)
    return board


def test_wheel_speeds_are_obeyed():
    board = board_at(1.0, line(T=1, L=0.3, R=0.5))
    assert board.wanted(1.0) == pytest.approx(Velocity(0.4, 0.0, 0.2 / 0.172))
    board.receive(line(T=1, L=0, R=0), 1.1)
    assert board.wanted(1.1) == STOP


def test_what_the_chassis_sends_arrives():
    board = board_at(1.0, *Waveshare().start())
    assert board.heartbeat_s == 0.5
    board.receive(Waveshare().encode(Velocity(0.3, 0.0, -0.6)), 1.1)
    assert board.wanted(1.1) == pytest.approx(Velocity(0.3, 0.0, -0.6), abs=0.01)


def test_the_heartbeat_stops_the_car_when_wheel_speeds_cease():
    board = board_at(1.0, line(T=136, cmd=500), line(T=1, L=0.3, R=0.3))
    assert board.wanted(1.4) == Velocity(0.3)
    assert board.wanted(1.6) == STOP
    board.receive(line(T=1, L=0.2, R=0.2), 2.0)  # which lifts it again
    assert board.wanted(2.0) == Velocity(0.2)


def test_without_being_told_it_waits_three_seconds():
    board = board_at(1.0, line(T=1, L=0.3, R=0.3))
    assert board.wanted(3.9) == Velocity(0.3)
    assert board.wanted(4.1) == STOP


def test_speed_and_turn_have_no_heartbeat_after_the_first_stop():
    """The fault: T:13 neither restarts the heartbeat nor lifts its stop."""
    board = board_at(0.0, line(T=136, cmd=500), line(T=13, X=0.3, Z=0.0))
    assert board.wanted(0.4) == Velocity(0.3)
    assert board.wanted(0.6) == STOP
    board.receive(line(T=13, X=0.3, Z=0.0), 1.0)
    assert board.wanted(1e4) == Velocity(0.3), "and now nothing stops it"


def test_an_emergency_stop_holds_until_it_is_reset():
    board = board_at(1.0, line(T=1, L=0.3, R=0.3), line(T=0))
    assert board.wanted(1.0) == STOP
    board.receive(line(T=1, L=0.3, R=0.3), 1.1)
    assert board.wanted(1.1) == STOP
    board.receive(line(T=999), 1.2)
    assert board.wanted(1.2) == Velocity(0.3)


@pytest.mark.parametrize(
    "garbage",
    [b"{\n", b'{"T":1,"L":0.1}\n', b"[1]\n", b"7\n", b'{"T":"x"}\n', b"\xff\xfe\n", b'{"L":1}\n'],
)
def test_garbage_is_rejected_and_the_next_line_obeyed(garbage):
    board = board_at(1.0, garbage, line(T=1, L=0.2, R=0.2))
    assert board.wanted(1.0) == Velocity(0.2)


def test_too_fast_a_wheel_is_ignored():
    board = board_at(1.0, line(T=1, L=0.2, R=0.2), line(T=1, L=5.0, R=0.2))
    assert board.wanted(1.0) == Velocity(0.2) and board.rejected == 1


def test_a_line_without_an_end_is_given_up():
    board = board_at(1.0, b"x" * 2000, b"\n", line(T=1, L=0.2, R=0.2))
    assert board.wanted(1.0) == Velocity(0.2)


def test_reports_come_once_asked_for_and_then_as_a_stream():
    board = WaveshareFirmware(battery_v=11.8)
    moving = Velocity(0.4, 0.0, 1.0)
    assert board.report(moving, 0.1) == b""
    board.receive(line(T=130), 0.2)
    assert board.report(moving, 0.21)
    assert board.report(moving, 0.22) == b""
    board.receive(line(T=131, cmd=1), 0.3)
    reports = b"".join(board.report(moving, 0.3 + 0.01 * n) for n in range(1, 101))
    read = Waveshare().feed(reports)
    assert len(read) in (19, 20, 21)
    assert read[-1].velocity == pytest.approx(moving, abs=0.01)
    assert read[-1].battery_v == pytest.approx(11.8)
