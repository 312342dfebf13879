"""Yahboom's Rosmaster board: ``FF FC`` commands, four kinds of reports in turn."""

import struct

from follow_robot.simulator.firmware.base import Firmware, int16
from follow_robot.simulator.plane import wrapped
from follow_robot.velocity import STOP, Velocity

TO_BOARD, FROM_BOARD = b"\xff\xfc", b"\xff\xfb"
AUTO_REPORT, RESET, MOTION = 0x01, 0x0F, 0x12
SPEED, ATTITUDE, ENCODERS, ICM20948 = 0x0A, 0x0C, 0x0D, 0x0E
PERIOD_S = 0.01
_LONGEST = 64
_COUNTS_PER_M = 2000.0


class RosmasterFirmware(Firmware):
    """Waits for ``FF FC``, takes LEN bytes and checks their sum; obeys motion and reset.

    Reports every 10 ms one of four kinds, so that each comes every 40 ms, unless told not to.
    """

    name = "rosmaster"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._buffer = bytearray()
        self._reporting = True
        self._turn = 0
        self._yaw_rad = self._way_m = 0.0

    def receive(self, data: bytes, now_s: float) -> None:
        self._buffer += data
        while True:
            start = self._buffer.find(TO_BOARD)
            if start < 0:
                del self._buffer[: max(len(self._buffer) - 1, 0)]  # perhaps half a header
                return
            del self._buffer[:start]
            if len(self._buffer) < 3:
                return
            length = self._buffer[2]  # of all behind the FC
            if not 3 <= length <= _LONGEST:
                self.rejected += 1
                del self._buffer[:2]
                continue
            if len(self._buffer) < length + 2:
                return
            frame = bytes(self._buffer[: length + 2])
            del self._buffer[: length + 2]
            self._take(frame, now_s)

    def _take(self, frame: bytes, now_s: float) -> None:
        function, payload = frame[3], frame[4:-1]
        if (sum(frame[:-1]) + 5) & 0xFF != frame[-1]:
            self.rejected += 1
        elif function == MOTION and len(payload) == 7:
            vx, vy, wz = struct.unpack("<3h", payload[1:])
            self._obey(Velocity(vx / 1000, vy / 1000, wz / 1000), now_s)
        elif function == RESET and payload == b"\x5f":
            self._obey(STOP, now_s)
        elif function == AUTO_REPORT and payload:
            self._reporting = payload[0] != 0
        elif function == MOTION:
            self.rejected += 1

    def report(self, measured: Velocity, now_s: float) -> bytes:
        if not self._due(PERIOD_S, now_s):
            return b""
        self._yaw_rad += measured.wz_radps * PERIOD_S
        self._way_m += measured.vx_mps * PERIOD_S
        kind = (SPEED, ATTITUDE, ENCODERS, ICM20948)[self._turn]
        self._turn = (self._turn + 1) % 4
        return _frame(kind, self._data(kind, measured)) if self._reporting else b""

    def _data(self, kind: int, measured: Velocity) -> bytes:
        if kind == SPEED:
            speeds = [int16(1000 * v) for v in measured]
            return struct.pack("<3hB", *speeds, min(round(10 * self.battery_v), 255))
        if kind == ATTITUDE:
            return struct.pack("<3h", 0, 0, int16(10000 * wrapped(self._yaw_rad)))
        if kind == ENCODERS:
            return struct.pack("<4i", *[round(self._way_m * _COUNTS_PER_M)] * 4)
        accel = self._acceleration(measured, 4 * PERIOD_S)
        raw = [0, 0, int16(1000 * measured.wz_radps), int16(1000 * accel), 0, 9807]
        return struct.pack("<9h", *raw, 0, 0, 0)


def _frame(kind: int, data: bytes) -> bytes:
    body = bytes([len(data) + 3, kind]) + data
    return FROM_BOARD + body + bytes([sum(body) & 0xFF])
