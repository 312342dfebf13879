"""What every chassis protocol promises: velocities to bytes, bytes to telemetry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Dict, List, NamedTuple, Optional, Tuple

from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError

# The wire carries thousandths in an int16. Symmetric, since firmware negates values and -(-32768)
# overflows.
INT16_LIMIT = 32.767


class Telemetry(NamedTuple):
    """What one frame from the chassis says; None where it does not.

    Attributes:
        velocity: Measured by the wheels.
        battery_v: Battery voltage, volts.
        stopped: Whether the chassis itself holds its motors off (switch, low battery, fault).
        extra: Anything else, by name with unit.
    """

    velocity: Optional[Velocity] = None
    battery_v: Optional[float] = None
    stopped: Optional[bool] = None
    extra: Dict[str, float] = {}

    def over(self, older: Optional[Telemetry]) -> Telemetry:
        """This, and what only ``older`` says: some chassis tell a part in each frame."""
        if older is None:
            return self
        return Telemetry(
            older.velocity if self.velocity is None else self.velocity,
            older.battery_v if self.battery_v is None else self.battery_v,
            older.stopped if self.stopped is None else self.stopped,
            {**older.extra, **self.extra},
        )


class Chassis(ABC):
    """One protocol, without input or output of its own.

    Attributes:
        name: As in a chassis specification.
        baud: Usual speed of its serial port; 0 where it has none.
        holonomic: Whether the wire carries sideways motion.
        reads: Whether it sends telemetry.
        gap_s: Silence its firmware wants between two frames, seconds.
        lower_lines: Whether DTR and RTS are to be lowered after opening the port.
        clamped: How many velocities so far did not fit the wire or the car and were limited.
        frames: Valid frames received so far.
    """

    name: str
    baud: int = 0
    holonomic: bool = False
    reads: bool = False
    gap_s: float = 0.0
    lower_lines: bool = False

    def __init__(self) -> None:
        self.clamped = 0

    @property
    def frames(self) -> int:
        return 0

    def start(self) -> List[bytes]:
        """Frames to send once after the port was opened, and again after every reconnect."""
        return []

    def encode(self, velocity: Velocity) -> bytes:
        """The command for ``velocity``, limited to what the wire and the car can carry.

        Raises:
            ReidEdgeError: It is not finite. A caller that catches this sends ``stop()``.
        """
        if not velocity.is_finite:
            raise ReidEdgeError(
                "A velocity on the wire must be finite, got vx %r m/s, vy %r m/s, wz %r rad/s; "
                "stop instead." % tuple(velocity)
            )
        return self._encode(velocity)

    @abstractmethod
    def _encode(self, velocity: Velocity) -> bytes:
        """``encode`` of a finite velocity."""

    def stop(self) -> bytes:
        """The strongest command to stand still after which the next velocity is obeyed.

        Send this, not ``encode(STOP)``, wherever the car is to stand: where a protocol has a way to
        make a stop heard after damaged bytes, only this has it.
        """
        return self.encode(STOP)

    def feed(self, data: bytes) -> List[Telemetry]:
        """Telemetry in the bytes received, whatever they are; never raises.

        Damaged and unknown frames are passed over, and the next whole one is found again.
        """
        return []

    def _limit(self, velocity: Velocity, limits: Tuple[float, float, float]) -> Velocity:
        """``velocity`` with each part at most ``limits`` (vx, vy in m/s; wz in rad/s); counts."""
        limited = Velocity(*(max(-most, min(most, v)) for v, most in zip(velocity, limits)))
        if limited != velocity:
            self.clamped += 1
        return limited


def thousandths(velocity: Velocity) -> Tuple[int, int, int]:
    """(vx, vy, wz) as integers, mm/s and mrad/s; rounded, where a cast would cut towards zero."""
    return tuple(round(v * 1000) for v in velocity)  # type: ignore[return-value]
