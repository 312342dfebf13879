"""From what perception says about one frame to what the car should do: pure, so it can be replayed."""

import math
from typing import NamedTuple, Optional

from follow_robot.camera_model import CameraModel
from follow_robot.controller import Controller
from follow_robot.ranging import PersonPrior, measure
from follow_robot.target import Measurement, TargetEstimate
from follow_robot.target_filter import TargetFilter
from follow_robot.velocity import STOP, Command, Velocity
from runtime.frame_record import FrameRecord
from runtime.lock_types import LOCKED, OCCLUDED


class Decision(NamedTuple):
    """Everything behind one command.

    Attributes:
        measurement: The target's place read from this frame, if it was seen and believed.
        estimate: The filtered place, if there is one.
        command: What the car is asked to do.
    """

    measurement: Optional[Measurement]
    estimate: Optional[TargetEstimate]
    command: Command


class Follower:
    """Follows the lock's target. Starts on hold: nothing moves before ``going`` is set.

    Args:
        camera, person: What the target's box says about its place.
        target_filter, controller: Parts with settings of their own.
    """

    def __init__(
        self,
        camera: CameraModel,
        person: PersonPrior,
        target_filter: TargetFilter,
        controller: Controller,
    ):
        self.camera, self.person = camera, person
        self.target_filter, self.controller = target_filter, controller
        self.going = False
        self._sequence = 0
        self._target_s = -math.inf

    def step(
        self,
        record: FrameRecord,
        now_s: float,
        ego: Velocity = STOP,
        frame_time_s: Optional[float] = None,
    ) -> Decision:
        """Answer one frame.

        Args:
            record: What perception says about it.
            now_s: Monotonic time of the decision.
            ego: How the car moves: what its chassis reports, or what it was last told.
            frame_time_s: Time of the newest frame that can be believed, where that is not this one (a
                frozen or covered camera); by default the record's.
        """
        frame_time_s = record.time_s if frame_time_s is None else frame_time_s
        believed = frame_time_s >= record.time_s
        lock = record.lock
        reading: Optional[Measurement] = None
        if believed and lock.state == LOCKED and lock.box is not None:
            reading = measure(lock.box, record.frame_size, self.camera, self.person)
        if reading is not None:
            self._target_s = record.time_s
        estimate = self.target_filter.update(reading, ego, record.time_s)
        # A moment behind somebody does not make the car stumble: the controller goes on with the
        # estimate until that is stale. A robot that has lost its person stands still at once.
        known = believed and lock.state in (LOCKED, OCCLUDED)
        if self.going and known and estimate is not None:
            velocity = self.controller.update(estimate, now_s)
        else:
            self.controller.reset()
            velocity = STOP
        self._sequence += 1
        command = Command(velocity, frame_time_s, self._target_s, now_s, self._sequence)
        return Decision(reading, estimate, command)

    def halt(self, now_s: float) -> Command:
        """A stop that answers no frame, such as when the camera or a network failed."""
        self.controller.reset()
        self._sequence += 1
        return Command(STOP, -math.inf, self._target_s, now_s, self._sequence)

    def forget(self) -> None:
        """Another target: what was known of the last one's place is dropped."""
        self.target_filter.reset()
        self.controller.reset()
        self._target_s = -math.inf
