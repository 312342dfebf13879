"""The simulated car complete: world, camera, board and serial line, with what a scenario does to them."""

from pathlib import Path
from typing import List, Optional

import numpy as np

from follow_robot.obstacle import ObstacleReading
from follow_robot.simulator.car import ACKERMANN, HOLONOMIC, Car
from follow_robot.simulator.firmware import FIRMWARES
from follow_robot.simulator.plane import Pose, Walls
from follow_robot.simulator.rendering import Picture, Renderer
from follow_robot.simulator.scenario_model import (
    BLACK,
    FREEZE,
    LIGHT,
    SERIAL_UNPLUG,
    UNPLUG,
    Scenario,
)
from follow_robot.simulator.serial_line import SerialLine
from follow_robot.simulator.world import RangeSensor, World

STEP_S = 0.01
LINK = "ttyUSB0"
_DARK = 3.0  # grey levels of noise behind a covered lens


class Stage:
    """What the chain under test cannot see: moves by ``advance``, is looked at by ``picture``.

    Knows no clock: simulated seconds pass as the caller says. A context manager that unplugs the line.

    Args:
        scenario: What happens.
        folder: Where the link to the serial line is made.
        settle: Wait until bytes have passed the kernel, so that a run is the same each time.

    Attributes:
        time_s: Simulated seconds since the start.
    """

    def __init__(self, scenario: Scenario, folder: Path, settle: bool = True):
        self.scenario, self._settle = scenario, settle
        start = scenario.car
        heading = np.deg2rad(start.heading_deg)
        walls = Walls(np.array(scenario.walls, np.float64).reshape(-1, 4))
        car = Car(Pose(start.at[0], start.at[1], float(heading)), start.model)
        self.world = World(car, scenario.walkers(), walls, scenario.target, scenario.seed)
        self.renderer = Renderer(scenario.camera, walls, scenario.seed)
        self.firmware = FIRMWARES[start.chassis](boot_s=start.boot_s, watchdog_s=start.watchdog_s)
        self.line = SerialLine(Path(folder) / LINK)
        self._sensor = RangeSensor() if start.range_sensor else None
        self._reports: List[bytes] = []
        self._last: Optional[Picture] = None
        self._rng = np.random.default_rng((scenario.seed, 6))

    @property
    def time_s(self) -> float:
        return self.world.time_s

    @property
    def chassis_spec(self) -> str:
        """What ``open_chassis`` opens to reach this car."""
        spec = "%s:%s" % (self.scenario.car.chassis, self.line.link)
        drive = self.scenario.car.model.drive
        if self.scenario.car.chassis == "wheeltec":
            return spec + "?holonomic=%s" % ("yes" if drive == HOLONOMIC else "no")
        if self.scenario.car.chassis == "rosmaster":
            return spec + "?car=%s" % {HOLONOMIC: "x3", ACKERMANN: "r2"}.get(drive, "x1")
        return spec

    def advance(self) -> None:
        """Let ``STEP_S`` pass."""
        self._plug()
        world = self.world
        world.step(self.firmware.wanted(world.time_s), STEP_S)
        report = self.firmware.report(world.car.velocity, world.time_s)
        if report:
            self._reports.append(report)

    def send_reports(self) -> None:
        """Put the board's reports on the line."""
        self.line.write(b"".join(self._reports), await_s=1.0 if self._settle else 0.0)
        self._reports.clear()

    def hear(self, count: Optional[int] = None) -> int:
        """Give the board what the application sent; how many bytes that was.

        Args:
            count: Bytes that were sent, to wait for; None takes what is there.
        """
        if count is None:
            data = self.line.read()
        else:
            data = self.line.read_exactly(count)
        self.firmware.receive(data, self.world.time_s)
        return len(data)

    def picture(self) -> Optional[Picture]:
        """What the camera gives now; None while it is unplugged."""
        if self.happens(UNPLUG):
            return None
        if self.happens(FREEZE) and self._last is not None:
            return self._last
        if self.happens(BLACK):
            camera = self.scenario.camera
            noise = self._rng.normal(0, _DARK, (camera.height_px, camera.width_px, 3))
            self._last = Picture(np.clip(noise, 0, 255).astype(np.uint8), [])
            return self._last
        gain = 1.0
        for event in self.scenario.events:
            if event.kind == LIGHT and event.holds(self.time_s):
                gain *= event.gain
        self._last = self.renderer.render(self.world.car.pose, self.world.people, gain)
        return self._last

    def obstacle(self) -> Optional[ObstacleReading]:
        """What the range sensor reads now, with the simulated time; None without one."""
        if self._sensor is None:
            return None
        return ObstacleReading(self.world.range_m(self._sensor), self.time_s)

    def happens(self, kind: str) -> bool:
        """Whether an event of this kind is going on."""
        return any(e.kind == kind and e.holds(self.time_s) for e in self.scenario.events)

    def close(self) -> None:
        """Unplug the line."""
        self.line.close()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _plug(self) -> None:
        wanted = not self.happens(SERIAL_UNPLUG)
        if wanted and not self.line.plugged:
            self.line.plug()
        elif not wanted and self.line.plugged:
            self.line.unplug()
