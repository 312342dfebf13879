"""WHEELTEC's STM32 controller, as its ``usartx.c`` reads and reports."""

import struct

from follow_robot.simulator.firmware.base import Firmware, int16
from follow_robot.velocity import Velocity

HEADER, TAIL = 0x7B, 0x7D
COMMAND_BYTES, PERIOD_S = 11, 0.05
_G, _ACCEL, _GYRO = 9.80665, 1671.84, 0.00026644


class WheeltecFirmware(Firmware):
    """Counts eleven bytes from the first ``7B`` and looks only then whether they are a command.

    Eleven bytes that are none are dropped together, a command that began among them with them: the
    firmware does not look back.
    """

    name = "wheeltec"

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._buffer = bytearray()

    def receive(self, data: bytes, now_s: float) -> None:
        for byte in data:
            if self._buffer or byte == HEADER:
                self._buffer.append(byte)
            if len(self._buffer) == COMMAND_BYTES:
                self._take(bytes(self._buffer), now_s)
                self._buffer.clear()

    def _take(self, frame: bytes, now_s: float) -> None:
        check = 0
        for byte in frame[:9]:
            check ^= byte
        if frame[10] != TAIL or frame[9] != check:
            self.rejected += 1
            return
        vx, vy, wz = struct.unpack(">3h", frame[3:9])
        self._obey(Velocity(vx / 1000, vy / 1000, wz / 1000), now_s)

    def report(self, measured: Velocity, now_s: float) -> bytes:
        if not self._due(PERIOD_S, now_s):
            return b""
        accel = self._acceleration(measured, PERIOD_S)
        speeds = [int16(1000 * v) for v in measured]
        inertial = [
            int16(accel * _ACCEL),
            0,
            int16(_G * _ACCEL),
            0,
            0,
            int16(measured.wz_radps / _GYRO),
        ]
        body = struct.pack(
            ">2B9hH", HEADER, self.booting(now_s), *speeds, *inertial, round(1000 * self.battery_v)
        )
        check = 0
        for byte in body:
            check ^= byte
        return body + bytes([check, TAIL])
