"""A thread that calls one function again and again until it is told to stop."""

import logging
import threading
import time
from typing import Callable, Optional

_log = logging.getLogger(__name__)

MAX_POLL_S = 0.05  # longest a poll function may wait, so that stopping is quick


class Poller:
    """Calls ``poll`` until stopped, and again after an exception.

    Args:
        name: For the thread and for messages.
        poll: One step; it waits by itself, for ``MAX_POLL_S`` at most.
        period_s: Pause between two calls.
    """

    def __init__(
        self,
        name: str,
        poll: Callable[[], None],
        period_s: float = 0.0,
    ):
        self.name = name
        self._poll, self._period_s = poll, period_s
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Start the thread; again after ``stop`` is allowed."""
        if self._thread is not None:
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; may be called twice, from any thread."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)
            if thread.is_alive():
                _log.warning("%s does not end; it is left to itself.", self.name)

    def _run(self) -> None:
        failing = False
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                self._poll()
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("%s failed, and is tried again: %s", self.name, error)
                failing = True
                self._stop.wait(MAX_POLL_S)
            self._stop.wait(max(self._period_s - (time.monotonic() - began_s), 0.0))
