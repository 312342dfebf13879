"""Stopping a run by SIGINT or SIGTERM without losing what it has learned."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SAID = b"\nstopping behind this step; again to stop at once\n"


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM; a second one acts as if this were not here."""

    def handle(number, frame) -> None:
        stop()
        signal.signal(number, previous[number])
        os.write(2, _SAID)  # print() may not be interrupted by itself

    try:
        previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller has the signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
