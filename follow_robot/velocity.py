"""What the car is told: a velocity, and the command that carries it with the times it depends on."""

import math
from typing import NamedTuple


class Velocity(NamedTuple):
    """Of the car in its own frame (x forward, y left, z up: REP 103).

    Attributes:
        vx_mps: Forward, metres per second.
        vy_mps: To the left, metres per second; 0 for cars that cannot.
        wz_radps: Counter-clockwise seen from above, radians per second.
    """

    vx_mps: float = 0.0
    vy_mps: float = 0.0
    wz_radps: float = 0.0

    @property
    def is_stop(self) -> bool:
        return self.vx_mps == 0 and self.vy_mps == 0 and self.wz_radps == 0

    @property
    def is_finite(self) -> bool:
        return all(math.isfinite(v) for v in self)


STOP = Velocity()


class Command(NamedTuple):
    """A velocity with what it rests on. All times are ``time.monotonic`` of this machine.

    Attributes:
        velocity: What is asked for.
        frame_time_s: When the frame was captured that this command answers.
        target_time_s: When the newest frame was captured on which the target was seen; -inf if none.
        made_s: When the command was decided.
        sequence: Counts up by one per command.
    """

    velocity: Velocity
    frame_time_s: float
    target_time_s: float
    made_s: float
    sequence: int
