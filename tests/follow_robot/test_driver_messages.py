"""The protocol between the two processes: what goes in comes out, and nothing else does."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.chassis.base import Telemetry
from follow_robot.driver_messages import (
    MAX_LINE_BYTES,
    TO_DRIVER,
    TO_MAIN,
    Close,
    Configure,
    Ended,
    Event,
    LineReader,
    MessageError,
    Press,
    Rearm,
    Report,
    Tick,
    decode,
    encode,
)
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import Command, Velocity

numbers = st.floats(allow_nan=False)
plain_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
velocities = st.builds(Velocity, numbers, numbers, numbers)
telemetry = st.builds(
    Telemetry,
    st.none() | velocities,
    st.none() | numbers,
    st.none() | st.booleans(),
    st.dictionaries(plain_text, numbers, max_size=5),
)
sequences = st.integers(-(1 << 53), 1 << 53)
texts = st.lists(plain_text, max_size=4).map(tuple)
TO_DRIVER_MESSAGES = st.one_of(
    st.builds(Configure, plain_text, st.just(SafetyLimits(speed_mps=0.7)), st.integers(1, 1 << 22)),
    st.builds(Command, velocities, numbers, numbers, numbers, sequences),
    st.builds(ObstacleReading, numbers, numbers),
    st.builds(Press, plain_text),
    st.just(Rearm()),
    st.just(Close()),
)
TO_MAIN_MESSAGES = st.one_of(
    st.builds(
        Report,
        numbers,
        velocities,
        st.none() | numbers,
        st.none() | sequences,
        texts,
        texts,
        st.booleans(),
        st.none() | telemetry,
        st.none() | numbers,
    ),
    st.builds(
        Tick,
        numbers,
        st.none() | sequences,
        st.none() | st.builds(ObstacleReading, numbers, numbers),
        texts,
        velocities,
        texts,
        st.binary(max_size=100).map(bytes.hex),
        st.booleans(),
    ),
    st.builds(Event, numbers, plain_text),
    st.builds(Ended, st.integers(0, 255), plain_text, st.booleans()),
)


@settings(deadline=None)
@given(TO_DRIVER_MESSAGES)
def test_messages_to_the_driver_come_out_as_they_went_in(message):
    line = encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    out = decode(line[:-1], TO_DRIVER)
    assert out == message and type(out) is type(message)


@settings(deadline=None)
@given(TO_MAIN_MESSAGES)
def test_messages_to_the_main_process_come_out_as_they_went_in(message):
    out = decode(encode(message)[:-1], TO_MAIN)
    assert out == message and type(out) is type(message)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_velocity_that_is_no_number_reaches_the_gate(value):
    command = Command(Velocity(value, 0, 0), 1.0, -math.inf, 1.0, 3)
    assert decode(encode(command)[:-1], TO_DRIVER) == command
    out = decode(encode(command._replace(velocity=Velocity(math.nan)))[:-1], TO_DRIVER)
    assert math.isnan(out.velocity.vx_mps)


class TestStrict:
    GOOD = {"v": 1, "kind": "obstacle", "distance_m": 1.5, "time_s": 2}

    def read(self, data, expected=TO_DRIVER):
        line = data if isinstance(data, bytes) else json.dumps(data).encode()
        return decode(line, expected)

    def test_the_good_one(self):
        assert self.read(self.GOOD) == ObstacleReading(1.5, 2.0)

    @pytest.mark.parametrize(
        "change",
        [
            {"v": 2},
            {"v": None},
            {"v": True},
            {"kind": "explode"},
            {"kind": ["obstacle"]},
            {"kind": None},
            {"distance_m": "1.5"},
            {"distance_m": True},
            {"distance_m": None},
            {"distance_m": [1.5]},
            {"distance_m": 10**400},
            {"more": 1},
        ],
        ids=str,
    )
    def test_a_field_that_is_wrong(self, change):
        with pytest.raises(MessageError):
            self.read(dict(self.GOOD, **change))

    @pytest.mark.parametrize("name", sorted(GOOD))
    def test_a_field_that_is_missing(self, name):
        with pytest.raises(MessageError):
            self.read({k: v for k, v in self.GOOD.items() if k != name})

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"[" * 4000,
            b'{"v":1,"kind":"close"',
            b'{"v":1,"kind":"close"} x',
            b'{"v":1,"v":1,"kind":"close"}',
        ],
        ids=lambda line: repr(line[:30]),
    )
    def test_what_is_no_message(self, line):
        with pytest.raises(MessageError):
            self.read(line)

    @pytest.mark.parametrize(
        "fields",
        [
            {"velocity": [0, 0], "sequence": 1},
            {"velocity": [0, 0, "0"], "sequence": 1},
            {"velocity": [0, 0, 0], "sequence": 1.0},
            {"velocity": [0, 0, 0], "sequence": 1 << 60},
            {"velocity": [0, 0, 0], "sequence": True},
        ],
        ids=str,
    )
    def test_a_command_that_is_wrong(self, fields):
        times = {"frame_time_s": 1, "target_time_s": 1, "made_s": 1}
        good = dict(times, v=1, kind="command", velocity=[0, 0, 0], sequence=1)
        self.read(good)
        with pytest.raises(MessageError):
            self.read(dict(good, **fields))

    def test_each_side_takes_only_its_own(self):
        with pytest.raises(MessageError):
            decode(encode(Close())[:-1], TO_MAIN)
        with pytest.raises(MessageError):
            decode(encode(Event(1.0, "x"))[:-1], TO_DRIVER)

    def test_limits_beyond_the_caps_are_refused_here_too(self):
        data = json.loads(encode(Configure("null", SafetyLimits(), 1)))
        assert self.read(data) == Configure("null", SafetyLimits(), 1)
        for name, value in (("speed_mps", 3.0), ("stop_repeats", 5.0), ("obstacle_required", 1)):
            with pytest.raises(MessageError):
                self.read(dict(data, limits=dict(data["limits"], **{name: value})))
        with pytest.raises(MessageError):
            self.read(dict(data, limits={"speed_mps": 0.5}))

    @pytest.mark.parametrize(
        "fields",
        [{"data": "0x"}, {"data": "abc"}, {"data": 7}, {"obstacle": [1.0]}, {"obstacle": {}}],
        ids=str,
    )
    def test_a_tick_that_is_wrong(self, fields):
        tick = Tick(1.0, 2, ObstacleReading(3.0, 4.0), (), Velocity(), ("a",), "7b7d", True)
        good = json.loads(encode(tick))
        assert self.read(good, TO_MAIN) == tick
        with pytest.raises(MessageError):
            self.read(dict(good, **fields), TO_MAIN)

    @settings(max_examples=500, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_message_or_an_error(self, data):
        try:
            decode(data, TO_DRIVER)
        except MessageError as error:
            assert "\n" not in str(error)

    @settings(max_examples=500, deadline=None)
    @given(TO_DRIVER_MESSAGES, st.data())
    def test_a_damaged_message_is_a_message_or_an_error(self, message, data):
        line = bytearray(encode(message)[:-1])
        for _ in range(data.draw(st.integers(1, 3))):
            line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(line), TO_DRIVER)
        except MessageError:
            pass


class TestLines:
    def test_lines_in_pieces(self):
        reader = LineReader(TO_DRIVER)
        data = encode(Press("a")) + encode(Rearm()) + encode(Close())
        out = []
        for i in range(0, len(data), 7):
            out += reader.feed(data[i : i + 7])
        assert out == [Press("a"), Rearm(), Close()]

    def test_a_line_without_end(self):
        reader = LineReader(TO_DRIVER)
        assert reader.feed(b"x" * MAX_LINE_BYTES) == []
        with pytest.raises(MessageError):
            reader.feed(b"x")

    def test_lines_fit_a_pipe_whatever_people_write(self):
        nasty = '"\\\x00\u20ac\U0001f600' * 100
        extra = {"accel_%d_mps2" % i: -1.2345678901234567e-100 for i in range(24)}
        full = Telemetry(Velocity(*[-1.2345678901234567e-100] * 3), 1e-300, True, extra)
        texts = (nasty,) * 50
        for message in (
            Press(nasty),
            Event(1.0, nasty),
            Ended(1, nasty, True),
            Report(1.0, Velocity(), 1.0, 1, texts, texts, True, full, 1.0),
        ):
            assert len(encode(message)) <= MAX_LINE_BYTES

    def test_a_chassis_is_never_cut(self):
        path = "log:/tmp/\u8f66/" + "x" * 1000
        configure = Configure(path, SafetyLimits(), 1)
        assert decode(encode(configure)[:-1], TO_DRIVER) == configure
        with pytest.raises(MessageError):
            encode(Configure("log:" + "x" * MAX_LINE_BYTES, SafetyLimits(), 1))
