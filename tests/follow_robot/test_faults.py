"""Everything that breaks while the car drives: it stands in time, then it recovers or ends clearly.

The times that the bars allow count from the last good frame or from the fault; ``SLACK_S`` is for a loaded
machine. What was measured is printed (pytest -s).
"""

import errno
import json
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import follow_robot.app
from follow_robot.app import PartFailed
from follow_robot.black_box import BlackBox
from follow_robot.driver_link import HUNG_S
from follow_robot.replay import replay
from follow_robot.simulator.scenario_model import BLACK, FREEZE, SERIAL_UNPLUG, UNPLUG
from tests.follow_robot.outside_car import HANG_S, Process
from tests.follow_robot.pty_car import ROOT, PtyCar, last_stops, moving, standing, wait_gone
from tests.follow_robot.sim_bench import SLACK_S, STOP_S, SimBench


def report(what, seconds):
    print("%-28s last move %4.0f ms after" % (what, 1e3 * seconds))


class Eyes:
    """A detector and a network that do what a test wants."""

    def __init__(self):
        self.detector = self.network = None  # called before each

    def __call__(self, eyes):
        def detect(image):
            if self.detector is not None:
                self.detector()
            return eyes.detect(image)

        def embed(crops):
            if self.network is not None:
                self.network()
            return eyes.embed(crops)

        return eyes._replace(detect=detect, embed=embed)


@pytest.fixture(scope="class")
def eyes():
    return Eyes()


@pytest.fixture(scope="class")
def car(eyes):
    with SimBench(change=eyes) as bench:
        yield bench
    assert bench.error is None
    assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats


@pytest.fixture
def bench(car, eyes):
    eyes.detector = eyes.network = None
    car.mend()
    car.follows()
    yield car
    car.mend()
    eyes.detector = eyes.network = None


def fail(error):
    raise error


class TestCamera:
    @pytest.mark.parametrize("fault", [UNPLUG, FREEZE, BLACK])
    def test_stands_in_time_and_goes_on(self, bench, fault):
        began_s = bench.begin(fault)
        last_s = bench.stands()
        report(fault, last_s - began_s)
        assert last_s - began_s < STOP_S + SLACK_S
        bench.mend()
        bench.moves()

    def test_a_camera_whose_library_fails_is_a_clear_end(self):
        with SimBench() as bench:
            bench.moves()
            began_s = time.monotonic()
            bench.car.stage.picture = lambda: fail(RuntimeError("no such pixel"))
            error = bench.wait()
            last_s = bench.wire.last_move_s()
        assert isinstance(error, PartFailed) and error.exit_code == 4
        assert "RuntimeError: no such pixel" in str(error)
        assert last_s - began_s < STOP_S + SLACK_S
        assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats


class TestSerialLine:
    def test_a_short_outage(self, bench):
        began_s = bench.begin(SERIAL_UNPLUG)
        bench.until(lambda: not bench.app.link.status().port_open)
        time.sleep(0.3)
        bench.mend()
        mended_s = time.monotonic()
        bench.until(lambda: bench.app.link.status().port_open)
        assert bench.wire.last_move_s() < began_s + 0.1 or bench.wire.last_move_s() > mended_s
        if time.monotonic() - began_s < 1.5:
            bench.moves()
            first = next(f for f in bench.wire.frames if f.time_s > mended_s and f.moves)
            assert first.vx_mps <= 0.2  # from a standstill

    def test_a_long_outage_needs_a_person(self, bench):
        bench.begin(SERIAL_UNPLUG)
        bench.until(lambda: not bench.app.link.status().port_open)
        time.sleep(2.5)
        bench.mend()
        mended_s = time.monotonic()
        bench.until(lambda: bench.app.link.status().pressed)
        bench.wire.wait_for(lambda frames: frames[-1].time_s > mended_s + 0.5)
        assert bench.wire.last_move_s() < mended_s
        assert bench.app.link.status().pressed == ("the chassis was unplugged",)
        bench.until(lambda: bench.app.hub.newest().status["stop"]["pressed"])
        bench.rearm()
        bench.wish("go")
        bench.moves()

    @pytest.mark.parametrize("what", ["garbage", "half frames"])
    def test_noise_from_the_board_changes_nothing(self, bench, what):
        rng = np.random.default_rng(5)
        good = bytes([0x7B, 0] + [0] * 20 + [0x7B, 0x7D])
        end_s = time.monotonic() + 1.5
        count = len(bench.wire.frames)
        while time.monotonic() < end_s:
            data = rng.bytes(200) if what == "garbage" else good[: int(rng.integers(1, 24))]
            with bench.car.lock:
                bench.wire.write(data)
            time.sleep(0.01)
        frames = bench.wire.frames[count:]
        assert bench.app.link.status().end is None
        assert max(f.vx_mps for f in frames) <= bench.config.safety.speed_mps
        assert min(f.vx_mps for f in frames) >= 0
        bench.moves()


class TestNetworks:
    @pytest.mark.parametrize("part", ["detector", "network"])
    def test_one_exception_is_one_stop(self, bench, eyes, part):
        failed = []

        def once():
            if not failed:
                failed.append(time.monotonic())
                raise RuntimeError("out of memory")

        setattr(eyes, part, once)
        bench.until(lambda: failed)
        bench.wire.wait_for(
            lambda frames: any(not f.moves and f.time_s > failed[0] for f in frames)
        )
        stop_s = next(f.time_s for f in bench.wire.frames if f.time_s > failed[0] and not f.moves)
        report("one exception: first stop", stop_s - failed[0])
        assert stop_s - failed[0] < STOP_S + SLACK_S
        bench.moves()

    @pytest.mark.parametrize("part", ["detector", "network"])
    def test_an_exception_for_ever_is_a_clear_end(self, part):
        eyes, failed = Eyes(), []

        def always():
            failed.append(time.monotonic())
            raise RuntimeError("out of memory")

        with SimBench(change=eyes) as bench:
            bench.moves()
            setattr(eyes, part, always)
            error = bench.wait()
            last_s = bench.wire.last_move_s()
        report("exceptions for ever", last_s - failed[0])
        assert isinstance(error, PartFailed) and error.exit_code == 4
        assert "20 frames in a row" in str(error) and "RuntimeError: out of memory" in str(error)
        assert last_s - failed[0] < STOP_S + SLACK_S
        assert last_stops(bench.wire.frames) >= bench.config.safety.stop_repeats

    def test_a_slow_network_stops_the_car_each_time(self, bench, eyes):
        """An answer that comes too late moves nothing: 0.3 s is the oldest frame that may."""
        eyes.network = lambda: time.sleep(0.45)
        time.sleep(1.0)
        began_s = time.monotonic()
        time.sleep(2.0)
        assert bench.wire.last_move_s() < began_s
        eyes.network = None
        bench.moves()

    def test_a_network_that_hangs(self, bench, eyes):
        hung = []

        def hang():
            hung.append(time.monotonic())
            time.sleep(2.0)
            eyes.network = None

        eyes.network = hang
        last_s = bench.stands()
        report("network hangs for 2 s", last_s - hung[0])
        assert last_s - hung[0] < STOP_S + SLACK_S
        bench.moves()


class TestRecording:
    @pytest.mark.parametrize("how", ["write", "room"])
    def test_a_full_disk_ends_the_recording_and_not_the_run(self, tmp_path, monkeypatch, how):
        full = []

        class Disk:
            def __init__(self, path):
                self.file = open(path, "xb", buffering=0)
                self.fileno, self.close = self.file.fileno, self.file.close

            def write(self, data):
                if full:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return self.file.write(data)

        fakes = {"open_file": Disk}
        if how == "room":
            fakes = {"free_bytes": lambda folder: 1e6 if full else 1e12}
        monkeypatch.setattr(follow_robot.app, "BlackBox", partial(BlackBox, **fakes))
        with SimBench(config="recording: {folder: '%s'}" % tmp_path) as bench:
            bench.moves()
            full.append(True)
            bench.until(lambda: bench.app.view.box.ended is not None)
            bench.until(lambda: any("Recording ended" in e.text for e in events(bench)))
            bench.moves()
            bench.until(lambda: bench.app.hub.newest().status["warnings"])
            (warning,) = bench.app.hub.newest().status["warnings"]
            assert "goes on without" in warning
            assert bench.app.hub.newest().status["recording"]["ok"] is False
            before = bench.app.frames
            bench.until(lambda: bench.app.frames > before + 5)
        assert bench.error is None
        (path,) = tmp_path.iterdir()
        assert replay(path).identical  # what there is of it


def events(bench):
    return bench.app.hub.events_since(0)


@pytest.fixture
def pty_car(tmp_path):
    made = PtyCar(tmp_path)
    yield made
    made.close()


QUIET = ["--front", "--go", "--no-dashboard"]


class TestProcesses:
    """The program as a process, killed from outside."""

    @pytest.mark.parametrize(
        "number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
    )
    def test_signals(self, tmp_path, pty_car, number, code):
        with Process(tmp_path, pty_car.spec) as process:
            pty_car.wait_for(moving, 40)
            began_s = time.monotonic()
            process.process.send_signal(number)
            assert process.wait() == code, process.errors
        frames = pty_car.quiet()
        last_s = max(f.time_s for f in frames if f.moves)
        report(signal.Signals(number).name, last_s - began_s)
        assert last_s - began_s < STOP_S + SLACK_S
        assert last_stops(frames) >= 5
        assert "Traceback" not in process.errors

    def test_the_main_process_is_killed(self, tmp_path, pty_car):
        with Process(tmp_path, pty_car.spec, QUIET) as process:
            pty_car.wait_for(moving, 40)
            driver = process.driver()
            began_s = time.monotonic()
            process.process.kill()
            wait_gone(driver)
        frames = pty_car.quiet()
        last_s = max(f.time_s for f in frames if f.moves)
        report("SIGKILL of main", last_s - began_s)
        assert last_s - began_s < STOP_S + SLACK_S
        assert last_stops(frames) >= 5

    def test_the_driver_is_killed(self, tmp_path, pty_car):
        with Process(tmp_path, pty_car.spec, QUIET) as process:
            pty_car.wait_for(moving, 40)
            began_s = time.monotonic()
            os.kill(process.driver(), signal.SIGKILL)
            assert process.wait() == 4
        frames = pty_car.quiet()
        last_s = max(f.time_s for f in frames if f.moves)
        first_stop_s = next(f.time_s for f in frames if f.time_s > last_s)
        report("SIGKILL of the driver", first_stop_s - began_s)
        assert first_stop_s - began_s < STOP_S + SLACK_S
        assert last_stops(frames) >= 5
        assert "driver process ended" in process.errors.splitlines()[-1]
        assert "stopped by the main process" in process.errors and "Traceback" not in process.errors

    def test_the_driver_is_held(self, tmp_path, pty_car):
        """A driver that does not answer is killed; the car's own command is the only one out."""
        with Process(tmp_path, pty_car.spec, QUIET) as process:
            pty_car.wait_for(moving, 40)
            began_s = time.monotonic()
            os.kill(process.driver(), signal.SIGSTOP)
            assert process.wait() == 4
        frames = pty_car.quiet()
        last_s = max(f.time_s for f in frames if f.moves)
        first_stop_s = next(f.time_s for f in frames if f.time_s > last_s)
        report("SIGSTOP of the driver", first_stop_s - began_s)
        assert first_stop_s - began_s < HUNG_S + 0.1 + SLACK_S
        assert last_stops(frames) >= 5

    def test_the_main_process_is_held_and_let_go(self, tmp_path, pty_car):
        """As when a library keeps the interpreter's lock, or memory is swapped."""
        with Process(tmp_path, pty_car.spec, QUIET) as process:
            pty_car.wait_for(moving, 40)
            began_s = time.monotonic()
            process.process.send_signal(signal.SIGSTOP)
            pty_car.wait_for(
                lambda frames: standing(frames) and time.monotonic() - began_s > 1.5, 20
            )
            last_s = max(f.time_s for f in pty_car.frames if f.moves)
            report("SIGSTOP of main", last_s - began_s)
            assert last_s - began_s < STOP_S + SLACK_S
            process.process.send_signal(signal.SIGCONT)
            pty_car.wait_for(moving, 40)

    def test_a_network_that_hangs_for_ever_is_a_clear_end(self, tmp_path, pty_car):
        options = [*QUIET, "--record", str(tmp_path / "runs")]
        with Process(tmp_path, pty_car.spec, options, "hang") as process:
            pty_car.wait_for(moving, 40)
            began_s = process.begin()
            assert process.wait() == 4
            ended_s = time.monotonic()
        frames = pty_car.quiet()
        last_s = max(f.time_s for f in frames if f.moves)
        report("network hangs for ever", last_s - began_s)
        assert last_s - began_s < STOP_S + SLACK_S
        assert last_stops(frames) >= 5
        assert HANG_S <= ended_s - began_s
        assert "longer than" in process.errors and "Traceback" not in process.errors
        (recording,) = (tmp_path / "runs").iterdir()
        assert replay(recording).identical

    def test_the_wall_clock_means_nothing(self, tmp_path, pty_car):
        with Process(tmp_path, pty_car.spec, QUIET, "clock") as process:
            pty_car.wait_for(moving, 40)
            process.begin()
            count = len(pty_car.frames)
            frames = pty_car.wait_for(lambda frames: len(frames) >= count + 60, 40)
            assert sum(f.moves for f in frames[count:]) > 40
            process.process.send_signal(signal.SIGTERM)
            assert process.wait() == 143
        assert last_stops(pty_car.quiet()) >= 5

    def test_two_programs_on_one_port(self, tmp_path, pty_car):
        """The second is refused in one sentence; the first drives on."""
        with Process(tmp_path, pty_car.spec, QUIET) as first:
            pty_car.wait_for(moving, 40)
            with Process(tmp_path, pty_car.spec, QUIET) as second:
                assert second.wait() == 2
                refused_s = time.monotonic()
                assert second.output() == ""
            lines = [s for s in second.errors.splitlines() if s.startswith("follow-robot: ")]
            assert len(lines) == 1 and "busy" in lines[0], second.errors
            assert "Traceback" not in second.errors
            assert first.process.poll() is None
            pty_car.wait_for(lambda frames: moving(frames) and frames[-1].time_s > refused_s)
            first.process.send_signal(signal.SIGTERM)
            assert first.wait() == 143

    def test_seconds_is_an_end_as_asked(self, tmp_path, pty_car):
        runs = tmp_path / "runs"
        options = [*QUIET, "--seconds", "6", "--json", "--record", str(runs)]
        with Process(tmp_path, pty_car.spec, options) as process:
            assert process.wait() == 0, process.errors
            summary = json.loads(process.output())
        assert summary["frames"] >= summary["latency"]["frames"] > 5
        assert 0 < summary["latency"]["own"]["p50_ms"] <= summary["latency"]["whole"]["p50_ms"]
        frames = pty_car.quiet()
        assert any(f.moves for f in frames) and last_stops(frames) >= 5
        (recording,) = runs.iterdir()
        found = replay(recording)
        assert found.identical and found.cut is None and found.frames == summary["frames"]


def test_nothing_that_drives_asks_for_the_wall_clock():
    """``time.time`` and dates jump; only the recording's header says what day it was."""
    wall = re.compile(r"\btime\.time\(|\bdatetime\.|\bfrom time import (?!monotonic)|strftime")
    allowed = {"follow_robot/black_box.py"}
    found = set()
    for room in ("follow_robot", "runtime"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(Path(path).relative_to(ROOT))
            if wall.search(path.read_text(encoding="utf-8")):
                found.add(name)
    drives = {name for name in found if name.startswith("follow_robot") or "sources" in name}
    assert drives <= allowed, drives
