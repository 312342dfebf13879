"""Chassis without a car: one that writes what it would drive, one that does nothing."""

from __future__ import annotations

from follow_robot.chassis.base import Chassis
from follow_robot.velocity import Velocity


class LogChassis(Chassis):
    """Every command as a line for people; the port it is written to adds the time."""

    name = "log"
    holonomic = True

    def _encode(self, velocity: Velocity) -> bytes:
        if velocity.is_stop:
            return b"stop\n"
        # "+ 0.0" turns -0.0 into 0.0, which would read as a direction.
        parts = tuple(round(v, 3) + 0.0 for v in velocity)
        return b"vx %+.3f m/s, vy %+.3f m/s, wz %+.3f rad/s\n" % parts


class NullChassis(Chassis):
    """No command at all."""

    name = "null"
    holonomic = True

    def _encode(self, velocity: Velocity) -> bytes:
        return b""
