"""The whole car in one process for tests: the app, its driver process, and a simulated world.

The wire is watched on the board's side by a decoder that shares no code with the chassis, and every
frame on it is timed when it arrives.
"""

import os
import select
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from follow_robot.app import App
from follow_robot.choices import FRONT, Choice
from follow_robot.config import Config, config_from_text
from follow_robot.dashboard.messages import Act
from follow_robot.simulator.live import SimCar
from follow_robot.simulator.scenario import parse_scenario
from follow_robot.simulator.scenario_model import Scenario
from follow_robot.wishes import FirstWish
from tests.follow_robot.pty_car import Firmware, Frame

STOP_S = 0.35  # after the last good frame or sight of the target, nothing moves any more
SLACK_S = 0.25  # for a loaded machine: the driver process and the reader must get their turn

# Somebody walks straight ahead down an endless corridor, no faster than the car.
WALK: Dict[str, Any] = {
    "name": "corridor",
    "duration_s": 3600,
    "walls": [[-3, -4, 200, -4], [-3, 4, 200, 4], [-3, -4, -3, 4]],
    "car": {"range_sensor": False},
    "people": [
        {
            "name": "target",
            "look": {"seed": 12},
            "path": [{"at": [2.6, 0]}, {"at": [150, 0], "speed_mps": 0.35}],
        }
    ],
    "detector": {"edge_sigma": 0.005, "miss": 0.0, "phantoms": 0.0},
    "config": {
        "controller": {"distance_m": 1.7, "speed_mps": 0.8},
        "safety": {"speed_mps": 0.8},
        "dashboard": {"port": 0},
        "estop": {"keyboard": False},
    },
}


def corridor(**changes: Any) -> Scenario:
    return parse_scenario({**WALK, **changes}, "test")


class Wire:
    """Listens to what reaches the simulated board, in a thread of its own, and passes it on."""

    def __init__(self, car: SimCar):
        self.frames: List[Frame] = []
        self.bytes = 0
        self._news = threading.Condition()
        self._firmware = Firmware()
        self._heard = b""
        self._line = line = car.stage.line
        self._plug, self._unplug = line.plug, line.unplug
        line.read = self._take  # type: ignore[method-assign]
        line.plug, line.unplug = self.plug, self.unplug  # type: ignore[method-assign]
        self._listen()

    def plug(self) -> None:
        if not self._line.plugged:
            self._plug()
            self._listen()

    def unplug(self) -> None:
        if self._line.plugged:
            self._end.set()
            self._thread.join()
            self._unplug()

    def write(self, data: bytes) -> None:
        """Bytes from the board."""
        self._line.write(data)

    def _listen(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._line._board,), daemon=True)
        self._thread.start()

    def _run(self, file: int) -> None:
        while not self._end.is_set():
            if not select.select([file], [], [], 0.02)[0]:
                continue
            data = os.read(file, 4096)
            time_s = time.monotonic()
            with self._news:
                self.bytes += len(data)
                self._heard += data
                self.frames += [Frame(time_s, *v) for v in self._firmware.feed(data)]
                self._news.notify_all()

    def _take(self, timeout_s: float = 0.0) -> bytes:
        with self._news:
            data, self._heard = self._heard, b""
        return data

    def wait_for(self, wanted: Callable[[List[Frame]], object], timeout_s: float = 40.0):
        with self._news:
            assert self._news.wait_for(lambda: wanted(self.frames), timeout_s), (
                "not seen within %g s; last frames: %s" % (timeout_s, self.frames[-5:])
            )
            return list(self.frames)

    def last_move_s(self) -> float:
        """When the last frame that moves the car arrived."""
        with self._news:
            return max((f.time_s for f in self.frames if f.moves), default=0.0)


class SimBench:
    """A run of the app in a thread, in a simulated world.

    Args:
        scenario: The world.
        go, front: As on the command line.
        config: What the scenario does not say.
        change: Changes the eyes, such as for a detector that fails.
        **options: For ``App``.
    """

    def __init__(
        self,
        scenario: Optional[Scenario] = None,
        go: bool = True,
        front: bool = True,
        config: str = "",
        change: Callable[[Any], Any] = lambda eyes: eyes,
        **options: Any,
    ):
        self.car = SimCar(scenario or corridor())
        self.wire = Wire(self.car)
        self.faults: set = set()
        happens = self.car.stage.happens
        self.car.stage.happens = (  # type: ignore[method-assign]
            lambda kind: kind in self.faults or happens(kind)
        )
        self.config: Config = self.car.configuration(config_from_text(config, "test"))
        first = FirstWish(Choice(FRONT) if front else None, go)
        self.app = App(self.config, change(self.car.eyes()), first, **options)
        self.error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.app.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> "SimBench":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.app.end()
        self._thread.join(30)
        self.car.close()
        assert not self._thread.is_alive()

    def wish(self, kind: str, **fields: Any) -> None:
        """As the server does it when a page sends it."""
        self.app.hub.act("page 1", Act(0, kind, **fields))

    def rearm(self) -> None:
        """In its two steps."""
        code = self.app.hub.act("page 1", Act(0, "rearm"))
        self.app.hub.act("page 1", Act(0, "rearm", code=code))
        self.until(lambda: not self.app.link.status().pressed)
        self.until(lambda: not self.app.hub.newest().status["stop"]["pressed"])

    def begin(self, *faults: str) -> float:
        """Let something happen to the car; when it began."""
        with self.car.lock:
            self.faults |= set(faults)
            return time.monotonic()

    def mend(self) -> None:
        with self.car.lock:
            self.faults.clear()

    def moves(self, timeout_s: float = 40.0) -> None:
        """Until the car is told to move several times in a row: it follows."""
        count = len(self.wire.frames)
        try:
            self.wire.wait_for(
                lambda frames: len(frames) >= count + 5 and all(f.moves for f in frames[-5:]),
                timeout_s,
            )
        except AssertionError as error:
            status = self.app.link.status()
            raise AssertionError(
                "%s; the driver: %s %s; the page: %s"
                % (error, status.pressed, status.reasons, self.app.hub.newest().status)
            ) from None

    def follows(self) -> None:
        """Have it follow, whatever a failed test has left behind."""
        if self.app.link.status().pressed:
            self.until(lambda: self.app.hub.newest().status["stop"]["pressed"])
            self.rearm()
        if not self.app.pilot.follower.going:
            self.wish("go")
        self.moves()

    def stands(self, timeout_s: float = 15.0, for_s: float = 1.0) -> float:
        """Until the car has been told to stand for a while; when it was last told to move."""
        end_s = time.monotonic() + timeout_s
        while True:
            frames = self.wire.wait_for(lambda frames: bool(frames))
            last_s = max((f.time_s for f in frames if f.moves), default=0.0)
            if not frames[-1].moves and frames[-1].time_s - last_s > for_s:
                return last_s
            assert time.monotonic() < end_s, "the car still moves: %s" % frames[-5:]
            time.sleep(0.02)

    def wait(self, timeout_s: float = 30.0) -> Optional[BaseException]:
        """Until the run has ended by itself; what it ended with."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the run does not end"
        return self.error

    def until(self, wanted: Callable[[], object], timeout_s: float = 40.0) -> None:
        """Wait until it is so."""
        end_s = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < end_s, "waited in vain"
            assert self._thread.is_alive(), "the run has ended: %r" % self.error
            time.sleep(0.01)

    def choose(self) -> None:
        """Click on whoever is in front, as often as it takes."""
        lock = self.app.pilot.perception.lock
        end_s = time.monotonic() + 40
        while lock.state != "locked":
            if lock.state == "idle":
                self.wish("choose_front")
            time.sleep(0.3)
            assert time.monotonic() < end_s, "nobody could be chosen: %s" % lock.state

    def real_velocity(self) -> float:
        """Of the simulated car itself, m/s."""
        with self.car.lock:
            return float(self.car.stage.world.car.velocity.vx_mps)

    def distance_m(self) -> float:
        """True distance from the camera to the target."""
        with self.car.lock:
            world = self.car.stage.world
            camera = self.car.scenario.camera.pose(world.car.pose)
            return float(world.distance_m(world.target, camera[:2]))

    def monotonic_of(self, world_s: float) -> float:
        """When it was so late in the world, as far as its clock keeps up."""
        with self.car.lock:
            return time.monotonic() - (self.car.stage.time_s - world_s)


def say(bench: SimBench, kind: str) -> float:
    """A wish, and when it was made."""
    bench.wish(kind)
    return time.monotonic()
