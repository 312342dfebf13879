"""How the car moves: wheels that lag behind what they are told, within what they can do."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Deque, Tuple

from follow_robot.simulator.plane import Pose
from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

HOLONOMIC, DIFFERENTIAL, ACKERMANN = "holonomic", "differential", "ackermann"
DRIVES = (HOLONOMIC, DIFFERENTIAL, ACKERMANN)


@dataclass(frozen=True)
class CarModel:
    """What the simulated car can do.

    Attributes:
        drive: ``"holonomic"`` (mecanum), ``"differential"`` or ``"ackermann"``.
        radius_m: Of the circle around it.
        delay_s: From a command's arrival until the wheels begin to follow.
        lag_s: Time constant with which the wheels follow.
        acceleration_mps2, turn_acceleration_radps2: Largest change per second, up or down.
        turn_radius_m: Smallest turning circle's radius (Ackermann).
    """

    drive: str = DIFFERENTIAL
    radius_m: float = 0.18
    delay_s: float = 0.03
    lag_s: float = 0.1
    acceleration_mps2: float = 3.0
    turn_acceleration_radps2: float = 12.0
    turn_radius_m: float = 0.4

    def __post_init__(self):
        if self.drive not in DRIVES:
            raise ReidEdgeError("A car's drive is one of %s, got %r." % (DRIVES, self.drive))
        if min(self.delay_s, self.lag_s) < 0 or self.radius_m <= 0:
            raise ReidEdgeError("A car needs a radius above 0, and no delay below 0.")
        if min(self.acceleration_mps2, self.turn_acceleration_radps2, self.turn_radius_m) <= 0:
            raise ReidEdgeError("A car's accelerations and turning radius must be above 0.")


class Car:
    """Pose and velocity of the car; ``step`` moves it on.

    Args:
        pose: Where it starts, standing.
        model: What it can do.
    """

    def __init__(self, pose: Pose, model: CarModel):
        self.pose, self.model = pose, model
        self.velocity = STOP
        self._coming: Deque[Tuple[float, Velocity]] = deque()
        self._wanted = STOP

    def step(self, wanted: Velocity, now_s: float, dt_s: float) -> None:
        """Follow ``wanted``, which holds from ``now_s`` on, for ``dt_s``."""
        self._coming.append((now_s + self.model.delay_s, wanted))
        while self._coming and self._coming[0][0] <= now_s + 1e-9:
            self._wanted = self._coming.popleft()[1]
        self.velocity = self._towards(self._possible(self._wanted), dt_s)
        vx, vy, wz = self.velocity
        x, y, heading = self.pose
        middle = heading + wz * dt_s / 2
        self.pose = Pose(
            x + (vx * math.cos(middle) - vy * math.sin(middle)) * dt_s,
            y + (vx * math.sin(middle) + vy * math.cos(middle)) * dt_s,
            heading + wz * dt_s,
        )

    def _possible(self, wanted: Velocity) -> Velocity:
        """What wheels of this kind make of a velocity."""
        vx, _, wz = wanted
        if self.model.drive == HOLONOMIC:
            return wanted
        if self.model.drive == ACKERMANN:
            most = abs(vx) / self.model.turn_radius_m
            wz = max(-most, min(most, wz))
        return Velocity(vx, 0.0, wz)

    def _towards(self, wanted: Velocity, dt_s: float) -> Velocity:
        m = self.model
        share = 1 - math.exp(-dt_s / m.lag_s) if m.lag_s > 0 else 1.0
        limits = (m.acceleration_mps2, m.acceleration_mps2, m.turn_acceleration_radps2)
        now = []
        for is_now, shall, limit in zip(self.velocity, wanted, limits):
            change = share * (shall - is_now)
            now.append(is_now + max(-limit * dt_s, min(limit * dt_s, change)))
        return Velocity(*now)
