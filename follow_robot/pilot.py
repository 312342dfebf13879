"""One frame in, one command out, with everything recorded that the command rests on."""

from __future__ import annotations

import time
from typing import Callable, List, NamedTuple, Sequence, Tuple

import numpy as np

from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    Entry,
    FrameEntry,
    TimingEntry,
    decision_data,
)
from follow_robot.choices import Choice, apply
from follow_robot.follower import Decision, Follower
from follow_robot.frame_guard import FrameGuard, FrameState
from follow_robot.velocity import Command, Velocity
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.observation import Observation
from runtime.perception import Perception


class Answer(NamedTuple):
    """What came of one frame.

    Attributes:
        record: What perception says about it.
        decision: What the car is asked to do about it.
        camera: Whether the picture is to be believed.
        refused: Why choices of the user were not followed, a sentence each.
    """

    record: FrameRecord
    decision: Decision
    camera: FrameState
    refused: Tuple[str, ...]


class Pilot:
    """Answers frames in order. Knows no camera, no wire and no page; its caller has them.

    Args:
        perception, follower, guard: The chain.
        put: Takes entries for the black box; must not wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        perception: Perception,
        follower: Follower,
        guard: FrameGuard,
        put: Callable[[Entry], object] = lambda entry: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.perception, self.follower, self.guard = perception, follower, guard
        self._put, self._clock = put, clock
        self._waiting: List[Choice] = []  # until the detector has answered
        self._chosen: List[Choice] = []  # since the last recorded frame

    def answer(
        self, image: np.ndarray, time_s: float, ego: Velocity, choices: Sequence[Choice] = ()
    ) -> Answer:
        """Answer one frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            time_s: Monotonic time of its capture.
            ego: How the car moved since the frame before.
            choices: What the user chose since then, looking at the frame before. Where the detector
                fails, they wait for the next frame.

        Raises:
            Exception: Whatever the detector or the ReID network raised; nothing was decided, and
                ``halt`` gives the command to send.
        """
        self._waiting += choices
        camera = self.guard.update(image, time_s)
        seen = self.perception.observe(image, time_s)
        # Behind the detector, because only frames that it answered are recorded with their choices.
        refused = self._apply()
        try:
            record = self.perception.decide(seen, self.perception.embed_rows(image, seen))
        except Exception:
            self._put(self._entry(seen, (), None, ego, camera, failed=True))
            raise
        decision = self.follower.step(record, self._clock(), ego, camera.last_good_s)
        now_s = decision.command.made_s
        self._put(self._entry(seen, record.rows, record.embeddings, ego, camera, now_s))
        self._put(DecisionEntry(decision_data(record, decision)))
        self._put(TimingEntry(record.index, record.took_ms))
        return Answer(record, decision, camera, tuple(refused))

    def halt(self) -> Command:
        """A stop that answers no frame."""
        command = self.follower.halt(self._clock())
        self._put(CommandEntry(command))
        return command

    def _apply(self) -> List[str]:
        choices, self._waiting = self._waiting, []
        refused = []
        for choice in choices:
            try:
                apply(choice, self.perception, self.follower)
            except ReidEdgeError as error:
                refused.append(str(error))
            else:
                self._chosen.append(choice)
        return refused

    def _entry(
        self,
        seen: Observation,
        rows: Tuple[int, ...],
        embeddings,
        ego: Velocity,
        camera: FrameState,
        now_s: float = 0.0,
        failed: bool = False,
    ) -> FrameEntry:
        chosen, self._chosen = tuple(self._chosen), []
        return FrameEntry(seen, rows, embeddings, chosen, now_s, ego, camera.last_good_s, failed)
