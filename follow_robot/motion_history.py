"""How the car has moved lately, from what it was told or what it measured."""

import math
from collections import deque
from typing import Deque, NamedTuple, Tuple

from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError


class Displacement(NamedTuple):
    """Where the car is now, seen from where it was.

    Attributes:
        x_m, y_m: Forward and to the left, in the frame of the earlier place.
        turn_rad: Counter-clockwise.
    """

    x_m: float = 0.0
    y_m: float = 0.0
    turn_rad: float = 0.0


def travelled(velocity: Velocity, duration_s: float) -> Displacement:
    """What a constant velocity covers: an arc."""
    vx, vy, turn = velocity.vx_mps, velocity.vy_mps, velocity.wz_radps * duration_s
    if abs(turn) < 1e-6:
        along, across = duration_s, duration_s * turn / 2
    else:
        along = duration_s * math.sin(turn) / turn
        across = duration_s * (1 - math.cos(turn)) / turn
    return Displacement(vx * along - vy * across, vx * across + vy * along, turn)


class MotionHistory:
    """Velocities with the times from which on they held.

    history = MotionHistory(delay_s=0.1)          # the wheels follow the command 0.1 s later
    history.add(command.velocity, command.made_s)
    history.mean(previous_frame_s, frame_s)       # how the car moved between two frames

    Args:
        delay_s: Time from a velocity being added to the car moving like that.
        keep_s: How long ago may be asked about. Before the oldest velocity the car stood still.
    """

    def __init__(self, delay_s: float = 0.0, keep_s: float = 2.0):
        if not 0 <= delay_s <= keep_s:
            raise ReidEdgeError(
                "A motion history needs 0 <= delay_s <= keep_s, got %r and %r." % (delay_s, keep_s)
            )
        self.delay_s, self.keep_s = delay_s, keep_s
        self._steps: Deque[Tuple[float, Velocity]] = deque()

    def reset(self) -> None:
        """The car stands still since ever."""
        self._steps.clear()

    def add(self, velocity: Velocity, time_s: float) -> None:
        """From ``time_s`` on (plus the delay) the car moves like this.

        Raises:
            ReidEdgeError: Time ran backwards.
        """
        start = time_s + self.delay_s
        if self._steps and start < self._steps[-1][0]:
            raise ReidEdgeError(
                "Times of a motion history must not run backwards, got %g s after %g s."
                % (time_s, self._steps[-1][0] - self.delay_s)
            )
        self._steps.append((start, velocity))
        # The first one holds from before the window on, so the second must be old to drop it.
        while len(self._steps) > 1 and self._steps[1][0] < start - self.delay_s - self.keep_s:
            self._steps.popleft()

    def moved(self, from_s: float, to_s: float) -> Displacement:
        """How the car moved between two times; the newest velocity is taken to go on."""
        x = y = turn = 0.0
        for velocity, duration_s in self._pieces(from_s, to_s):
            step = travelled(velocity, duration_s)
            cosine, sine = math.cos(turn), math.sin(turn)
            x += cosine * step.x_m - sine * step.y_m
            y += sine * step.x_m + cosine * step.y_m
            turn += step.turn_rad
        return Displacement(x, y, turn)

    def mean(self, from_s: float, to_s: float) -> Velocity:
        """Mean velocity between two times; that at ``to_s`` where there is nothing in between."""
        total = to_s - from_s
        if total <= 0:
            held = [velocity for start, velocity in self._steps if start <= to_s]
            return held[-1] if held else STOP
        pieces = list(self._pieces(from_s, to_s))
        return Velocity(*(sum(v[i] * t for v, t in pieces) / total for i in range(3)))

    def _pieces(self, from_s, to_s):
        """(velocity, seconds) that make up the time between, in order."""
        starts = [-math.inf] + [start for start, _ in self._steps] + [math.inf]
        velocities = [STOP] + [velocity for _, velocity in self._steps]
        for velocity, start, end in zip(velocities, starts, starts[1:]):
            duration_s = min(end, to_s) - max(start, from_s)
            if duration_s > 0:
                yield velocity, duration_s
