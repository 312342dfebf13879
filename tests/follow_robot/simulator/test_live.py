"""The simulated car in real time, driven by the real application with its driver process."""

import threading
import time

import pytest

from follow_robot.app import App
from follow_robot.choices import FRONT, Choice
from follow_robot.config import Config
from follow_robot.simulator.live import SimCar
from follow_robot.simulator.scenario import parse_scenario
from follow_robot.simulator.scenario_model import UNPLUG
from follow_robot.wishes import FirstWish
from runtime.errors import ReidEdgeError

PATIENCE_S = 120.0  # on a machine that others use
# Somebody walks down a long corridor, so that a slow machine has time.
SCENARIO = {
    "name": "corridor",
    "duration_s": 600,
    "walls": [[-3, -3, 200, -3], [-3, 3, 200, 3], [-3, -3, -3, 3]],
    "people": [
        {
            "name": "target",
            "look": {"seed": 7},
            "path": [{"at": [2.4, 0]}, {"at": [150, 0], "speed_mps": 0.3}],
        }
    ],
    "detector": {"miss": 0.0, "phantoms": 0.0},
    "config": {
        "controller": {"distance_m": 1.7, "speed_mps": 0.8},
        "safety": {"speed_mps": 0.8},
        "dashboard": {"enabled": False},
        "estop": {"keyboard": False},
    },
}


def scenario(**changes):
    return parse_scenario({**SCENARIO, **changes}, "test")


def wait_until(holds, what):
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


@pytest.fixture
def car():
    with SimCar(scenario()) as car:
        yield car


def test_the_camera_gives_frames_at_its_rate_and_the_detector_knows_them(car):
    eyes = car.eyes()
    frames = [eyes.source.read(PATIENCE_S) for _ in range(5)]
    assert all(frame.image.shape == (240, 320, 3) for frame in frames)
    assert [f.index for f in frames] == sorted(f.index for f in frames)
    times = [f.time_s for f in frames]
    assert times == sorted(times) and times[-1] <= time.monotonic()
    begun_s, before = frames[-1].time_s, frames[-1].index
    while frames[-1].time_s < begun_s + 1.0:
        frames.append(eyes.source.read(PATIENCE_S))
    # Ten a second: as many or, on a machine that is busy, fewer.
    assert frames[-1].index - before <= 10 * (frames[-1].time_s - begun_s) + 2
    assert len(eyes.detect(frames[-1].image)) == 1
    assert eyes.embed([frames[-1].image]).shape[1] == eyes.strangers.shape[1]


def test_there_is_one_camera(car):
    car.eyes()
    with pytest.raises(ReidEdgeError, match="open already"):
        car.eyes()


def test_the_world_keeps_the_time_of_the_clock(car):
    started_s, begun_s = time.monotonic(), car.stage.time_s
    wait_until(lambda: car.stage.time_s - begun_s > 1.0, "the world stands still")
    assert time.monotonic() - started_s > 0.8


def test_its_configuration_leads_to_its_own_serial_ports(car):
    config = car.configuration(Config())
    assert config.chassis.open == car.stage.chassis_spec
    assert str(car.stage.line.link) in config.chassis.open
    assert config.obstacle.open.startswith("lines:")
    assert config.controller.distance_m == 1.7
    with SimCar(scenario(car={"range_sensor": False})) as without:
        assert without.configuration(Config()).obstacle.open is None


def test_a_world_that_breaks_is_said_and_does_not_look_still(car):
    eyes = car.eyes()
    assert eyes.source.read(PATIENCE_S) is not None

    def broken():
        raise ReidEdgeError("the world broke")

    car.stage.advance = broken
    with pytest.raises(ReidEdgeError, match="the world broke"):
        for _ in range(200):
            eyes.source.read(1.0)


def test_an_unplugged_camera_gives_nothing_and_comes_back(car):
    source = car.eyes().source
    assert source.read(PATIENCE_S) is not None
    faults = {UNPLUG}
    with car.lock:
        car.stage.happens = faults.__contains__
    wait_until(lambda: source.read(0.3) is None, "frames still come")
    faults.clear()
    assert source.read(PATIENCE_S) is not None
    assert source.reconnects >= 1


def test_closing_twice_is_harmless_and_removes_the_serial_port():
    car = SimCar(scenario())
    car.eyes()
    link = car.stage.line.link
    assert link.exists()
    car.close()
    car.close()
    assert not link.exists() and not link.parent.exists()


def test_the_whole_application_follows_and_stops(car):
    """Camera, perception, driver process, pseudo-terminal, board, wheels: then an emergency stop."""
    app = App(car.configuration(Config()), car.eyes(), FirstWish(Choice(FRONT), go=True))
    failures = []

    def drive():
        try:
            app.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    try:
        wait_until(lambda: failures or car.stage.world.way_m > 0.3, "the car does not follow")
        assert not failures
        app.link.press("test")
        wait_until(
            lambda: abs(car.stage.world.car.velocity.vx_mps) < 0.005, "the car does not stop"
        )
        stopped_m = car.stage.world.way_m
        time.sleep(0.5)
        assert car.stage.world.way_m == pytest.approx(stopped_m, abs=0.02)
        assert car.stage.firmware.rejected == 0
    finally:
        app.end()
        thread.join(20)
    assert not thread.is_alive() and not failures
    assert car.stage.firmware.wanted(1e9).is_stop
