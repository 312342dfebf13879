"""A closed loop in simulated time: what the camera sees decides how the car drives, and so on.

    world -> picture -> perception -> follower -> safety gate -> chassis -> pseudo-terminal
      ^                                                                          |
      +------------------------- car <- firmware <-------------------------------+

Deterministic: one thread, one clock that counts steps, and bytes that are waited for.
"""

import tempfile
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional

from follow_robot.chain import follower_of, perception_of
from follow_robot.choices import BOX, GO, Choice
from follow_robot.config import Config
from follow_robot.frame_guard import FrameGuard
from follow_robot.pilot import Answer, Pilot
from follow_robot.simulator.detector import SimDetector
from follow_robot.simulator.judge import Judge, Moment, SimResult
from follow_robot.simulator.rendering import Picture
from follow_robot.simulator.scenario_model import BLACK, FREEZE, Scenario
from follow_robot.simulator.stage import STEP_S, Stage
from follow_robot.simulator.step_driver import Sent, StepDriver
from follow_robot.simulator.viewer import Viewer
from runtime.lock_types import IDLE


class Glimpse(NamedTuple):
    """What happened in one cycle of the driver, to be watched.

    Attributes:
        stage: The car and its world, as they are now.
        picture: The newest one; None before the first.
        answer: What was made of it.
        sent: What the driver wrote.
    """

    stage: Stage
    picture: Optional[Picture]
    answer: Optional[Answer]
    sent: Sent


def play(
    scenario: Scenario,
    viewer: Viewer,
    config: Optional[Config] = None,
    watch: Optional[Callable[[Glimpse], None]] = None,
) -> SimResult:
    """Play a scenario from start to end.

    Args:
        scenario: What happens.
        viewer: Who looks at the pictures.
        config: The car's configuration; the scenario's camera, drive and settings go before it.
        watch: Called in every cycle of the driver.

    Raises:
        ReidEdgeError: A part of the chain failed, or a setting is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="reid-edge-sim-") as folder:
        with Stage(scenario, Path(folder)) as stage:
            return _Loop(stage, viewer, scenario.configuration(config), watch).play()


class _Loop:
    """One run."""

    def __init__(
        self,
        stage: Stage,
        viewer: Viewer,
        config: Config,
        watch: Optional[Callable[[Glimpse], None]],
    ):
        s = self.scenario = stage.scenario
        self.stage, self.watch = stage, watch
        self.simulated = simulated = SimDetector(s.seed, s.detector)
        detect = viewer.detect or simulated.detect
        self.pilot = Pilot(
            perception_of(config, viewer.strangers, detect, viewer.embed),
            follower_of(config),
            FrameGuard(config.source.guard),
            clock=lambda: stage.time_s + s.latency_s,
        )
        self.driver = StepDriver(stage, config.safety)
        self.judge = Judge(
            SimResult(s.name, s.kind, s.seed), s.target, config.controller.distance_m
        )
        self.picture: Optional[Picture] = None
        self.answer: Optional[Answer] = None
        self._coming: Optional[Answer] = None  # its command is given ``latency_s`` later
        self._frame_s = 0.0
        self._gone = False

    def play(self) -> SimResult:
        stage, period_s, frames = self.stage, 1 / self.scenario.camera.rate_hz, 0
        self.driver.open()
        try:
            for _ in range(round(self.scenario.duration_s / STEP_S)):
                self._take_answer()
                if stage.time_s >= frames * period_s - 1e-9:
                    frames += 1
                    if self._coming is None:  # else perception is busy, and the frame is dropped
                        self._look()
                        self._take_answer()
                if self.driver.due():
                    self._drive()
                stage.advance()
        finally:
            self.driver.close()
        return self.judge.finish(stage.world)

    def _look(self) -> None:
        """Take a picture; its answer is known ``latency_s`` later."""
        choices = self._choices()
        picture, now_s = self.stage.picture(), self.stage.time_s
        if picture is None:
            return
        self.picture = picture
        self.simulated.remember(picture)
        ego = self.driver.motion.mean(self._frame_s, now_s)
        self._frame_s = now_s
        self._coming = answer = self.pilot.answer(picture.image, now_s, ego, choices)
        fresh = not (self.stage.happens(FREEZE) or self.stage.happens(BLACK))
        self.judge.frame(picture, answer.record, fresh)

    def _take_answer(self) -> None:
        coming = self._coming
        if coming is not None and coming.decision.command.made_s <= self.stage.time_s + 1e-9:
            self.answer, self._coming = coming, None
            self.driver.give(coming.decision.command)

    def _choices(self) -> List[Choice]:
        """Click on the target, as a user would, once it is time; and again if that failed."""
        s, choices = self.scenario, []
        if not self._gone:
            choices.append(Choice(GO))
            self._gone = True
        idle = self.answer is not None and self.answer.record.lock.state == IDLE
        if idle and self.picture is not None and self.stage.time_s >= s.choose_at_s:
            for shown in self.picture.people:
                if shown.name == s.target and shown.seen_box is not None:
                    choices.append(Choice(BOX, shown.seen_box))
        return choices

    def _drive(self) -> None:
        stage, world = self.stage, self.stage.world
        sent = self.driver.cycle()
        camera = self.scenario.camera.pose(world.car.pose)
        distance = world.distance_m(world.target, camera[:2])
        moment = Moment(stage.time_s, sent.heard, distance, world.target.speed_mps)
        self.judge.cycle(moment, sent.reasons)
        if self.watch is not None:
            self.watch(Glimpse(stage, self.picture, self.answer, sent))
