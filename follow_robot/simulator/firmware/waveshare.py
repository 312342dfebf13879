"""Waveshare's UGV board (ESP32): JSON lines, a heartbeat, and the heartbeat's fault."""

import json
from typing import Any, Dict

from follow_robot.simulator.firmware.base import Firmware
from follow_robot.velocity import STOP, Velocity

PERIOD_S = 0.05
_LONGEST = 512
_PWM_MPS = 1.3  # about what full duty gives


class WaveshareFirmware(Firmware):
    """Obeys one JSON object per line.

    ``T:1`` (wheel speeds) and ``T:11`` (duty) restart the heartbeat and lift a stop by it. ``T:13``
    (speed and turn) does neither, as in the vendor's ``uart_ctrl.h``: driven by it, the car stops once
    when the first heartbeat runs out and is never stopped again.

    Args:
        track_width_m: Between left and right wheels.
    """

    name = "waveshare"

    def __init__(self, *args, track_width_m: float = 0.172, **options):
        super().__init__(*args, **options)
        self.track_width_m = track_width_m
        self.heartbeat_s = 3.0
        self.emergency = False
        self._line = bytearray()
        self._refreshed_s = self.start_s
        self._beat_stopped = False
        self._streams, self._asked = False, False

    def receive(self, data: bytes, now_s: float) -> None:
        self._beat(now_s)
        for byte in data:
            if byte != 0x0A:
                self._line.append(byte)
                if len(self._line) > _LONGEST:
                    self._line.clear()
                    self.rejected += 1
                continue
            line, self._line = bytes(self._line), bytearray()
            if line.strip():
                self._take(line, now_s)

    def _take(self, line: bytes, now_s: float) -> None:
        try:
            said: Dict[str, Any] = json.loads(line.decode("utf-8"))
            kind = said["T"]
            if kind == 1:
                self._drive(float(said["L"]), float(said["R"]), now_s, True)
            elif kind == 11:
                share = _PWM_MPS / 255
                self._drive(share * float(said["L"]), share * float(said["R"]), now_s, True)
            elif kind == 13:
                spread = float(said["Z"]) * self.track_width_m / 2
                self._drive(float(said["X"]) - spread, float(said["X"]) + spread, now_s, False)
            elif kind in (0, 999):
                self.emergency = kind == 0
            elif kind == 136:
                self.heartbeat_s = float(said["cmd"]) / 1000
            elif kind == 131:
                self._streams = bool(said["cmd"])
            elif kind == 130:
                self._asked = True
        except (ValueError, KeyError, TypeError, AttributeError):
            self.rejected += 1

    def _drive(self, left_mps: float, right_mps: float, now_s: float, refreshes: bool) -> None:
        if max(abs(left_mps), abs(right_mps)) > 2.0:
            self.rejected += 1
            return
        turn = (right_mps - left_mps) / self.track_width_m
        self._obey(Velocity((left_mps + right_mps) / 2, 0.0, turn), now_s)
        if refreshes:
            self._refreshed_s, self._beat_stopped = now_s, False

    def _beat(self, now_s: float) -> None:
        if not self._beat_stopped and now_s - self._refreshed_s > self.heartbeat_s:
            self._beat_stopped = True
            self._wanted = STOP

    def wanted(self, now_s: float) -> Velocity:
        self._beat(now_s)
        return STOP if self.emergency else super().wanted(now_s)

    def report(self, measured: Velocity, now_s: float) -> bytes:
        due = self._due(PERIOD_S, now_s) and self._streams
        if not due and not self._asked:
            return b""
        self._asked = False
        spread = measured.wz_radps * self.track_width_m / 2
        said = {
            "T": 1001,
            "L": round(measured.vx_mps - spread, 4),
            "R": round(measured.vx_mps + spread, 4),
            "ax": 0,
            "ay": 0,
            "az": 8192,
            "gx": 0,
            "gy": 0,
            "gz": round(16.4 * 57.29578 * measured.wz_radps),
            "odl": 0,
            "odr": 0,
            "v": round(100 * self.battery_v),
        }
        return json.dumps(said, separators=(",", ":")).encode() + b"\r\n"
