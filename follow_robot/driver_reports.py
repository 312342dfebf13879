"""What the driver process says, collected for the loop: to be recorded, timed, and known as motion."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Union

from follow_robot.black_box_records import DriveEntry, Entry
from follow_robot.driver_messages import Report, Tick
from follow_robot.latency import LatencyMeter
from follow_robot.motion_history import MotionHistory
from follow_robot.velocity import Velocity

_FRESH_S = 0.5  # older telemetry says nothing about how the car moves
_KEPT = 10000  # a loop that hangs collects nothing


class DriverReports:
    """Reports and ticks of the driver between its link's thread and the application's loop.

    Args:
        put: Takes entries for the black box.

    Attributes:
        latency: From frames to bytes.
        motion: How the car moves: what its chassis reports, or what it was told.
    """

    def __init__(self, put: Callable[[Entry], object]):
        self.latency = LatencyMeter()
        self.motion = MotionHistory()
        self._put = put
        self._waiting: Deque[Union[Report, Tick]] = deque(maxlen=_KEPT)

    def hear(self, message: Union[Report, Tick]) -> None:
        """Keep one; in the link's thread."""
        self._waiting.append(message)

    def take(self) -> None:
        """Work up what was kept; in the loop."""
        while self._waiting:
            message = self._waiting.popleft()
            if isinstance(message, Tick):
                sent = bytes.fromhex(message.data)
                self._put(DriveEntry(*message[:6], sent, message.written))
                continue
            self.latency.written(message)
            self.motion.add(_velocity(message), message.time_s)


def _velocity(report: Report) -> Velocity:
    """How the car moves at a report's time."""
    telemetry, heard_s = report.telemetry, report.telemetry_s
    if telemetry is not None and heard_s is not None and telemetry.velocity is not None:
        if report.time_s - heard_s <= _FRESH_S:
            return telemetry.velocity
    return report.sent
