"""Distances from sensors: what is read, what is skipped, and that silence stays silence."""

import math
import os
import threading
import time
import tty

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.hc_sr04 import HcSr04Obstacle
from follow_robot.obstacle import (
    CallableObstacle,
    LineObstacle,
    NearestObstacle,
    ObstacleReading,
    nearest_of,
    open_obstacle,
    parse_distance,
)
from follow_robot.safety_gate import SafetyGate
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import Command, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.fake_gpio import FakeGpio


class Reports:
    """Keeps readings and lets a test wait for them."""

    def __init__(self):
        self.readings = []
        self._news = threading.Condition()

    def __call__(self, distance_m, time_s):
        with self._news:
            self.readings.append(ObstacleReading(distance_m, time_s))
            self._news.notify_all()

    def wait(self, wanted, timeout_s=15.0):
        with self._news:
            assert self._news.wait_for(lambda: wanted(self.readings), timeout_s), self.readings
            return self.readings[-1]


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def begin(reports):
    sources = []

    def start(source):
        sources.append(source)
        source.start(reports)
        return source

    yield start
    for source in sources:
        source.stop()
        source.stop()


class TestLine:
    @pytest.mark.parametrize(
        "line, distance_m",
        [
            (b"0.53", 0.53),
            (b" 1.0\r", 1.0),
            (b".25", 0.25),
            (b"0.0", 0.0),
            (b"20.0", 20.0),
            (b"inf", math.inf),
        ],
    )
    def test_distances(self, line, distance_m):
        assert parse_distance(line) == distance_m

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"53",  # centimetres, or what is left of 0.53
            b"530",
            b"20.01",
            b"-0.5",
            b"+0.5",
            b"nan",
            b"-inf",
            b"0.5 m",
            b"0,53",
            b"0.5.3",
            b"1e0",
            b"1_0.0",
            b"0x1p0",
            b"\xd9\xa1.\xd9\xa2",
            b"1.",
            b"d=0.5",
            b"0" * 50 + b".5",
        ],
    )
    def test_what_is_no_distance(self, line):
        assert parse_distance(line) is None

    @given(st.binary(max_size=40))
    def test_any_line_is_a_distance_or_none(self, line):
        distance_m = parse_distance(line)
        assert distance_m is None or 0 <= distance_m <= 20 or distance_m == math.inf

    @given(st.floats(0, 20), st.integers(1, 4), st.data())
    def test_what_is_left_of_a_line_never_reads_farther(self, distance_m, digits, data):
        line = b"%.*f" % (digits, distance_m)
        rest = line[data.draw(st.integers(1, len(line))) :]
        left_m = parse_distance(rest)
        assert left_m is None or left_m <= float(line)


class TestStream:
    @pytest.fixture
    def fifo(self, tmp_path):
        path = str(tmp_path / "distances")
        os.mkfifo(path)
        file = os.open(path, os.O_RDWR)
        yield path, file
        os.close(file)

    def test_until_it_speaks_the_way_is_blocked(self, fifo, reports, begin):
        path, _ = fifo
        before_s = time.monotonic()
        begin(LineObstacle(path))
        assert [r.distance_m for r in reports.readings] == [0.0]
        assert before_s <= reports.readings[0].time_s <= time.monotonic()

    def test_lines(self, fifo, reports, begin):
        path, file = fifo
        source = begin(LineObstacle(path))
        os.write(file, b"9.9\n1.5\n")  # the first may have lost its beginning
        assert reports.wait(lambda r: len(r) > 1).distance_m == 1.5
        os.write(file, b"1.")
        time.sleep(0.1)
        before_s = time.monotonic()
        os.write(file, b"25\r\nhello\n\xff\n")
        reading = reports.wait(lambda r: len(r) > 2)
        assert reading.distance_m == 1.25 and before_s <= reading.time_s <= time.monotonic()
        os.write(file, b"2.0\n3.0\n4.0\n")
        assert reports.wait(lambda r: r[-1].distance_m == 4.0)
        assert source.invalid == 3

    def test_old_lines_do_not_wait(self, fifo, reports, begin):
        path, file = fifo
        os.write(file, b"?\n" + b"5.0\n" * 8000 + b"0.5\n")
        begin(LineObstacle(path))
        reports.wait(lambda r: len(r) > 1)
        assert [r.distance_m for r in reports.readings] == [0.0, 0.5]

    def test_a_line_without_end_takes_no_memory(self, fifo, reports, begin):
        path, file = fifo
        source = begin(LineObstacle(path))
        os.write(file, b"1" * 60000)
        os.write(file, b"1" * 60000 + b"\n0.75\n")
        assert reports.wait(lambda r: len(r) > 1).distance_m == 0.75
        assert len(source._rest) < 100

    def test_a_writer_that_goes_and_comes_back(self, tmp_path, reports, begin):
        path = str(tmp_path / "distances")
        os.mkfifo(path)
        begin(LineObstacle(path))
        for distance in (b"0.5", b"0.7"):
            with open(path, "wb") as file:
                file.write(b"?\n" + distance + b"\n")
            assert reports.wait(lambda r, d=float(distance): r[-1].distance_m == d)

    def test_a_serial_port(self, reports, begin):
        master, slave = os.openpty()
        tty.setraw(slave)
        begin(LineObstacle(os.ttyname(slave), 115200))
        os.write(master, b"?\n0.42\n")
        assert reports.wait(lambda r: len(r) > 1).distance_m == 0.42
        os.close(slave)
        os.close(master)

    def test_a_serial_port_that_goes_and_comes_back(self, tmp_path, reports, begin):
        link = str(tmp_path / "sensor")
        first, first_slave = os.openpty()
        os.symlink(os.ttyname(first_slave), link)
        begin(LineObstacle(link))
        os.write(first, b"?\n0.42\n")
        reports.wait(lambda r: r[-1].distance_m == 0.42)
        os.unlink(link)
        os.close(first_slave)
        os.close(first)
        second, second_slave = os.openpty()
        os.symlink(os.ttyname(second_slave), link)
        end_s = time.monotonic() + 15
        while reports.readings[-1].distance_m != 0.62:
            assert time.monotonic() < end_s
            os.write(second, b"?\n0.62\n")
            time.sleep(0.05)
        os.close(second_slave)
        os.close(second)

    @pytest.mark.parametrize("make", ["nothing", "file"])
    def test_what_cannot_be_read(self, tmp_path, begin, make):
        path = tmp_path / "x"
        if make == "file":
            path.write_text("0.5\n")
        with pytest.raises(ReidEdgeError, match="Obstacle input"):
            begin(LineObstacle(str(path)))


class TestCallable:
    def test_readings_and_nothing(self, reports, begin):
        answers = iter([1.0, None, 2.0])
        begin(CallableObstacle(lambda: next(answers, 3.0), rate_hz=100))
        reports.wait(lambda r: r[-1].distance_m == 3.0)
        assert [r.distance_m for r in reports.readings][:4] == [0.0, 1.0, 2.0, 3.0]

    def test_a_failing_sensor_is_silent_and_may_recover(self, reports, begin, caplog):
        fails = threading.Event()
        calls = []

        def read():
            calls.append(1)
            if fails.is_set():
                raise OSError("no echo")
            return 1.0

        begin(CallableObstacle(read, rate_hz=100))
        reports.wait(lambda r: len(r) > 2)
        fails.set()
        time.sleep(0.1)
        count, called = len(reports.readings), len(calls)
        while len(calls) < called + 3:
            time.sleep(0.01)
        assert len(reports.readings) == count
        assert caplog.text.count("no echo") == 1
        fails.clear()
        reports.wait(lambda r: len(r) > count)

    def test_what_is_no_number_reaches_the_gate(self, reports, begin):
        begin(CallableObstacle(lambda: math.nan, rate_hz=100))
        reading = reports.wait(lambda r: len(r) > 1)
        command = Command(Velocity(0.1), reading.time_s, reading.time_s, reading.time_s, 1)
        assert SafetyGate(SafetyLimits()).judge(command, reading.time_s, reading).is_fault


class Sonar:
    """An HC-SR04 and a clock that advances with every look at the echo line."""

    def __init__(self, echo_s, delay_s=0.0003, look_s=2e-5, stalls=()):
        self.now_s = 50.0
        self.gpio = FakeGpio()
        self.gpio.setmode(self.gpio.BOARD)
        self.gpio.levels[13] = self.look
        self.echo_s, self.delay_s, self.look_s = echo_s, delay_s, look_s
        self.stalls = list(stalls)  # (since the ping, length): the reader is held up
        self.sensor = HcSr04Obstacle(11, 13, self.gpio, clock=self.clock)
        self.sensor._open()
        self.ping_s = None

    def clock(self):
        self.stall()
        return self.now_s

    def stall(self):
        since_s = -1.0 if self.ping_s is None else self.now_s - self.ping_s
        if self.stalls and since_s >= self.stalls[0][0]:
            self.now_s += self.stalls.pop(0)[1]

    def look(self):
        if self.ping_s is None:
            if self.gpio.written[-2:] != [(11, 1), (11, 0)]:
                return 0  # not yet asked
            self.ping_s = self.now_s
        self.stall()
        self.now_s += self.look_s
        since_s = self.now_s - self.ping_s
        if self.echo_s is None:
            return 0
        return int(self.delay_s <= since_s < self.delay_s + self.echo_s)


class TestHcSr04:
    @pytest.mark.parametrize("distance_m", [0.05, 0.4, 1.0, 3.9])
    def test_distances(self, distance_m):
        measured_m = Sonar(2 * distance_m / 343.0).sensor.measure()
        assert distance_m - 0.02 <= measured_m <= distance_m + 1e-9  # never more

    def test_nothing_in_range(self):
        assert Sonar(0.038).sensor.measure() == math.inf

    def test_no_sensor(self):
        assert Sonar(None).sensor.measure() is None

    def test_a_line_that_is_always_high_is_no_free_way(self):
        sonar = Sonar(1e9)
        sonar.gpio.levels[13] = 1
        assert sonar.sensor.measure() is None
        assert sonar.gpio.written == [(11, 0)]  # no ping

    @settings(max_examples=300, deadline=None)
    @given(
        st.floats(0.05, 3.9),
        st.lists(st.tuples(st.floats(0, 0.025), st.floats(1e-5, 0.02)), max_size=6),
    )
    def test_a_reader_that_is_held_up_never_sees_farther(self, distance_m, stalls):
        sonar = Sonar(2 * distance_m / 343.0, stalls=sorted(stalls))
        measured_m = sonar.sensor.measure()
        assert measured_m is None or measured_m <= distance_m + 1e-9

    def test_it_reports(self, reports, begin):
        sonar = Sonar(2 * 0.8 / 343.0)
        begin(sonar.sensor)
        assert reports.wait(lambda r: len(r) > 1).distance_m == pytest.approx(0.8, abs=0.02)
        sonar.sensor.stop()
        assert sorted(sonar.gpio.cleaned) == [11, 13]


class TestNearest:
    def test_the_nearest_and_the_oldest(self, reports):
        nearest = NearestObstacle(reports)
        left, right = nearest.input("left"), nearest.input("right")
        left(2.0, 10.0)
        assert reports.readings[-1] == (0.0, -math.inf)  # the right one has not spoken
        right(1.0, 10.1)
        assert reports.readings[-1] == (1.0, 10.0)
        left(0.5, 10.2)
        assert reports.readings[-1] == (0.5, 10.1)
        left(3.0, 11.0)  # the right one is silent, which shows in the time
        assert reports.readings[-1] == (1.0, 10.1)

    def test_not_a_number_wins(self):
        readings = [ObstacleReading(d, 0.0) for d in (1.0, math.nan, 0.5)]
        assert math.isnan(nearest_of(readings))


def test_specifications():
    lines = open_obstacle("lines:/dev/ttyUSB1@115200")
    assert isinstance(lines, LineObstacle)
    assert (lines.path, lines.baud) == ("/dev/ttyUSB1", 115200)
    assert open_obstacle("lines:-").path == "-"
    assert open_obstacle("lines:/tmp/fifo").baud == 9600
    sonar = open_obstacle("hc-sr04:11,13")
    assert (sonar.trigger_pin, sonar.echo_pin) == (11, 13)


@pytest.mark.parametrize(
    "spec",
    ["", "lines", "lines:", "lines:@9600", "lines:/dev/x@fast", "hc-sr04:11", "lidar:/dev/x"],
)
def test_specifications_that_are_wrong(spec):
    with pytest.raises(ReidEdgeError, match="lines:PATH"):
        open_obstacle(spec)
