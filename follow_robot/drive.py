"""Kinds of cars and which velocities each can drive."""

import math
from dataclasses import dataclass, fields

from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError

HOLONOMIC, DIFFERENTIAL, ACKERMANN = "holonomic", "differential", "ackermann"
KINDS = (HOLONOMIC, DIFFERENTIAL, ACKERMANN)


@dataclass(frozen=True)
class Drive:
    """What the car's wheels allow.

    Attributes:
        kind: "holonomic" (mecanum or omni wheels: any direction), "differential" (two driven sides or
            tracks: turns on the spot, not sideways) or "ackermann" (steered front wheels: turns only
            while it drives, and not below a radius).
        wheel_speed_mps: Fastest that a wheel turns, at its rim.
        track_width_m: Distance between left and right wheels.
        wheelbase_m: Distance between front and rear axle.
        max_steering_rad: Largest angle of the front wheels; gives the smallest turning radius,
            wheelbase_m / tan(max_steering_rad), of the rear axle's middle.
        min_turn_radius_m: The smallest turning radius where it was measured and is larger.

    Raises:
        ReidEdgeError: An unknown kind, or a value that no car has.
    """

    kind: str = DIFFERENTIAL
    wheel_speed_mps: float = 1.5
    track_width_m: float = 0.2
    wheelbase_m: float = 0.2
    max_steering_rad: float = 0.5
    min_turn_radius_m: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ReidEdgeError(
                "The drive's kind must be one of %s, got %r." % (", ".join(KINDS), self.kind)
            )
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "kind":
                continue
            if not math.isfinite(value) or value < 0 or (value == 0 and "radius" not in f.name):
                raise ReidEdgeError("The drive's %s must be above 0, got %r." % (f.name, value))
        if self.max_steering_rad > 1.4:
            raise ReidEdgeError(
                "The drive's max_steering_rad must be at most 1.4, got %g; it is in radians."
                % self.max_steering_rad
            )

    @property
    def holonomic(self) -> bool:
        return self.kind == HOLONOMIC

    @property
    def turns_on_the_spot(self) -> bool:
        return self.kind != ACKERMANN

    @property
    def turn_radius_m(self) -> float:
        """Smallest turning radius; 0 for cars that turn on the spot."""
        if self.turns_on_the_spot:
            return 0.0
        return max(self.min_turn_radius_m, self.wheelbase_m / math.tan(self.max_steering_rad))

    def feasible(self, velocity: Velocity) -> Velocity:
        """The nearest thing to ``velocity`` that this car can do; never faster on any axis.

        What cannot be done is left out (sideways, turning on the spot, too tight a turn). Where a
        wheel would have to turn too fast, everything is slowed by one factor, which keeps the path.

        Raises:
            ReidEdgeError: A velocity that is not finite.
        """
        if not velocity.is_finite:
            raise ReidEdgeError("A velocity must be finite, got %s." % (velocity,))
        vx, vy, wz = velocity
        if not self.holonomic:
            vy = 0.0
        if self.kind == ACKERMANN:
            most = abs(vx) / self.turn_radius_m
            wz = min(max(wz, -most), most)
        fastest = abs(vx) + abs(vy) + abs(wz) * self._lever_m()
        factor = min(1.0, self.wheel_speed_mps / fastest) if fastest > 0 else 1.0
        return Velocity(vx * factor, vy * factor, wz * factor)

    def slowed(self, velocity: Velocity, speed_mps: float) -> Velocity:
        """The same path at ``speed_mps`` forwards or backwards at most.

        Only a car that steers must turn slower when it drives slower; others keep their turn rate.
        """
        factor = min(1.0, speed_mps / abs(velocity.vx_mps)) if velocity.vx_mps else 1.0
        if self.kind == ACKERMANN:
            return Velocity(*(v * factor for v in velocity))
        return velocity._replace(vx_mps=velocity.vx_mps * factor, vy_mps=velocity.vy_mps * factor)

    def _lever_m(self) -> float:
        """Speed of the fastest wheel per turn rate."""
        if self.holonomic:
            return (self.track_width_m + self.wheelbase_m) / 2
        return self.track_width_m / 2
