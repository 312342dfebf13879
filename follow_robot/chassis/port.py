"""Where a chassis' bytes go to: the interface, ports without a device, and reconnecting."""

from __future__ import annotations

import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from typing import Callable, List, Optional

from runtime.errors import ReidEdgeError

LOST, RECONNECTED = "lost", "reconnected"

_log = logging.getLogger(__name__)


class PortError(ReidEdgeError):
    """A port cannot be opened, or was lost while it was in use."""


class Port(ABC):
    """Takes and gives bytes; a context manager that opens and closes.

    No call waits for a device longer than a stated time. After a PortError of ``write`` or
    ``read`` the port is to be closed; it can be opened again.
    """

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether ``open`` succeeded and ``close`` was not called since."""

    @abstractmethod
    def open(self) -> None:
        """Open it; nothing happens when it is open.

        Raises:
            PortError: It cannot be opened, and why.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Hand over all of ``data``.

        Raises:
            PortError: It is not open, lost, or does not take the bytes in time.
        """

    def read(self) -> bytes:
        """What has arrived, perhaps nothing; never waits.

        Raises:
            PortError: It is not open or lost.
        """
        return b""

    @abstractmethod
    def close(self) -> None:
        """Close it, after what was written has left; never raises."""

    @abstractmethod
    def describe(self) -> str:
        """For messages."""

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class NullPort(Port):
    """Takes everything and keeps nothing."""

    def __init__(self) -> None:
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    def open(self) -> None:
        self._open = True

    def write(self, data: bytes) -> None:
        if not self._open:
            raise PortError("The null port was written to before it was opened.")

    def close(self) -> None:
        self._open = False

    def describe(self) -> str:
        return "nothing"


class FilePort(Port):
    """Appends each line with its monotonic time to a file or standard error.

    Writing waits where the system does: for a slow disk, or for whoever reads a pipe.
    """

    def __init__(self, path: Optional[str] = None, clock: Callable[[], float] = time.monotonic):
        """Name the file.

        Args:
            path: A file, appended to; None for standard error.
            clock: Monotonic time in seconds.
        """
        self._path, self._clock = path, clock
        self._fd: Optional[int] = None

    @property
    def is_open(self) -> bool:
        return self._fd is not None

    def open(self) -> None:
        if self._fd is not None:
            return
        try:
            if self._path is None:
                self._fd = os.dup(sys.__stderr__.fileno())  # type: ignore[union-attr]
            else:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._fd = os.open(self._path, flags, 0o644)
        except (AttributeError, ValueError):  # None, or closed
            raise PortError("There is no standard error to write the commands to.") from None
        except OSError as error:
            raise self._fault(error) from None

    def write(self, data: bytes) -> None:
        if self._fd is None:
            raise PortError("%s was written to before it was opened." % self.describe())
        stamp = b"%.6f " % self._clock()
        lines = memoryview(b"".join(stamp + line for line in data.splitlines(keepends=True)))
        try:
            while lines:
                lines = lines[os.write(self._fd, lines) :]
        except OSError as error:
            raise self._fault(error) from None

    def _fault(self, error):
        return PortError("Cannot write the commands to %s: %s." % (self.describe(), error.strerror))

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def describe(self) -> str:
        return self._path or "standard error"


class ReconnectingPort:
    """A port that is opened again after it was lost, such as a plug pulled and put back.

    Call ``poll`` once per cycle, before writing:

        port = ReconnectingPort(SerialPort("/dev/ttyUSB0"), chassis.start)
        port.open()
        while running:
            event = port.poll()
            port.write(chassis.stop() if velocity.is_stop else chassis.encode(velocity))
            telemetry = chassis.feed(port.read())

    Attributes:
        reconnects: How often it was opened again.
        last_error: Why it is or was lost, one sentence; None if it never was.
    """

    def __init__(
        self,
        port: Port,
        start: Callable[[], List[bytes]] = list,
        first_s: float = 0.2,
        longest_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Wrap ``port``.

        Args:
            port: What is opened and written.
            start: Gives the frames to send after every opening (``Chassis.start``).
            first_s: Wait after a loss; doubles with every failed attempt.
            longest_s: No wait is longer. The waits start anew once the start frames were taken: a
                car that lost its cable still drives, so nothing is worse than waiting.
            clock: Monotonic time in seconds.
        """
        if not 0 < first_s <= longest_s:
            raise ReidEdgeError(
                "Reconnecting needs 0 < first_s <= longest_s, got %r and %r." % (first_s, longest_s)
            )
        self.reconnects = 0
        self.last_error: Optional[str] = None
        self._port, self._start, self._clock = port, start, clock
        self._first_s = self._wait_s = first_s
        self._longest_s = longest_s
        self._next_s = 0.0
        self._retrying = self._news_of_loss = False

    @property
    def is_open(self) -> bool:
        return self._port.is_open

    def describe(self) -> str:
        return self._port.describe()

    def open(self) -> None:
        """Open it for the first time, and send the start frames.

        Raises:
            PortError: It cannot be opened: at the start that is a mistake, not a loss.
        """
        self._connect()

    def poll(self) -> Optional[str]:
        """Try to open a lost port, where it is time for that.

        Returns:
            ``LOST`` once after a loss, ``RECONNECTED`` once after it was opened and the start
            frames were sent, else None.
        """
        if self._news_of_loss:
            self._news_of_loss = False
            return LOST
        if not self._retrying or self._clock() < self._next_s:
            return None
        try:
            self._connect()
        except PortError as error:
            self._fail(error)
            return None
        self._retrying = False
        self.reconnects += 1
        _log.warning("The chassis is back on %s.", self.describe())
        return RECONNECTED

    def write(self, data: bytes) -> bool:
        """Hand over ``data``; whether the port took it. False while it is lost."""
        if not self.is_open:
            return False
        try:
            self._port.write(data)
        except PortError as error:
            self._lose(error)
            return False
        return True

    def read(self) -> bytes:
        """What has arrived; nothing while it is lost."""
        if not self.is_open:
            return b""
        try:
            return self._port.read()
        except PortError as error:
            self._lose(error)
            return b""

    def close(self) -> None:
        """Close it for good."""
        self._retrying = self._news_of_loss = False
        self._port.close()

    def _connect(self):
        self._port.open()
        try:
            for frame in self._start():
                self._port.write(frame)
        except PortError:
            self._port.close()
            raise
        self._wait_s = self._first_s

    def _lose(self, error):
        self._port.close()
        self._retrying = self._news_of_loss = True
        _log.warning("%s", error)
        self._fail(error)

    def _fail(self, error):
        self.last_error = str(error)
        self._next_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._longest_s)
