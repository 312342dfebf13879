"""What every simulated board does: obey valid commands, hold the last one, report."""

from abc import ABC, abstractmethod
from typing import Optional

from follow_robot.velocity import STOP, Velocity
from runtime.errors import ReidEdgeError


class Firmware(ABC):
    """A board's firmware, without input or output of its own. Time is any clock, in seconds.

    As on the real boards nothing stops the car when commands cease, unless the board's own protocol
    says so or ``watchdog_s`` is given: some versions of a firmware have it and some have it commented
    out.

    Args:
        boot_s: Commands are ignored for so long after ``start_s``.
        watchdog_s: Silence after which it stops, or None.
        start_s: When it was switched on.
        battery_v: Voltage it reports.

    Attributes:
        commands: Valid commands of motion so far, ignored ones included.
        rejected: Damaged or unknown ones.
        heard_s: When the newest valid command came; None before.
    """

    name: str

    def __init__(
        self,
        boot_s: float = 0.0,
        watchdog_s: Optional[float] = None,
        start_s: float = 0.0,
        battery_v: float = 12.0,
    ):
        if boot_s < 0 or (watchdog_s is not None and watchdog_s <= 0) or battery_v <= 0:
            raise ReidEdgeError("A firmware needs boot_s >= 0, watchdog_s > 0 and battery_v > 0.")
        self.boot_s, self.watchdog_s, self.start_s = boot_s, watchdog_s, start_s
        self.battery_v = battery_v
        self.commands = self.rejected = 0
        self.heard_s: Optional[float] = None
        self._wanted = STOP
        self._reported_s = start_s
        self._before = STOP

    @abstractmethod
    def receive(self, data: bytes, now_s: float) -> None:
        """Take what came over the line, in whatever pieces."""

    @abstractmethod
    def report(self, measured: Velocity, now_s: float) -> bytes:
        """The reports that are due, given how the car moves."""

    def wanted(self, now_s: float) -> Velocity:
        """What the motors are told now."""
        silent = self.watchdog_s is not None and (
            self.heard_s is None or now_s - self.heard_s > self.watchdog_s
        )
        return STOP if silent or self.booting(now_s) else self._wanted

    def booting(self, now_s: float) -> bool:
        return now_s - self.start_s < self.boot_s

    def _obey(self, velocity: Velocity, now_s: float) -> None:
        self.commands += 1
        self.heard_s = now_s
        if not self.booting(now_s):
            self._wanted = velocity

    def _due(self, period_s: float, now_s: float) -> bool:
        """Whether a report is due; after a gap one comes, not all that were missed."""
        if now_s - self._reported_s < period_s - 1e-9:
            return False
        self._reported_s += period_s
        if now_s - self._reported_s >= period_s:
            self._reported_s = now_s
        return True

    def _acceleration(self, measured: Velocity, period_s: float) -> float:
        """Along the car since the last report, m/s^2."""
        change = (measured.vx_mps - self._before.vx_mps) / period_s
        self._before = measured
        return change


def int16(value: float) -> int:
    """Rounded and limited to what the wire carries."""
    return max(-32768, min(32767, round(value)))
