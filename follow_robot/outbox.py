"""What waits to be written to the driver process: every order, but only the newest of the rest."""

import logging
import os
import threading
from collections import deque
from typing import Deque, Optional

_log = logging.getLogger(__name__)

FULL = "the driver takes no commands"


class Outbox:
    """A pipe that is written without ever waiting for its reader.

    All methods may be called from any thread and from signal handlers.

    Attributes:
        fault: ``FULL`` while the pipe takes nothing more, else None.
    """

    def __init__(self) -> None:
        self.fault: Optional[str] = None
        self._lock = threading.Lock()
        self._file: Optional[int] = None
        self._orders: Deque[bytes] = deque()
        self._obstacle: Optional[bytes] = None
        self._command: Optional[bytes] = None

    def open(self, file: int, first: bytes) -> None:
        """Write to this non-blocking file from now on, ``first`` before all else.

        Raises:
            OSError: It does not take that.
        """
        with self._lock:
            os.write(file, first)
            self._file = file

    def close(self) -> None:
        """Write no more; what waits is dropped."""
        with self._lock:
            self._file = None

    def order(self, line: bytes) -> bool:
        """A line of which none may be lost."""
        self._orders.append(line)
        return self.flush()

    def obstacle(self, line: bytes) -> bool:
        """A reading of what is ahead; it replaces one that waits."""
        self._obstacle = line
        return self.flush()

    def command(self, line: bytes) -> bool:
        """A command; it replaces one that waits."""
        self._command = line
        return self.flush()

    def flush(self, patience_s: float = 0.01) -> bool:
        """Write what waits, as far as the pipe takes it; whether all of it was written."""
        # The lock may be held by this very thread, when this is a signal handler that came in the
        # middle of the lines below. Then, as after any wait in vain, the next flush writes it.
        if not self._lock.acquire(timeout=patience_s):
            return False
        try:
            while self._orders:
                if not self._write(self._orders[0]):
                    return False
                self._orders.popleft()
            line, self._obstacle = self._obstacle, None
            if line is not None and not self._write(line):
                self._obstacle = self._obstacle or line
                return False
            line, self._command = self._command, None
            if line is not None and not self._write(line):
                self._command = self._command or line
                return False
            return True
        finally:
            self._lock.release()

    def _write(self, line: bytes) -> bool:
        if self._file is None:
            return False
        try:
            os.write(self._file, line)  # all of it or nothing: it is short enough for that
        except BlockingIOError:
            if self.fault is None:
                _log.warning("The driver process takes no commands: its pipe is full.")
            self.fault = FULL
            return False
        except BrokenPipeError:
            return False  # who watches the process sees to it
        self.fault = None
        return True
