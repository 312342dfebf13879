"""``follow-robot --sim`` as a process of its own, with its serial line led to a test's pseudo-terminal.

    python -m tests.follow_robot.outside_car CHASSIS TRIGGER FAULT [OPTIONS OF follow-robot ...]

The fault begins when the file TRIGGER appears: "hang" is a ReID network that never answers, "clock" a
wall clock that jumps to and fro by hours. "none" is none.
"""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, List, Optional

import yaml

import follow_robot.app
from follow_robot import cli
from follow_robot.settings import ChassisSettings
from follow_robot.simulator.live import SimCar
from tests.follow_robot.pty_car import ROOT
from tests.follow_robot.sim_bench import WALK

HANG_S = 5.0  # instead of 10; a loaded machine may take seconds over the first frame


class Process:
    """The process above, from a test's side.

    Args:
        folder: Of the scenario and the trigger.
        chassis: Where its bytes go.
        options: Of follow-robot; by default it follows whoever is in front.
        fault: See above.
    """

    def __init__(
        self,
        folder: Path,
        chassis: str,
        options: Optional[List[str]] = None,
        fault: str = "none",
    ):
        # Nobody walks, because this world's car does not move: its bytes go elsewhere.
        scenario = folder / "standing.yaml"
        if not scenario.exists():
            people = [{"name": "target", "look": {"seed": 12}, "path": [{"at": [3.0, 0]}]}]
            scenario.write_text(yaml.safe_dump({**WALK, "people": people}), encoding="utf-8")
        self.trigger = folder / "trigger"
        options = ["--front", "--go"] if options is None else options
        self.errors = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.follow_robot.outside_car", chassis, str(self.trigger)]
            + [fault, "--sim", str(scenario), *options],
            cwd=str(ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def begin(self) -> float:
        """Let the fault begin; when that was."""
        self.trigger.write_text("")
        return time.monotonic()

    def driver(self) -> int:
        """Process id of its driver process."""
        children = Path("/proc/%d/task" % self.process.pid)
        for task in children.iterdir():
            for pid in (task / "children").read_text().split():
                if "driver" in Path("/proc/%s/cmdline" % pid).read_text():
                    return int(pid)
        raise AssertionError("no driver process")

    def wait(self, timeout_s: float = 40.0) -> int:
        """Its exit status."""
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def output(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        for file in (self.process.stdout, self.process.stderr):
            if file is not None:
                file.close()


def main() -> int:
    # As from a terminal; a shell has what it starts in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chassis, trigger, fault, *options = sys.argv[1:]
    configuration, eyes = SimCar.configuration, SimCar.eyes

    def lead_outside(car: SimCar, config: Any) -> Any:
        return replace(configuration(car, config), chassis=ChassisSettings(chassis))

    def with_fault(car: SimCar, *given: Any) -> Any:
        opened = eyes(car, *given)

        def embed(crops: Any) -> Any:
            while os.path.exists(trigger):
                time.sleep(0.01)
            assert opened.embed is not None
            return opened.embed(crops)

        return opened._replace(embed=embed)

    SimCar.configuration = lead_outside  # type: ignore
    if fault == "hang":
        SimCar.eyes = with_fault  # type: ignore
        app = functools.partial(follow_robot.app.App, hang_s=HANG_S)
        follow_robot.app.App = app  # type: ignore
    if fault == "clock":
        real = time.time

        def jumping() -> float:
            jump_s = 7200 * (-1) ** int(real() * 10) if os.path.exists(trigger) else 0
            return real() + jump_s

        time.time = jumping
    return cli.main(options)


if __name__ == "__main__":
    sys.exit(main())
