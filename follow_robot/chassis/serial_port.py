"""A serial port, through pyserial."""

from __future__ import annotations

import errno
import logging
import os
import select
import termios
import time
from typing import Any, Optional

from follow_robot.chassis.port import Port, PortError
from follow_robot.chassis.serial_faults import explain, holders, reason, without_pyserial

_READ_BYTES = 4096
# At 115200 baud 22 ms of commands. More than that still waiting means that the device has stopped
# taking bytes; what it would get when it wakes up are old velocities.
_BACKLOG_BYTES = 256
_DRAIN_S = 0.2
_PSEUDO_TERMINALS = "/dev/pts/"
# pyserial raises OSErrors of its own, lets those of termios through, and has ValueErrors for speeds.
_FAULTS = (OSError, ValueError, termios.error)

_log = logging.getLogger(__name__)


class SerialPort(Port):
    """8N1, locked against other programs that lock (flock), reads that never wait.

    Bytes are written here rather than by ``serial.Serial.write``: that spins without end when the
    buffer is full and its timeout is 0 (pyserial#280), and with a timeout may raise although all
    was written (pyserial#281). Bytes that the device does not take in time are discarded, so that
    no stale velocity is waiting when it does.

    Attributes:
        backlogs: How often old bytes were discarded because the device did not take them.
    """

    def __init__(
        self,
        path: str,
        baud: int = 115200,
        write_timeout_s: float = 0.05,
        gap_s: float = 0.0,
        lower_lines: bool = False,
    ):
        """Describe the port; ``open`` opens it.

        Args:
            path: The device, or a link to it (/dev/serial/by-id/... survives replugging).
            baud: Bits per second.
            write_timeout_s: Longest time a write may take.
            gap_s: Least time from one write to the next.
            lower_lines: Lower DTR and RTS after opening, on boards that wire them to reset.
        """
        self.path, self.baud = path, baud
        self.backlogs = 0
        self._write_timeout_s, self._gap_s, self._lower_lines = write_timeout_s, gap_s, lower_lines
        self._serial: Optional[Any] = None
        self._written_s = -1e9
        self._faulty = False

    @property
    def is_open(self) -> bool:
        return self._serial is not None

    def describe(self) -> str:
        return "%s at %d baud" % (self.path, self.baud)

    def open(self) -> None:
        if self._serial is not None:
            return
        try:
            import serial
        except ImportError:
            raise PortError(without_pyserial()) from None
        try:
            self._serial = serial.Serial(
                self.path,
                self.baud,
                timeout=0,
                write_timeout=self._write_timeout_s,
                exclusive=True,
            )
            if self._lower_lines:
                self._lower(self._serial)
        except _FAULTS as error:
            self.close()
            raise PortError(explain(self.path, self.baud, error)) from None
        self._faulty = False
        self._warn_if_shared()

    def write(self, data: bytes) -> None:
        port = self._opened()
        pause_s = self._written_s + self._gap_s - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        try:
            if port.out_waiting > _BACKLOG_BYTES:
                port.reset_output_buffer()
                self.backlogs += 1
            taken = self._send(port, data)
            if not taken:
                port.reset_output_buffer()
                self.backlogs += 1
        except _FAULTS as error:
            raise PortError(self._lost(error)) from None
        self._written_s = time.monotonic()
        if not taken:
            self._faulty = True
            raise PortError(
                "Serial port %s took no more bytes for %g s; check the chassis, its cable and "
                "whether it is switched on." % (self.path, self._write_timeout_s)
            )

    def _send(self, port, data):
        """Whether all of ``data`` was written in time."""
        rest = memoryview(data)
        deadline_s = time.monotonic() + self._write_timeout_s
        while True:
            try:
                rest = rest[os.write(port.fileno(), rest) :]
            except BlockingIOError:
                pass
            if not rest:
                return True
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([], [port.fileno()], [], left_s)[1]:
                return False

    def read(self) -> bytes:
        port = self._opened()
        try:
            return port.read(_READ_BYTES)
        except _FAULTS as error:
            raise PortError(self._lost(error)) from None

    def close(self) -> None:
        port, self._serial = self._serial, None
        if port is None:
            return
        try:
            deadline_s = time.monotonic() + (0 if self._faulty else _DRAIN_S)
            while port.out_waiting and time.monotonic() < deadline_s:
                time.sleep(0.001)
            # Otherwise the kernel waits in close for a device that takes nothing, up to 30 s.
            if port.out_waiting:
                port.reset_output_buffer()
        except _FAULTS:
            pass  # unplugged: nothing left to wait for
        try:
            port.close()
        except _FAULTS as error:
            _log.warning("Closing %s: %s", self.path, error)

    def _opened(self):
        if self._serial is None:
            raise PortError("Serial port %s was used before it was opened." % self.path)
        return self._serial

    def _lost(self, error):
        self._faulty = True
        return "Serial port %s was lost (%s); plug it in again." % (self.path, reason(error))

    def _lower(self, port):
        """RTS before DTR: on an ESP32 the other order passes through its reset."""
        for line in ("rts", "dtr"):
            try:
                setattr(port, line, False)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTTY):  # a pseudo-terminal has none
                    raise

    def _warn_if_shared(self):
        """Say who else has the port open without locking it: both would command the car."""
        real = os.path.realpath(self.path)
        if real.startswith(_PSEUDO_TERMINALS):  # held by whoever plays the chassis
            return
        others = holders(real)
        if others:
            _log.warning(
                "Serial port %s is also open in %s; end it, or both command the car.",
                self.path,
                ", ".join(others),
            )
