"""Notices when the loop that answers frames does not come back, such as in a network that hangs."""

from __future__ import annotations

import threading
import time
from typing import Callable

_LOOK_S = 0.1


class HangWatch:
    """Calls ``on_hang(seconds)`` once, from a thread of its own, when no ``beat`` came for too long.

    The car stands still long before: the safety gate takes no old commands. This ends the program,
    which a thread that hangs cannot do itself.

    Args:
        timeout_s: Longest time between two beats.
        on_hang: What to do then.
    """

    def __init__(self, timeout_s: float, on_hang: Callable[[float], object]):
        self.timeout_s = timeout_s
        self._on_hang = on_hang
        self._beat_s = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hang watch", daemon=True)

    def beat(self) -> None:
        """The loop is alive."""
        self._beat_s = time.monotonic()

    def __enter__(self) -> HangWatch:
        self.beat()
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_LOOK_S):
            silent_s = time.monotonic() - self._beat_s
            if silent_s > self.timeout_s:
                self._on_hang(silent_s)
                return
