"""Waveshare's UGV boards (ESP32): one JSON object per line."""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Optional

from follow_robot.chassis.base import Chassis, Telemetry
from follow_robot.chassis.framing import ObjectScanner
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError

WHEEL_SPEEDS, FEEDBACK, FEEDBACK_STREAM, HEARTBEAT, REPORT = 1, 130, 131, 136, 1001
WHEEL_LIMIT_MPS = 2.0  # the firmware ignores a command with a wheel beyond it
LONGEST_HEARTBEAT_MS = 500


class Waveshare(Chassis):
    """``{"T":1,"L":left,"R":right}``, wheel speeds in m/s, with the board's own stop on silence.

    Source: waveshareteam/ugv_base_ros, ``uart_ctrl.h`` and ``movtion_module.h``. ``T:13`` (speed
    and turn rate) is never sent. Only T:1 and T:11 restart the board's heartbeat and re-arm it
    after it has stopped the car; T:13 does neither, so after the first silence of longer than the
    heartbeat, a car driven by T:13 goes on for ever when commands cease.

    ``T:0`` is not the stop either: it holds until T:999, and whoever sent it (another program, a
    person) is not to be overruled by a reconnect.
    """

    name = "waveshare"
    baud = 115200
    reads = True
    lower_lines = True  # wired to the ESP32's reset and boot pins; the vendor's host lowers both

    def __init__(self, track_width_m: float = 0.172, heartbeat_ms: int = LONGEST_HEARTBEAT_MS):
        """Describe the car.

        Args:
            track_width_m: Distance of left and right wheels: UGV Rover 0.172, RaspRover 0.125, UGV
                Beast 0.141 in the vendor's firmware. Skid steering slips; measure a turn on your
                floor for a better one.
            heartbeat_ms: Silence after which the board stops the car.

        Raises:
            ReidEdgeError: One of them is out of range.
        """
        super().__init__()
        if not 0.05 <= track_width_m <= 2:
            raise ReidEdgeError(
                "track_width_m of a waveshare chassis must be 0.05 to 2, got %r." % track_width_m
            )
        if not 100 <= heartbeat_ms <= LONGEST_HEARTBEAT_MS:
            raise ReidEdgeError(
                "heartbeat_ms of a waveshare chassis must be 100 to %d, got %r."
                % (LONGEST_HEARTBEAT_MS, heartbeat_ms)
            )
        self.track_width_m, self.heartbeat_ms = track_width_m, heartbeat_ms
        self._scanner = ObjectScanner()

    @property
    def frames(self) -> int:
        return self._scanner.frames

    def start(self) -> List[bytes]:
        """Heartbeat, stop, stream of reports and a first one; begins by ending a half-sent line."""
        return [
            b"\n" + _line(T=HEARTBEAT, cmd=self.heartbeat_ms),
            self.stop(),
            _line(T=FEEDBACK_STREAM, cmd=1),
            _line(T=FEEDBACK),
        ]

    def _encode(self, velocity: Velocity) -> bytes:
        forward = self._limit(velocity, (100.0, 0.0, 1000.0))  # far beyond: no sum overflows
        spread_mps = forward.wz_radps * self.track_width_m / 2
        left, right = forward.vx_mps - spread_mps, forward.vx_mps + spread_mps
        fastest = max(abs(left), abs(right))
        if fastest > WHEEL_LIMIT_MPS:  # both alike, so that the curve stays the one asked for
            self.clamped += forward == velocity
            left, right = (_shrink(w, fastest) for w in (left, right))
        return _line(T=WHEEL_SPEEDS, L=round(left, 3) + 0.0, R=round(right, 3) + 0.0)

    def stop(self) -> bytes:
        """Wheel speeds of zero, on a line of their own even behind half a line."""
        return b"\n" + super().stop()

    def feed(self, data: bytes) -> List[Telemetry]:
        read = (self._read(found) for found in self._scanner.feed(data))
        return [telemetry for telemetry in read if telemetry is not None]

    def _read(self, found: Dict[str, Any]) -> Optional[Telemetry]:
        """Telemetry of a report, None for anything else (such as our own commands, echoed)."""
        if found.get("T") != REPORT:
            return None
        numbers = {
            name: n for name, n in ((k, _number(v)) for k, v in found.items()) if n is not None
        }
        del numbers["T"]
        left, right = numbers.pop("L", None), numbers.pop("R", None)
        battery_v = numbers.pop("v", None)
        velocity: Optional[Velocity] = None
        if left is not None and right is not None:
            turn = (right - left) / self.track_width_m
            velocity = Velocity((left + right) / 2, 0.0, turn)
            velocity = velocity if velocity.is_finite else None
        if battery_v is not None and battery_v > 60:  # some versions send hundredths
            battery_v /= 100
        return Telemetry(velocity, battery_v, None, numbers)


def _line(**fields):
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _shrink(wheel_mps, fastest_mps):
    return wheel_mps / fastest_mps * WHEEL_LIMIT_MPS


def _number(value: Any) -> Optional[float]:
    """A finite number, else None: the board sends null where it has none, and JSON knows NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
