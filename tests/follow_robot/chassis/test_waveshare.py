"""Waveshare: wheel speeds, the board's heartbeat, reports."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from follow_robot.chassis import Waveshare
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.chassis.streams import survives

REPORT = {"T": 1001, "L": 0.1, "R": 0.3, "ax": -12, "odl": 5, "odr": 7, "v": 12.1}


def line(**fields):
    return json.dumps(fields).encode() + b"\r\n"


def parsed(data):
    """What the board reads: whole lines, those that are JSON."""
    found = []
    for text in data.split(b"\n")[:-1]:
        try:
            found.append(json.loads(text.decode()))
        except ValueError:
            pass
    return found


class Board:
    """The board's heartbeat, as in ``uart_ctrl.h`` and ``movtion_module.h``, in milliseconds."""

    def __init__(self):
        self.heartbeat_ms, self.heard_ms, self.held = 3000, 0, False
        self.wheels = (0.0, 0.0)

    def receive(self, data, now_ms):
        for command in parsed(data):
            if command["T"] == 1:
                self.held, self.heard_ms = False, now_ms
                if max(abs(command["L"]), abs(command["R"])) <= 2:
                    self.wheels = (command["L"], command["R"])
            elif command["T"] == 13:
                half_m = 0.172 / 2
                x, z = command["X"], command["Z"]
                self.wheels = (x - z * half_m, x + z * half_m)
            elif command["T"] == 136:
                self.heartbeat_ms = command["cmd"]

    def pass_to(self, now_ms):
        if now_ms - self.heard_ms > self.heartbeat_ms and not self.held:
            self.held, self.wheels = True, (0.0, 0.0)


@pytest.mark.parametrize(
    "velocity, frame",
    [
        (Velocity(0.5), b'{"T":1,"L":0.5,"R":0.5}\n'),
        (STOP, b'{"T":1,"L":0.0,"R":0.0}\n'),
        # 0.2 -+ (-0.5 * 0.2 / 2)
        (Velocity(0.2, 0, -0.5), b'{"T":1,"L":0.25,"R":0.15}\n'),
        (Velocity(-0.0001, 0, 0), b'{"T":1,"L":0.0,"R":0.0}\n'),
    ],
)
def test_commands(velocity, frame):
    chassis = Waveshare(track_width_m=0.2)
    assert chassis.encode(velocity) == frame
    assert chassis.clamped == 0


def test_a_start_sets_the_heartbeat_first():
    assert parsed(b'{"T":1,"L":0.3' + b"".join(Waveshare(heartbeat_ms=300).start())) == [
        {"T": 136, "cmd": 300},
        {"T": 1, "L": 0, "R": 0},
        {"T": 131, "cmd": 1},
        {"T": 130},
    ]


def test_a_stop_is_heard_behind_half_a_line():
    assert parsed(b'{"T":1,"L":0.3' + Waveshare().stop()) == [{"T": 1, "L": 0, "R": 0}]


def test_the_board_stops_by_itself_every_time_commands_cease():
    board, chassis = Board(), Waveshare()
    board.receive(b"".join(chassis.start()), 0)
    now_ms = 0
    for _ in range(3):
        now_ms += 5000
        board.receive(chassis.encode(Velocity(0.3)), now_ms)
        board.pass_to(now_ms + 490)
        assert board.wheels == (0.3, 0.3)
        board.pass_to(now_ms + 510)
        assert board.wheels == (0.0, 0.0)


def test_why_t13_is_not_used():
    board = Board()
    board.receive(b"".join(Waveshare().start()), 0)
    board.pass_to(600)
    board.receive(b'{"T":13,"X":0.3,"Z":0}\n', 700)
    board.pass_to(3_600_000)
    assert board.wheels == (0.3, 0.3)


@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3))
def test_whatever_is_asked_the_board_takes_it_and_it_is_t1(parts):
    chassis = Waveshare()
    (command,) = parsed(chassis.encode(Velocity(*parts)))
    assert command["T"] == 1
    assert abs(command["L"]) <= 2 and abs(command["R"]) <= 2


def test_too_fast_wheels_are_slowed_alike_and_counted():
    chassis = Waveshare(track_width_m=0.5)
    (command,) = parsed(chassis.encode(Velocity(2.0, 0, 2.0)))  # wheels 1.5 and 2.5
    assert (command["L"], command["R"]) == (1.2, 2.0)
    assert chassis.clamped == 1
    chassis.encode(Velocity(0.5, 0.1, 0))  # it cannot go sideways
    assert chassis.clamped == 2
    chassis.encode(Velocity(9, 0.1, 0))  # counted once
    assert chassis.clamped == 3


def test_what_is_not_finite_is_refused():
    with pytest.raises(ReidEdgeError, match="must be finite"):
        Waveshare().encode(Velocity(0, 0, float("inf")))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"track_width_m": 0}, "track_width_m .* 0.05 to 2, got 0"),
        ({"track_width_m": float("nan")}, "track_width_m .* got nan"),
        ({"heartbeat_ms": 3000}, "heartbeat_ms .* 100 to 500, got 3000"),
        ({"heartbeat_ms": 0}, "heartbeat_ms .* got 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ReidEdgeError, match=message):
        Waveshare(**options)


def test_reports():
    chassis = Waveshare(track_width_m=0.2)
    (telemetry,) = chassis.feed(b"boot message\r\n" + line(**REPORT))
    assert telemetry.velocity == pytest.approx(Velocity(0.2, 0.0, 1.0))
    assert telemetry.battery_v == 12.1
    assert telemetry.extra == {"ax": -12, "odl": 5, "odr": 7}
    assert chassis.frames == 1


def test_hundredths_of_volts_are_volts():
    assert Waveshare().feed(line(T=1001, v=1210))[0].battery_v == 12.1


def test_missing_and_odd_values_are_left_out():
    chassis = Waveshare()
    (telemetry,) = chassis.feed(
        b'{"T":1001,"L":null,"R":0.1,"v":"12","a":NaN,"b":true,"c":1e999,"d":[1],"e":%s}'
        % (b"9" * 400)
    )
    assert telemetry == (None, None, None, {})


def test_a_sum_that_overflows_is_no_velocity():
    (telemetry,) = Waveshare().feed(b'{"T":1001,"L":1.7e308,"R":1.7e308}')
    assert telemetry.velocity is None


def test_everything_but_reports_is_passed_over():
    chassis = Waveshare()
    echo = chassis.encode(Velocity(0.3)) + b'{"T":1003}{"L":1}{"T":"1001"}{}'
    assert chassis.feed(echo) == []
    assert chassis.frames == 5


FRAMES = [
    line(**REPORT).strip(),
    line(T=1, L=0.5, R=0.5),
    line(T=1001, L=None, v=1210, pan="{"),
    line(a=[[1, 2], {"T": 1001}]),
]


def test_random_bytes():
    assert survives(Waveshare, FRAMES, 100_000, seed=3) == 0
