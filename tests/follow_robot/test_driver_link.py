"""The main process' side, with a real driver process and a car behind a pseudo-terminal.

Times are asserted with slack for a loaded machine; `pytest -rP` prints what was measured.
"""

import os
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from follow_robot import driver_link
from follow_robot.chassis import PortError
from follow_robot.driver_link import DriverLink
from follow_robot.driver_messages import MAX_LINE_BYTES, Report, Tick
from follow_robot.driver_status import ENDED, RUNNING, STARTING
from follow_robot.emergency_stop import emergency_stop
from follow_robot.safety_gate import (
    COMMAND_OLD,
    NO_COMMAND,
    OBSTACLE_NEAR,
    OBSTACLE_STOP,
    OUT_OF_ORDER,
    PRESSED,
    SafetyGate,
)
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import STOP, Command, Velocity
from runtime.errors import ReidEdgeError
from tests.follow_robot.pty_car import (
    Firmware,
    PtyCar,
    alive,
    last_stops,
    moving,
    standing,
    start_main,
    telemetry_frame,
    wait_gone,
)

LIMITS = SafetyLimits()
SLACK_S = 3.0  # a machine that does much else
FORWARD = Velocity(0.4, 0.0, 0.3)


@pytest.fixture
def car(tmp_path):
    car = PtyCar(tmp_path)
    yield car
    car.close()


@pytest.fixture
def link(car):
    with DriverLink(car.spec) as link:
        yield link


class Steering:
    """Sends commands through a link."""

    def __init__(self, link):
        self.link, self.sequence, self.commands = link, 0, {}

    def command(self, velocity=FORWARD):
        self.sequence += 1
        now_s = time.monotonic()
        command = Command(velocity, now_s, now_s, now_s, self.sequence)
        self.commands[self.sequence] = command
        self.link.send(command)
        return now_s

    def until(self, wanted, velocity=FORWARD, timeout_s=15.0):
        """Command until ``wanted()``; when the last command was made."""
        end_s = time.monotonic() + timeout_s
        while True:
            made_s = self.command(velocity)
            time.sleep(0.02)
            if wanted():
                return made_s
            assert time.monotonic() < end_s, self.link.status()


def until(wanted, timeout_s=15.0):
    end_s = time.monotonic() + timeout_s
    while not wanted():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def measure(car, began_s, within_s, what):
    """The record ends in stops; the first of them was in time (with slack)."""
    frames = car.quiet()
    moved_s = max(f.time_s for f in frames if f.moves)
    stops = [f.time_s for f in frames if f.time_s > moved_s]
    took = "%.3f s to %.3f s" % (stops[0] - began_s, stops[-1] - began_s)
    print("%s: %d stops on the wire after %s" % (what, len(stops), took))
    assert last_stops(frames) >= LIMITS.stop_repeats
    assert stops[0] - began_s <= within_s + SLACK_S


class TestLink:
    def test_it_drives_and_reports(self, car):
        link = DriverLink(car.spec)
        assert link.status().state == STARTING
        with link:
            status = link.status()
            assert (status.state, status.sent, status.reasons) == (RUNNING, STOP, (NO_COMMAND,))
            assert status.port_open and status.end is None and status.fault is None
            steering = Steering(link)
            steering.until(lambda: link.status().sent == FORWARD)
            status = link.status()
            assert status.sequence <= steering.sequence
            assert 0 <= status.report_age_s < SLACK_S
            assert car.wait_for(lambda frames: (0.4, 0.0, 0.3) in [f[1:] for f in frames])
            assert status.telemetry is None and status.telemetry_age_s is None
            car.say(telemetry_frame(0.25, 11.5))
            until(lambda: link.status().telemetry is not None)
            assert link.status().telemetry.battery_v == 11.5
            assert link.status().telemetry_age_s >= 0
            steering.until(lambda: moving(car.frames))
            began_s = time.monotonic()
        assert link.status()[:2] == (ENDED, STOP) and link.status().end == "closed"
        assert not link.status().port_open
        measure(car, began_s, 0.1, "close")
        link.close()  # once more

    def test_every_tick_is_told_and_can_be_judged_again(self, car):
        heard, commands = [], {}
        with DriverLink(car.spec, LIMITS, heard.append) as link:
            steering = Steering(link)
            steering.commands = commands
            steering.until(lambda: link.status().sent == FORWARD)
            link.obstacle(0.7, time.monotonic())
            steering.until(lambda: OBSTACLE_NEAR in link.status().reasons)
            link.press("button")
            until(lambda: link.status().pressed)
        ticks = [m for m in heard if isinstance(m, Tick)]
        assert len(ticks) == len([m for m in heard if isinstance(m, Report)]) > 10
        gate = SafetyGate(LIMITS)
        for tick in ticks:
            for reason in tick.pressed:
                gate.press(reason)
            verdict = gate.judge(commands.get(tick.sequence), tick.judged_s, tick.obstacle)
            assert verdict == (tick.velocity, tick.reasons)
            assert tick.written
        # What the ticks say was written is what the car got, between one stop at the start and those
        # at the end.
        sent = b"".join(bytes.fromhex(tick.data) for tick in ticks)
        got = [list(frame[1:]) for frame in car.quiet()]
        assert got[1 : -LIMITS.stop_repeats] == list(Firmware().feed(sent))

    def test_a_listener_that_fails_costs_nothing(self, car, caplog):
        def fail(message):
            raise ZeroDivisionError("by mistake")

        with DriverLink(car.spec, LIMITS, fail) as link:
            Steering(link).until(lambda: moving(car.frames))
            assert link.status().state == RUNNING
        assert link.status().end == "closed"
        assert caplog.text.count("Who listens to the driver failed") == 1

    def test_numbers_of_numpy(self, link, car):
        now_s = np.float64(time.monotonic())
        velocity = Velocity(*np.float32([0.01, 0.0, 0.02]))
        assert link.send(Command(velocity, now_s, now_s, now_s, np.int64(3)))
        until(lambda: link.status().sequence == 3)

    def test_emergency_stop(self, link, car):
        steering = Steering(link)
        steering.until(lambda: moving(car.frames))
        pressed_s = time.monotonic()
        link.press("web page")
        frames = car.wait_for(standing)
        print("press to stop on the wire: %.1f ms" % (1e3 * (frames[-1].time_s - pressed_s)))
        count = len(car.frames)
        steering.until(lambda: len(car.frames) > count + 10)
        assert not any(f.moves for f in car.frames[count:])
        assert link.status().pressed == ("web page",)
        assert link.status().reasons[0] == PRESSED + "web page"
        link.rearm()
        steering.until(lambda: moving(car.frames))

    def test_an_obstacle(self, link, car):
        steering = Steering(link)
        steering.until(lambda: moving(car.frames))

        def near():
            link.obstacle(0.2, time.monotonic())
            # Asked for together: on a busy machine the reading may be too old a moment later.
            return (
                car.frames[-1].vx_mps == 0
                and moving(car.frames)
                and OBSTACLE_STOP in link.status().reasons
            )

        steering.until(near)

    def test_two_that_steer_one_car(self, link, car):
        mine, other = Steering(link), Steering(link)
        mine.sequence = 1000
        mine.until(lambda: moving(car.frames))
        other.until(lambda: OUT_OF_ORDER in link.status().reasons)
        car.wait_for(standing)

    def test_two_links_to_one_port(self, link, car):
        with pytest.raises(ReidEdgeError, match="busy"):
            DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))

    def test_silence_of_this_process(self, link, car):
        steering = Steering(link)
        steering.until(lambda: moving(car.frames))
        car.wait_for(standing)
        until(lambda: COMMAND_OLD in link.status().reasons)
        steering.until(lambda: moving(car.frames))

    def test_bad_setups_are_one_sentence(self, tmp_path):
        for chassis, word in (
            ("tank:1", "tank"),
            ("wheeltec:%s/none" % tmp_path, "does not exist"),
            ("log:" + "x" * MAX_LINE_BYTES, "bytes"),
        ):
            with pytest.raises(ReidEdgeError, match=word) as caught:
                DriverLink(chassis).start()
            assert "\n" not in str(caught.value)

    def test_it_starts_once(self, link):
        with pytest.raises(ReidEdgeError, match="already"):
            link.start()

    def test_a_python_that_cannot_start(self, monkeypatch, car):
        monkeypatch.setattr(driver_link, "_PROGRAM", "import sys; sys.exit(7)")
        with pytest.raises(ReidEdgeError, match="did not start: exit code 7"):
            DriverLink(car.spec).start()

    def test_a_driver_that_talks_nonsense_is_ended(self, monkeypatch, car):
        monkeypatch.setattr(driver_link, "_PROGRAM", "print('hello'); import time; time.sleep(60)")
        link = DriverLink(car.spec)
        with pytest.raises(ReidEdgeError, match="did not start"):
            link.start()
        assert not alive(link._process.pid)

    def test_exceptions_of_the_main_process(self, car):
        with pytest.raises(ZeroDivisionError):
            with DriverLink(car.spec) as link:
                Steering(link).until(lambda: moving(car.frames))
                began_s = time.monotonic()
                raise ZeroDivisionError
        measure(car, began_s, 0.1, "exception in the main process")

    def test_it_does_not_import_from_where_it_was_started(self, car, tmp_path, monkeypatch):
        for name in ("serial", "json", "follow_robot", "runtime"):
            (tmp_path / (name + ".py")).write_text("raise SystemExit('imported from here')\n")
        monkeypatch.chdir(tmp_path)
        with DriverLink(car.spec) as link:
            assert link.status().state == RUNNING


class TestFaults:
    """What the last bytes on the wire are when a process dies."""

    def test_the_main_process_is_killed(self, car):
        main, driver = start_main(car.spec)
        car.wait_for(moving)
        killed_s = time.monotonic()
        main.kill()
        main.wait()
        wait_gone(driver)
        measure(car, killed_s, 0.5, "main killed")

    def test_the_main_process_is_killed_and_a_child_of_it_holds_the_pipe(self, car):
        main, driver = start_main(car.spec, "fork")
        car.wait_for(moving)
        killed_s = time.monotonic()
        main.kill()
        main.wait()
        wait_gone(driver)
        os.killpg(main.pid, signal.SIGKILL)  # the child
        measure(car, killed_s, 0.5, "main killed, pipe held by another process")

    def test_the_main_process_is_stopped(self, car):
        main, driver = start_main(car.spec)
        try:
            car.wait_for(moving)
            stopped_s = time.monotonic()
            main.send_signal(signal.SIGSTOP)
            frames = car.wait_for(standing)
            print("main stopped: stop on the wire after %.3f s" % (frames[-1].time_s - stopped_s))
            assert alive(driver)
            main.send_signal(signal.SIGCONT)
            car.wait_for(moving)
        finally:
            main.kill()
            main.wait()
        wait_gone(driver)
        assert last_stops(car.quiet()) >= LIMITS.stop_repeats

    def test_the_main_process_is_ended_by_ctrl_c(self, car):
        main, driver = start_main(car.spec)
        car.wait_for(moving)
        began_s = time.monotonic()
        os.killpg(main.pid, signal.SIGINT)  # as a terminal does
        main.wait()
        wait_gone(driver)
        measure(car, began_s, 0.5, "Ctrl-C")

    @pytest.mark.parametrize("repeat", range(2))
    def test_the_driver_is_killed(self, car, repeat):
        link = DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))
        killed_s = time.monotonic()
        os.kill(link._process.pid, signal.SIGKILL)
        until(lambda: link.status().end is not None)
        end = link.status().end
        assert "signal 9" in end and "stopped by the main process" in end
        assert link.status().state == ENDED
        measure(car, killed_s, 0.2, "driver killed")
        assert not link.send(Command(FORWARD, 0.0, 0.0, 0.0, 1))
        link.press("too late")
        link.close()

    def test_the_driver_is_ended_by_a_signal(self, car):
        link = DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))
        began_s = time.monotonic()
        link._process.terminate()
        until(lambda: link.status().end is not None)
        assert link.status().end == "SIGTERM"
        measure(car, began_s, 0.1, "driver terminated")
        link.close()

    def test_the_driver_hangs(self, car):
        link = DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))
        stopped_s = time.monotonic()
        os.kill(link._process.pid, signal.SIGSTOP)
        until(lambda: link.status().end is not None)
        assert "no sign of life" in link.status().end
        measure(car, stopped_s, driver_link.HUNG_S + 0.2, "driver hangs")
        link.close()

    def test_a_driver_that_hangs_while_it_is_closed(self, car, monkeypatch):
        monkeypatch.setattr(driver_link, "_TERM_S", 0.3)
        monkeypatch.setattr(driver_link, "_KILL_S", 0.6)
        link = DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))
        began_s = time.monotonic()
        os.kill(link._process.pid, signal.SIGSTOP)
        link.close()
        assert not alive(link._process.pid)
        measure(car, began_s, 0.8, "driver hangs while it is closed")

    def test_the_driver_is_killed_while_the_port_is_away(self, car):
        link = DriverLink(car.spec).start()
        Steering(link).until(lambda: moving(car.frames))
        car.unplug()
        until(lambda: not link.status().port_open)
        os.kill(link._process.pid, signal.SIGKILL)
        time.sleep(0.3)
        gone = len(car.frames)
        car.plug()  # the main process is still trying
        until(lambda: link.status().end is not None)
        assert "stopped by the main process" in link.status().end
        assert last_stops(car.quiet()[gone:]) >= LIMITS.stop_repeats
        link.close()

    def test_unplugged_and_back(self, link, car):
        steering = Steering(link)
        steering.until(lambda: moving(car.frames))
        car.unplug()
        steering.until(lambda: not link.status().port_open)
        car.plug()
        gone = len(car.frames)
        steering.until(lambda: moving(car.frames[gone:]))
        assert link.status().port_open
        assert any("away" in event.text for event in link.status().events)


class TestEmergencyStop:
    def test_it_sends_stops(self, car):
        emergency_stop(car.spec, 4)
        frames = car.quiet()
        assert len(frames) == 4 and not any(f.moves for f in frames)

    def test_it_waits_for_a_port_that_comes_back(self, car):
        car.unplug()
        timer = threading.Timer(0.3, car.plug)
        timer.start()
        emergency_stop(car.spec, 3, give_up_s=10.0)
        timer.join()
        assert last_stops(car.quiet()) >= 3

    def test_it_gives_up(self, tmp_path):
        with pytest.raises(PortError, match="does not exist"):
            emergency_stop("wheeltec:%s/none" % tmp_path, give_up_s=0.1)


def test_no_process_is_left(car):
    link = DriverLink(car.spec).start()
    pid = link._process.pid
    link.close()
    assert not alive(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # reaped
    assert isinstance(link._process, subprocess.Popen)
