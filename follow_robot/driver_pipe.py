"""The driver process' end of the pipes to the main process, and the signals it gets."""

import logging
import os
import select
import signal
import time
from collections import deque
from typing import Deque, List, NamedTuple, Optional

from follow_robot.driver_messages import (
    TO_DRIVER,
    Configure,
    DriverExit,
    Event,
    LineReader,
    Message,
    MessageError,
    encode,
)
from runtime.errors import ReidEdgeError

_CONFIGURE_S = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_log = logging.getLogger(__name__)


class Ending(NamedTuple):
    """Why the driver ends."""

    code: DriverExit
    reason: str


class Pipe:
    """Both pipes to the main process, and the signals; no write ever waits.

    Attributes:
        ending: Why the driver has to end, as soon as there is a reason.
    """

    def __init__(self, inward: int, outward: int):
        self.ending: Optional[Ending] = None
        self._inward, self._outward = inward, outward
        self._reader = LineReader(TO_DRIVER)
        self._early: List[Message] = []  # what came together with the configuration
        self._events: Deque[Event] = deque(maxlen=20)
        self._wake_read, wake_write = os.pipe()
        for file in (self._wake_read, wake_write, outward):
            os.set_blocking(file, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._signalled)

    def wait(self, timeout_s: float) -> List[Message]:
        """Messages, as soon as there are any, a signal came or the time is over."""
        early, self._early = self._early, []
        if early:
            return early
        readable, _, _ = select.select([self._inward, self._wake_read], [], [], max(timeout_s, 0.0))
        if self._wake_read in readable:
            os.read(self._wake_read, 4096)
        if self._inward not in readable:
            return []
        data = os.read(self._inward, 1 << 16)
        if not data:
            self._end(DriverExit.MAIN_GONE, "the main process is gone")
            return []
        try:
            return self._reader.feed(data)
        except MessageError as error:
            self._end(DriverExit.BAD_MESSAGE, str(error))
            return []

    def configuration(self) -> Configure:
        """The first message.

        Raises:
            ReidEdgeError: It is something else, or nothing comes.
        """
        give_up_s = time.monotonic() + _CONFIGURE_S
        messages: List[Message] = []
        while not messages and self.ending is None and time.monotonic() < give_up_s:
            messages = self.wait(give_up_s - time.monotonic())
        if messages and isinstance(messages[0], Configure):
            self._early = messages[1:]
            return messages[0]
        got = "something else" if messages else "nothing"
        raise ReidEdgeError(
            "The driver expected its configuration from the main process, got %s."
            % (got if self.ending is None else self.ending.reason)
        )

    def say(self, text: str) -> None:
        """An event, sent with the next report."""
        self._events.append(Event(time.monotonic(), text))

    def report(self, message: Message) -> None:
        """Send one message and the events before it; what a full pipe does not take is dropped."""
        while self._events and self._write(self._events[0]):
            self._events.popleft()
        self._write(message)

    def _write(self, message: Message) -> bool:
        try:
            os.write(self._outward, encode(message))  # whole or not at all: see MAX_LINE_BYTES
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._end(DriverExit.MAIN_GONE, "the main process is gone")
        except MessageError as error:
            _log.debug("%s", error)
        return True

    def _signalled(self, number: int, frame: object) -> None:
        self._end(DriverExit.SIGNAL, signal.Signals(number).name)

    def _end(self, code: DriverExit, reason: str) -> None:
        if self.ending is None:
            self.ending = Ending(code, reason)


class EventLog(logging.Handler):
    """Log records as events: a terminal that is held (Ctrl-S) must not hold the driver."""

    def __init__(self, pipe: Pipe):
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.say(record.getMessage())
