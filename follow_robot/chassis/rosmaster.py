"""Yahboom's Rosmaster boards (X3, X3 Plus, X1, R2)."""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple

from follow_robot.chassis.base import Chassis, Telemetry, thousandths
from follow_robot.chassis.framing import FrameScanner
from follow_robot.velocity import Velocity
from runtime.errors import ReidEdgeError

TO_BOARD, FROM_BOARD = b"\xff\xfc", b"\xff\xfb"
AUTO_REPORT, MOTION = 0x01, 0x12
SPEED, MPU9250, ATTITUDE, ENCODERS, ICM20948 = 0x0A, 0x0B, 0x0C, 0x0D, 0x0E
# LEN counts LEN, TYPE, data and checksum, so the header comes on top. The longest known report holds
# 18 bytes of data; more than twice that is none, so that a false header does not hold up the rest.
_SHORTEST_LEN, _LONGEST_BYTES = 3, 50


class Car(NamedTuple):
    """One model.

    Attributes:
        code: Its number on the wire.
        vx_mps, vy_mps, wz_radps: What its firmware accepts, either way.
    """

    code: int
    vx_mps: float
    vy_mps: float
    wz_radps: float


# Ranges as the vendor's library states them. It has none for the X1, a four-wheel skid-steer of the
# X3's size: the X3's, without sideways. On the R2 (Ackermann) the second number of a motion command
# is a steering angle; 0 leaves the steering to vx and wz.
CARS: Dict[str, Car] = {
    "x3": Car(1, 1.0, 1.0, 5.0),
    "x3plus": Car(2, 0.7, 0.7, 3.2),
    "x1": Car(4, 1.0, 0.0, 5.0),
    "r2": Car(5, 1.8, 0.0, 3.0),
}


class Rosmaster(Chassis):
    """``FF FC LEN FUNC payload CK`` to the board, ``FF FB LEN TYPE data CK`` from it.

    int16 little-endian, mm/s and mrad/s; CK is the sum of LEN and all that follows, modulo 256.
    Source: Yahboom's Rosmaster_Lib 3.3.9, which knows of no stop on silence. The firmware brakes
    the motors on a motion command of zeros, so nothing is stronger.
    """

    name = "rosmaster"
    baud = 115200
    reads = True
    gap_s = 0.002  # the vendor's library waits this long after every command

    def __init__(self, car: str = "x3"):
        """Choose the model.

        Args:
            car: A name of ``CARS``.

        Raises:
            ReidEdgeError: Another name.
        """
        super().__init__()
        if car not in CARS:
            raise ReidEdgeError(
                "car of a rosmaster chassis must be one of %s, got %r." % (", ".join(CARS), car)
            )
        self.car = CARS[car]
        self.holonomic = self.car.vy_mps > 0
        self._steers = car == "r2"
        self._scanner = FrameScanner(FROM_BOARD, 3, _length, _is_report, _LONGEST_BYTES)

    @property
    def frames(self) -> int:
        return self._scanner.frames

    def start(self) -> List[bytes]:
        return [self.stop(), _command(AUTO_REPORT, b"\x01\x00")]  # on, but not for ever in flash

    def _encode(self, velocity: Velocity) -> bytes:
        limited = self._limit(velocity, self.car[1:])
        return _command(MOTION, struct.pack("<B3h", self.car.code, *thousandths(limited)))

    def feed(self, data: bytes) -> List[Telemetry]:
        read = (self._read(frame[3], frame[4:-1]) for frame in self._scanner.feed(data))
        return [telemetry for telemetry in read if telemetry is not None]

    def _read(self, kind, data):
        """Telemetry of one report, None where the type is unknown or too short."""
        try:
            if kind == SPEED:
                vx, vy, wz, battery = struct.unpack_from("<3hB", data)
                extra = {}
                if self._steers:  # not a speed: the R2 reports its steering angle here
                    extra, vy = {"steering_deg": float(vy)}, 0
                return Telemetry(
                    Velocity(vx / 1000, vy / 1000, wz / 1000), battery / 10, None, extra
                )
            if kind == ATTITUDE:
                angles = struct.unpack_from("<3h", data)
                names = ("roll_rad", "pitch_rad", "yaw_rad")
                return Telemetry(extra={n: a / 10000 for n, a in zip(names, angles)})
            if kind == ENCODERS:
                counts = struct.unpack_from("<4i", data)
                return Telemetry(
                    extra={"encoder_%d" % i: float(c) for i, c in enumerate(counts, 1)}
                )
            if kind in (MPU9250, ICM20948):
                return Telemetry(extra=_inertial(kind, struct.unpack_from("<6h", data)))
        except struct.error:
            pass
        return None


def _command(function, payload):
    body = bytes([len(payload) + 3, function]) + payload
    return TO_BOARD + body + bytes([sum(body) & 0xFF])


def _length(head):
    return head[2] + 2 if head[2] >= _SHORTEST_LEN else 0


def _is_report(frame):
    return sum(frame[2:-1]) & 0xFF == frame[-1]


def _inertial(kind, counts):
    if kind == MPU9250:  # its y and z gyro axes point the other way
        gyro, accel = (1 / 3754.9, -1 / 3754.9, -1 / 3754.9), 1 / 1671.84
    else:
        gyro, accel = (1 / 1000,) * 3, 1 / 1000
    extra = {"gyro_%s_radps" % a: c * g for a, c, g in zip("xyz", counts[:3], gyro)}
    extra.update({"accel_%s_mps2" % a: c * accel for a, c in zip("xyz", counts[3:])})
    return extra
