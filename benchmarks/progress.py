"""Progress on a terminal: tqdm's bar, or plain lines where tqdm is not installed, as on a board."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Optional, TextIO

_LINE_S = 10.0  # between plain lines


class PlainBar:
    """Lines such as ``evaluating: 1024/6421 img`` every few seconds, with tqdm's methods.

    Args:
        total: Units of the whole.
        desc: What is done.
        unit: Of the count.
        stream: Where to; default: stderr.
        clock_s: Monotonic clock.
    """

    def __init__(
        self,
        total: int,
        desc: str,
        unit: str = "it",
        stream: Optional[TextIO] = None,
        clock_s: Callable[[], float] = time.monotonic,
    ):
        self.total, self.desc, self.unit, self.n = total, desc, unit, 0
        self._stream, self._clock_s = stream or sys.stderr, clock_s
        self._last_s = clock_s()

    def update(self, n: int = 1) -> None:
        self.n += n
        now_s = self._clock_s()
        if self.n >= self.total or now_s - self._last_s >= _LINE_S:
            self._last_s = now_s
            print(
                "%s: %d/%d %s" % (self.desc, self.n, self.total, self.unit),
                file=self._stream,
                flush=True,
            )

    def close(self) -> None:
        """Nothing to put away."""

    def __enter__(self) -> PlainBar:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


class NoBar(PlainBar):
    """Shows nothing."""

    def update(self, n: int = 1) -> None:
        self.n += n


def progress_bar(total: int, desc: str, unit: str = "it", show: bool = True) -> Any:
    """A bar on stderr with ``update(n)``, ``close()`` and ``with``; silent unless stderr is a terminal.

    Args:
        total: Units of the whole.
        desc: What is done.
        unit: Of the count.
        show: False shows nothing even on a terminal.
    """
    if not show or not sys.stderr.isatty():
        return NoBar(total, desc, unit)
    try:
        from tqdm import tqdm
    except ImportError:
        return PlainBar(total, desc, unit)
    return tqdm(total=total, desc=desc, unit=unit, file=sys.stderr)
