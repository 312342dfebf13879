"""A pseudo-terminal between the application and a simulated board.

The application's end is a path that it opens like any serial port. A kernel hands bytes over in its own
time, so a lock-step run says how many it waits for.
"""

import fcntl
import os
import select
import struct
import termios
import time
import tty
from pathlib import Path
from typing import Optional

from runtime.errors import ReidEdgeError

_CHUNK = 4096
_PATIENCE_S = 5.0  # a kernel that takes longer to hand over a few bytes is broken


class SerialLine:
    """The board's end of a serial line. A context manager that unplugs at the end.

    Args:
        link: Path that leads to the application's end, as /dev/serial/by-id does. It vanishes while
            unplugged, and leads to a new terminal after ``plug``.

    Attributes:
        dropped: Bytes that the application did not take in time, as a UART drops them.
    """

    def __init__(self, link: Path):
        self.link = Path(link)
        self.dropped = 0
        self._board: Optional[int] = None
        self._application: Optional[int] = None
        self.plug()

    @property
    def plugged(self) -> bool:
        return self._board is not None

    def plug(self) -> None:
        """Plug the cable in; nothing happens when it is."""
        if self.plugged:
            return
        self._board, self._application = os.openpty()
        # Held open here too, so that a program that closes its end does not hang up the line.
        tty.setraw(self._application)
        os.set_blocking(self._board, False)
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.symlink_to(os.ttyname(self._application))
        os.replace(fresh, self.link)

    def unplug(self) -> None:
        """Pull the cable: whoever has the port open gets errors, and its path is gone."""
        if not self.plugged:
            return
        try:
            self.link.unlink()
        except FileNotFoundError:
            pass
        for end in (self._application, self._board):
            os.close(end)  # type: ignore[arg-type]
        self._board = self._application = None

    def read(self, timeout_s: float = 0.0) -> bytes:
        """What the application has sent, waiting for at most ``timeout_s``; empty while unplugged."""
        if self._board is None:
            time.sleep(timeout_s)
            return b""
        if not select.select([self._board], [], [], timeout_s)[0]:
            return b""
        try:
            return os.read(self._board, _CHUNK)
        except (BlockingIOError, OSError):
            return b""

    def read_exactly(self, count: int) -> bytes:
        """``count`` bytes that the application has written already; nothing while unplugged.

        Raises:
            ReidEdgeError: They do not come.
        """
        data = b""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.plugged and len(data) < count:
            data += self.read(0.1)
            if time.monotonic() > deadline_s:
                raise ReidEdgeError(
                    "The simulated serial line gave %d of %d bytes; is another program reading %s?"
                    % (len(data), count, self.link)
                )
        return data

    def write(self, data: bytes, await_s: float = 0.0) -> None:
        """Send to the application; what does not fit is dropped.

        Args:
            data: The bytes.
            await_s: Wait for at most this long until the application could read all of it.
        """
        if self._board is None or not data:
            return
        before = self._waiting()
        try:
            taken = os.write(self._board, data)
        except (BlockingIOError, OSError):
            taken = 0
        self.dropped += len(data) - taken
        deadline_s = time.monotonic() + await_s
        while self._waiting() < before + taken and time.monotonic() < deadline_s:
            time.sleep(0)

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()

    def __enter__(self) -> "SerialLine":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _waiting(self) -> int:
        """Bytes that the application has not read yet."""
        if self._application is None:
            return 0
        counted = fcntl.ioctl(self._application, termios.FIONREAD, b"\0\0\0\0")
        return int(struct.unpack("i", counted)[0])
