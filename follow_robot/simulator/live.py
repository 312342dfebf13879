"""The simulated car in real time, for the live application: a camera, a serial port, a range sensor."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Optional, Union

import numpy as np

from follow_robot.app import Eyes
from follow_robot.config import Config, parse_config
from follow_robot.simulator.detector import SimDetector
from follow_robot.simulator.rendering import Picture
from follow_robot.simulator.scenario import open_scenario
from follow_robot.simulator.scenario_model import Scenario
from follow_robot.simulator.serial_line import SerialLine
from follow_robot.simulator.stage import STEP_S, Stage
from follow_robot.simulator.viewer import Viewer
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.perception import Embed
from runtime.sources import Backoff, LiveSource

LIVE_S = 600.0  # of a made-up scenario
_LONGEST_LAG_S = 0.5  # a world that is farther behind goes on from there
_REPORT_STEPS = 5


class SimCar:
    """A car, its world and its camera behind the interfaces of the real ones.

    with SimCar("crossing", seed=3) as car:
        App(car.configuration(config), car.eyes(), ...).run()

    The world moves in a thread of its own; the serial line is a pseudo-terminal.

    Args:
        scenario: A scenario, its file, the name of one that is shipped, or a kind of ``KINDS``.
        seed: Of a kind.

    Attributes:
        stage: The world, for those who watch; hold ``lock`` meanwhile.
        lock: Taken while the world moves or is looked at.
    """

    def __init__(self, scenario: Union[Scenario, str, Path], seed: int = 0):
        self.scenario = open_scenario(scenario, seed, LIVE_S)
        self.detector = SimDetector(self.scenario.seed, self.scenario.detector)
        self.lock = threading.RLock()
        self._folder = tempfile.TemporaryDirectory(prefix="reid-edge-sim-")
        folder = Path(self._folder.name)
        self.stage = Stage(self.scenario, folder, settle=False)
        self._sensor: Optional[SerialLine] = None
        if self.scenario.car.range_sensor:
            self._sensor = SerialLine(folder / "ttyUSB1")
        self._source: Optional[LiveSource] = None
        self._stop = threading.Event()
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="simulated world", daemon=True)
        self._thread.start()

    # -- what the application uses --------------------------------------------------------------

    def configuration(self, config: Config) -> Config:
        """``config`` for this car: its camera, drive, serial port and range sensor.

        Raises:
            ReidEdgeError: A setting of the scenario is wrong.
        """
        data = self.scenario.configuration(config).to_dict()
        data["chassis"]["open"] = self.stage.chassis_spec
        data["source"]["input"] = self.name
        if self._sensor is not None:
            data["obstacle"]["open"] = "lines:%s" % self._sensor.link
        return parse_config(data, "scenario %s" % self.scenario.name)

    def eyes(
        self,
        embed: Optional[Embed] = None,
        strangers: Optional[np.ndarray] = None,
        detect: Optional[Callable[[np.ndarray], Detections]] = None,
    ) -> Eyes:
        """Camera, detector and embedder.

        Args:
            embed: A ReID network; None for colours in its place.
            strangers: What people from elsewhere look like to it. Drawn people from elsewhere are
                looked at instead, because nobody else lives in this world.
            detect: A real detector; None for the simulated one.
        """
        viewer = Viewer.of(embed, detect)
        notes: Dict[str, str] = {
            "source": self.name,
            "detector": "simulated" if detect is None else "given",
            "bundle": "colours of drawn people" if embed is None else "given",
        }
        if self._source is not None:
            raise ReidEdgeError("The simulated camera is open already; use the one source it has.")
        self._source = LiveSource(
            self._open_camera, self.name, Backoff(0.1, 2.0, 1.0), give_up_after_s=None
        )
        looks = detect or self.detector.detect
        return Eyes(self._source, looks, viewer.embed, viewer.strangers, notes)

    @property
    def name(self) -> str:
        return "simulation %s" % self.scenario.name

    def close(self) -> None:
        """End the world, the camera and the serial line; may be called twice."""
        self._stop.set()
        if self._source is not None:
            self._source.close()
        self._thread.join(5.0)
        with self.lock:
            self.stage.close()
            if self._sensor is not None:
                self._sensor.close()
        self._folder.cleanup()

    def __enter__(self) -> "SimCar":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- the world's thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._move()
        except BaseException as error:  # handed to the camera's reader, who would see a still world
            self._error = error

    def _move(self) -> None:
        started_s, steps = time.monotonic(), 0
        while not self._stop.is_set():
            due_s = started_s + steps * STEP_S
            wait_s = due_s - time.monotonic()
            if wait_s < -_LONGEST_LAG_S:
                started_s -= wait_s
            if wait_s > 0 and self._stop.wait(wait_s):
                return
            with self.lock:
                self.stage.hear()
                self.stage.advance()
                if steps % _REPORT_STEPS == 0:
                    self._report()
            steps += 1

    def _report(self) -> None:
        self.stage.send_reports()
        if self._sensor is not None:
            reading = self.stage.obstacle()
            if reading is not None:
                self._sensor.write(b"%.3f\n" % reading.distance_m)

    # -- the camera's thread --------------------------------------------------------------------

    def _open_camera(self) -> "_SimCapture":
        with self.lock:
            if self.stage.picture() is None:
                raise ReidEdgeError("The simulated camera is unplugged.")
        return _SimCapture(self)

    def look(self) -> Optional[Picture]:
        """A picture of the world as it is now; None while the camera is unplugged."""
        if self._error is not None:
            raise self._error
        with self.lock:
            picture = self.stage.picture()
            if picture is not None:
                self.detector.remember(picture)
        return picture

    def wait(self, seconds: float) -> bool:
        """Sleep; true as soon as the car is closed."""
        return self._stop.wait(seconds)


class _SimCapture:
    """The camera as ``runtime.sources.LiveSource`` reads one."""

    def __init__(self, car: SimCar):
        self._car = car
        self._period_s = 1 / car.scenario.camera.rate_hz
        self._next_s = time.monotonic()
        self._image: Optional[np.ndarray] = None

    def grab(self) -> bool:
        if self._car.wait(max(self._next_s - time.monotonic(), 0.0)):
            return False
        # A camera does not make up for frames that nobody was there to take.
        missed = int((time.monotonic() - self._next_s) / self._period_s)
        self._next_s += (missed + 1) * self._period_s
        picture = self._car.look()
        self._image = None if picture is None else picture.image
        return picture is not None

    def retrieve(self) -> Optional[np.ndarray]:
        return None if self._image is None else self._image.copy()

    def release(self) -> None:
        self._image = None
