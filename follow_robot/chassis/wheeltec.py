"""WHEELTEC's STM32 controllers ("mini car"): 11-byte commands, 24-byte reports at 20 Hz."""

from __future__ import annotations

import struct
from functools import reduce
from operator import xor
from typing import Dict, List

from follow_robot.chassis.base import INT16_LIMIT, Chassis, Telemetry, thousandths
from follow_robot.chassis.framing import FrameScanner
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError

HEADER, TAIL = 0x7B, 0x7D
COMMAND_BYTES = 11
REPORT_BYTES = (24, 32)  # 32 in the firmware of 2020; the fields in front are the same
_ACCEL_PER_MPS2 = 1671.84  # counts: 16384 per g, in both
_GYRO_RADPS = 0.00026644  # per count

# The firmware counts 11 bytes from the first 7B it meets and does not look back when they turn out
# wrong. The checksum of a stop is 7B too: one lost byte makes it count from there, eleven on is the
# next checksum, and an endless row of stops is then never heard while the last velocity goes on.
# As many zeros as can be missing from a frame end whatever it was counting.
REALIGN = bytes(COMMAND_BYTES - 1)


class Wheeltec(Chassis):
    """``7B 00 00 X X Y Y Z Z BCC 7D``: int16 big-endian, mm/s and mrad/s, BCC the XOR before it.

    Bytes 1 and 2 stay 0: forks use them for docking and models. Source: firmware and host of
    WHEELTEC C50X, ``usartx.c`` and ``wheeltec_robot.cpp``. Commands are ignored for about 10 s
    after power-on, and no stop on silence can be relied on: it is commented out in that firmware.
    """

    name = "wheeltec"
    baud = 115200
    reads = True

    def __init__(self, report_bytes: int = 24, holonomic: bool = True):
        """Choose the variant.

        Args:
            report_bytes: Length of its reports, 24, or 32 for the firmware of 2020.
            holonomic: Whether the car has mecanum or omni wheels; false sends no sideways motion.

        Raises:
            ReidEdgeError: Another length.
        """
        super().__init__()
        if report_bytes not in REPORT_BYTES:
            raise ReidEdgeError(
                "report_bytes of a wheeltec chassis must be %s, got %r."
                % (" or ".join(map(str, REPORT_BYTES)), report_bytes)
            )
        self.holonomic = holonomic
        self._scanner = FrameScanner(
            bytes([HEADER]), 1, lambda head: report_bytes, _is_report, report_bytes
        )

    @property
    def frames(self) -> int:
        return self._scanner.frames

    def start(self) -> List[bytes]:
        return [self.stop()]

    def _encode(self, velocity: Velocity) -> bytes:
        lateral = INT16_LIMIT if self.holonomic else 0.0
        limited = self._limit(velocity, (INT16_LIMIT, lateral, INT16_LIMIT))
        body = struct.pack(">B2x3h", HEADER, *thousandths(limited))
        return body + bytes([reduce(xor, body), TAIL])

    def stop(self) -> bytes:
        """A stop that is heard whatever the firmware was counting, see ``REALIGN``: 21 bytes."""
        return REALIGN + super().stop()

    def feed(self, data: bytes) -> List[Telemetry]:
        return [_read(frame) for frame in self._scanner.feed(data)]


def _is_report(frame):
    return frame[-1] == TAIL and reduce(xor, frame[:-2]) == frame[-2]


def _read(frame: bytes) -> Telemetry:
    (flag, vx, vy, wz, *inertial, battery) = struct.unpack_from(">B3h6hH", frame, 1)
    extra: Dict[str, float] = {}
    for axis, accel, gyro in zip("xyz", inertial[:3], inertial[3:]):
        extra["accel_%s_mps2" % axis] = accel / _ACCEL_PER_MPS2
        extra["gyro_%s_radps" % axis] = gyro * _GYRO_RADPS
    return Telemetry(Velocity(vx / 1000, vy / 1000, wz / 1000), battery / 1000, bool(flag), extra)
