"""Who may press the emergency stop, and that a source that breaks presses too."""

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from follow_robot import gpio
from follow_robot.estop import HeartbeatStop, KeyboardStop, PolledStop, SignalStop, open_stop
from follow_robot.estop_devices import GpioStop, JoystickStop
from runtime.errors import ReidEdgeError
from tests.follow_robot.fake_gpio import FakeGpio
from tests.follow_robot.pty_car import ROOT


class Presses:
    """Counts calls and lets a test wait for them."""

    def __init__(self):
        self.reasons = []
        self._news = threading.Condition()

    def __call__(self, reason):
        with self._news:
            self.reasons.append(reason)
            self._news.notify_all()

    def wait(self, count=1, timeout_s=15.0):
        with self._news:
            assert self._news.wait_for(lambda: len(self.reasons) >= count, timeout_s), self.reasons
            return self.reasons[-1]


@pytest.fixture
def presses():
    return Presses()


@pytest.fixture
def begin(presses):
    """Starts sources and stops them at the end."""
    sources = []

    def start(source):
        sources.append(source)
        source.start(presses)
        return source

    yield start
    for source in sources:
        source.stop()
        source.stop()


class TestKeyboard:
    @pytest.fixture
    def terminal(self):
        master, slave = pty.openpty()
        yield master, slave
        os.close(master)
        os.close(slave)

    def test_any_key_stops_and_the_terminal_is_put_back(self, terminal, presses, begin):
        master, slave = terminal
        before = termios.tcgetattr(slave)
        source = begin(KeyboardStop(file=slave))
        assert not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(slave)[3] & termios.ISIG  # Ctrl-C stays what it is
        assert presses.reasons == []
        os.write(master, b"x")
        assert presses.wait() == "keyboard"
        source.stop()
        assert termios.tcgetattr(slave) == before

    def test_only_some_keys(self, terminal, presses, begin):
        master, slave = terminal
        begin(KeyboardStop(" q", file=slave))
        os.write(master, b"abc")
        time.sleep(0.2)
        assert presses.reasons == []
        os.write(master, b"ab cd")
        presses.wait()
        assert presses.reasons == ["keyboard"]

    def test_no_terminal(self, begin):
        read, write = os.pipe()
        try:
            with pytest.raises(ReidEdgeError, match="terminal"):
                begin(KeyboardStop(file=read))
        finally:
            os.close(read)
            os.close(write)

    def test_a_terminal_that_is_closed_presses(self, presses, begin):
        master, slave = pty.openpty()
        begin(KeyboardStop(file=slave))
        os.close(master)
        assert "broke" in presses.wait(3)
        os.close(slave)

    def test_the_end_of_the_process_puts_the_terminal_back(self, terminal):
        _, slave = terminal
        before = termios.tcgetattr(slave)
        program = (
            "import sys, termios; from follow_robot.estop import KeyboardStop; "
            "KeyboardStop(file=0).start(print); print(termios.tcgetattr(0)[3]); sys.exit(1)"
        )
        out = subprocess.run(
            [sys.executable, "-c", program], stdin=slave, stdout=subprocess.PIPE, cwd=str(ROOT)
        )
        assert int(out.stdout) != before[3]
        assert termios.tcgetattr(slave) == before

    def test_in_the_background_it_says_so_instead_of_hanging(self, terminal):
        _, slave = terminal
        # A session leader takes the terminal, and starts the program in another process group.
        program = (
            "import fcntl, os, subprocess, sys, termios\n"
            "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
            "child = 'from follow_robot.estop import KeyboardStop; KeyboardStop().start(print)'\n"
            "p = subprocess.Popen([sys.executable, '-c', child], stderr=subprocess.PIPE,\n"
            "                     preexec_fn=os.setpgrp)\n"
            "print('foreground' in p.communicate(timeout=30)[1].decode(), p.returncode)\n"
        )
        out = subprocess.run(
            [sys.executable, "-c", program],
            stdin=slave,
            stdout=subprocess.PIPE,
            cwd=str(ROOT),
            start_new_session=True,
            timeout=60,
        )
        assert out.stdout.split() == [b"True", b"1"]


class TestSignals:
    PROGRAM = """
import signal, sys, time
from follow_robot.estop import SignalStop
{before}
SignalStop().start(lambda reason: print("pressed", reason, flush=True))
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted")
finally:
    print("closed")
"""

    def run(self, number, before=""):
        process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM.format(before=before)],
            stdout=subprocess.PIPE,
            cwd=str(ROOT),
        )
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)
        return out.decode().split("\n")[:-1], process.returncode

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
    def test_the_process_ends_with_everything_closed(self, name):
        number = getattr(signal, name)
        assert self.run(number) == (["pressed " + name, "closed"], 128 + number)

    def test_ctrl_c_is_a_keyboard_interrupt_still(self):
        assert self.run(signal.SIGINT) == (["pressed SIGINT", "interrupted", "closed"], 0)

    def test_a_handler_from_before_is_called(self):
        before = "signal.signal(signal.SIGTERM, lambda n, f: (print('mine'), sys.exit(5)))"
        assert self.run(signal.SIGTERM, before) == (["pressed SIGTERM", "mine", "closed"], 5)

    def test_an_ignored_signal_stops_the_car_and_is_ignored(self):
        before = "signal.signal(signal.SIGHUP, signal.SIG_IGN); import threading, os; " + (
            "threading.Timer(0.7, lambda: os.kill(os.getpid(), 15)).start()"
        )
        lines, code = self.run(signal.SIGHUP, before)
        assert lines == ["pressed SIGHUP", "pressed SIGTERM", "closed"] and code == 128 + 15

    ENDING = """
import signal, sys, time
from follow_robot.estop import SignalStop
ends = []
source = SignalStop(lambda: ends.append("asked to end"))
source.start(lambda reason: print("pressed", reason, flush=True))
class Swallows:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(1.0)
try:
    Swallows()
    {then}
    print(*ends)
    source.follow_through()
except KeyboardInterrupt:
    print("interrupted")
"""

    @pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
    def test_an_end_is_not_lost_where_exceptions_are(self, monkeypatch, number, code):
        monkeypatch.setattr(self, "PROGRAM", self.ENDING.replace("{then}", "source.stop()"))
        said, came = self.run(number)
        pressed = "pressed " + signal.Signals(number).name
        assert (said, came) == ([pressed, "asked to end"] + ["interrupted"] * (code == 0), code)

    def test_a_second_signal_waits_for_nobody(self, monkeypatch):
        again = "import os; os.kill(os.getpid(), signal.SIGINT); print('not reached')"
        monkeypatch.setattr(self, "PROGRAM", self.ENDING.replace("{then}", again))
        assert self.run(signal.SIGTERM) == (["pressed SIGTERM", "pressed SIGINT", "interrupted"], 0)

    def test_stop_puts_the_handlers_back(self, presses):
        before = [signal.getsignal(n) for n in SignalStop.NUMBERS]
        source = SignalStop()
        source.start(presses)
        assert signal.getsignal(signal.SIGTERM) == source._handle
        source.stop()
        assert [signal.getsignal(n) for n in SignalStop.NUMBERS] == before


def event(value, kind, number):
    """A struct js_event as the kernel writes it on any of our boards: little-endian."""
    return struct.pack("<IhBB", 123456, value, kind, number)


class TestJoystick:
    @pytest.fixture
    def stick(self, tmp_path):
        path = str(tmp_path / "js0")
        os.mkfifo(path)
        file = os.open(path, os.O_RDWR)
        yield path, file
        os.close(file)

    def test_a_button_stops_and_axes_do_not(self, stick, presses, begin):
        path, file = stick
        begin(JoystickStop(path))
        os.write(file, event(32767, 0x02, 0) + event(0, 0x01, 3) + event(0, 0x81, 1))
        time.sleep(0.15)
        assert presses.reasons == []
        os.write(file, event(1, 0x01, 3))
        assert presses.wait() == "joystick " + path

    def test_a_button_that_is_held_goes_on_pressing(self, stick, presses, begin):
        path, file = stick
        begin(JoystickStop(path))
        os.write(file, event(1, 0x81, 0))  # held since before it was opened
        presses.wait(4)
        os.write(file, event(0, 0x01, 0))
        time.sleep(0.2)
        count = len(presses.reasons)
        time.sleep(0.2)
        assert len(presses.reasons) == count

    def test_only_some_buttons_and_events_in_pieces(self, stick, presses, begin):
        path, file = stick
        begin(JoystickStop(path, buttons=[7]))
        os.write(file, event(1, 0x01, 3))
        data = event(1, 0x01, 7)
        os.write(file, data[:3])
        time.sleep(0.15)
        assert presses.reasons == []
        os.write(file, data[3:])
        presses.wait()

    def test_unplugging_it_presses_and_goes_on_doing_so(self, tmp_path, presses, begin):
        path = str(tmp_path / "js0")
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY)
        os.close(reader)
        begin(JoystickStop(path))
        time.sleep(0.1)
        assert presses.reasons == []
        os.close(writer)
        assert "unplugged" in presses.wait(3)

    def test_no_joystick(self, begin):
        with pytest.raises(ReidEdgeError, match="plug it in"):
            begin(JoystickStop("/nowhere/js9"))


class TestGpio:
    def test_a_press_and_a_broken_wire_read_high(self, presses, begin):
        fake = FakeGpio()
        fake.setmode(fake.BOARD)
        source = begin(GpioStop(18, gpio=fake))
        assert fake.pins == {18: fake.IN}
        time.sleep(0.1)
        assert presses.reasons == []
        fake.levels[18] = 1
        assert presses.wait(3) == "button on pin 18"  # as long as it is held
        source.stop()
        assert fake.cleaned == [18]

    def test_a_single_look_is_no_press(self, presses):
        fake = FakeGpio()
        fake.setmode(fake.BOARD)
        source = GpioStop(18, gpio=fake)
        source._press = presses
        source._open()
        for level in (0, 1, 0, 1, 0):
            fake.levels[18] = level
            source._poll()
        assert presses.reasons == []
        for level in (1, 1):
            fake.levels[18] = level
            source._poll()
        assert presses.reasons == ["button on pin 18"]

    def test_a_button_that_closes_when_pressed(self, presses, begin):
        fake = FakeGpio()
        fake.setmode(fake.BOARD)
        fake.levels[16] = 1
        begin(GpioStop(16, pressed_level=0, gpio=fake))
        time.sleep(0.1)
        assert presses.reasons == []
        fake.levels[16] = 0
        presses.wait()

    def test_a_pin_that_cannot_be_read_presses(self, presses, begin):
        fake = FakeGpio()
        fake.setmode(fake.BOARD)
        begin(GpioStop(18, gpio=fake))
        fake.levels[18] = lambda: 1 / 0
        assert "broke" in presses.wait(3)

    def test_the_boards_library_is_found(self, monkeypatch):
        fake = FakeGpio("Hobot.GPIO")
        package = FakeGpio("Hobot")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, "Hobot", package)
        monkeypatch.setitem(sys.modules, "Hobot.GPIO", fake)
        assert gpio.load_gpio() is fake
        assert fake.mode == fake.BOARD

    def test_a_library_that_lacks_something_is_not_taken(self, monkeypatch):
        class Empty:
            BOARD = 10

        monkeypatch.setitem(sys.modules, "Jetson", FakeGpio("Jetson"))
        monkeypatch.setitem(sys.modules, "Jetson.GPIO", Empty())
        with pytest.raises(ReidEdgeError, match="lacks IN, OUT") as caught:
            gpio.load_gpio()
        assert "Hobot.GPIO: No module" in str(caught.value)


class TestHeartbeat:
    def test_it_stops_when_nobody_beats(self, presses, begin):
        now_s = [100.0]
        source = begin(HeartbeatStop("remote", 0.5, clock=lambda: now_s[0]))
        now_s[0] += 0.4
        time.sleep(0.15)
        assert presses.reasons == []
        source.beat()
        now_s[0] += 0.4
        time.sleep(0.15)
        assert presses.reasons == []
        now_s[0] += 0.2
        assert presses.wait(3) == "remote lost"  # again and again: re-arming does not help
        source.beat()
        time.sleep(0.15)
        count = len(presses.reasons)
        time.sleep(0.15)
        assert len(presses.reasons) == count

    def test_it_stops_when_nobody_ever_beat(self, presses, begin):
        begin(HeartbeatStop(timeout_s=0.1))
        assert presses.wait() == "heartbeat lost"


def test_a_source_that_breaks_presses_until_it_is_stopped(presses, begin):
    class Broken(PolledStop):
        def _poll(self):
            raise OSError("no such thing")

    begin(Broken("broken"))
    assert presses.wait(3) == "broken broke: no such thing"


@pytest.mark.parametrize(
    "spec, kind, attributes",
    [
        ("keyboard", KeyboardStop, {}),
        ("joystick", JoystickStop, {"path": "/dev/input/js0"}),
        ("joystick:/dev/input/js3", JoystickStop, {"path": "/dev/input/js3"}),
        ("gpio:18", GpioStop, {"pin": 18, "pressed_level": 1}),
        ("gpio:16,low", GpioStop, {"pin": 16, "pressed_level": 0}),
    ],
)
def test_specifications(spec, kind, attributes):
    source = open_stop(spec)
    assert type(source) is kind
    assert {name: getattr(source, name) for name in attributes} == attributes


@pytest.mark.parametrize(
    "spec", ["", "mouse", "gpio", "gpio:x", "gpio:4,high", "joystick:", "keyboard:x"]
)
def test_specifications_that_are_wrong(spec):
    with pytest.raises(ReidEdgeError, match="keyboard, joystick"):
        open_stop(spec)
