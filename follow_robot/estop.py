"""Who may press the emergency stop: the keyboard, signals, a heartbeat that fails, and devices.

A stop is latched by the safety gate. So a source may call back as often as it likes, and one that is
held down (a locked button, a lost heartbeat) does so all the time: re-arming does not help against
it. A source that breaks presses too: nobody could press it any more.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, Optional

from follow_robot.polling import MAX_POLL_S, Poller
from runtime.errors import ReidEdgeError

try:
    import termios
    import tty
except ImportError:  # not a POSIX system
    termios = tty = None  # type: ignore[assignment]

Press = Callable[[str], None]  # the reason


class StopSource(ABC):
    """Something that stops the car."""

    name: str

    @abstractmethod
    def start(self, press: Press) -> None:
        """Call ``press(reason)`` from now on whenever it says stop, from any thread.

        Raises:
            ReidEdgeError: It cannot be opened.
        """

    @abstractmethod
    def stop(self) -> None:
        """No more calls; what was opened is closed. May be called twice."""


class PolledStop(StopSource):
    """A source that a thread of its own looks at."""

    def __init__(self, name: str, period_s: float = 0.0):
        self.name = name
        self._press: Press = lambda reason: None
        self._broken: Optional[str] = None
        self._poller = Poller("stop by " + name, self._step, period_s)

    def start(self, press: Press) -> None:
        self._press, self._broken = press, None
        self._open()
        self._poller.start()

    def stop(self) -> None:
        self._poller.stop()
        self._close()

    def _step(self) -> None:
        if self._broken is None:
            try:
                self._poll()
                return
            except Exception as error:
                self._broken = "%s broke: %s" % (self.name, error)
        self._press(self._broken)
        time.sleep(MAX_POLL_S)

    @abstractmethod
    def _poll(self) -> None:
        """Look once, waiting for ``MAX_POLL_S`` at most, and ``_press`` if it says stop."""

    def _open(self) -> None:
        """Take hold of the source."""

    def _close(self) -> None:
        """Let go of it."""


class KeyboardStop(PolledStop):
    """Any key on the terminal, or only some.

    Keys come without Enter and are not shown; the terminal is put back on ``stop`` and at the end
    of the process. Ctrl-C stays what it is.

    Args:
        keys: Characters that stop; None for all.
        file: A terminal's file descriptor.
    """

    def __init__(self, keys: Optional[str] = None, file: int = 0):
        super().__init__("keyboard")
        self._keys = None if keys is None else set(keys.encode())
        self._file = file
        self._before: Optional[Any] = None

    def _open(self) -> None:
        if termios is None or not os.isatty(self._file):
            raise ReidEdgeError(
                "The keyboard can stop the car only from a terminal, and the standard input is none; "
                "start it from a terminal or turn the keyboard off."
            )
        if not _in_foreground(self._file):
            raise ReidEdgeError(
                "The keyboard can stop the car only from the terminal's foreground; start it without "
                "& or turn the keyboard off."
            )
        self._before = termios.tcgetattr(self._file)
        atexit.register(self._close)
        tty.setcbreak(self._file, termios.TCSANOW)

    def _close(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            atexit.unregister(self._close)
            try:
                termios.tcsetattr(self._file, termios.TCSANOW, before)
            except termios.error:
                pass  # the terminal is gone, and its settings with it

    def _poll(self) -> None:
        if not select.select([self._file], [], [], MAX_POLL_S)[0]:
            return
        keys = os.read(self._file, 1024)
        if not keys:
            raise ReidEdgeError("the terminal was closed")
        if self._keys is None or self._keys & set(keys):
            self._press(self.name)


def _in_foreground(file: int) -> bool:
    """Whether this process may change the terminal's settings without being stopped for it."""
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:  # a terminal, but not the one that controls this process
        return True


class SignalStop(StopSource):
    """SIGTERM, SIGINT and SIGHUP: the car is stopped first, then the signal does what it did before.

    Where it would have ended the process at once, it ends it by SystemExit, so that everything is
    closed. To be started and stopped in the main thread.

    Args:
        end: Asks the program to end. With it the first signal raises nothing, because an exception
            that comes in the middle of anything may be swallowed there (a finalizer, a library's
            callback); the program calls ``follow_through`` when it has closed everything. A second
            signal does at once what it did before.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    name = "signal"

    def __init__(self, end: Optional[Callable[[], object]] = None) -> None:
        self._end = end
        self._press: Press = lambda reason: None
        self._before: Dict[int, Any] = {}
        self._caught: Optional[Callable[[], None]] = None

    def start(self, press: Press) -> None:
        self._press = press
        for number in self.NUMBERS:
            self._before[number] = signal.signal(number, self._handle)

    def stop(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def follow_through(self) -> None:
        """Let the signal that asked for the end, if one did, do what it did before."""
        if self._caught is not None:
            self._caught()

    def _handle(self, number: int, frame: Any) -> None:
        self._press(signal.Signals(number).name)
        before = self._before.get(number)

        def as_before() -> None:
            if callable(before):
                before(number, frame)
            elif before == signal.SIG_DFL:
                sys.exit(128 + number)

        if before == signal.SIG_IGN:
            return
        if self._end is None or self._caught is not None:
            as_before()
        else:
            self._caught = as_before
            self._end()


class HeartbeatStop(PolledStop):
    """Somebody who has to keep saying that all is well, such as a remote control's link.

    The stop engages when ``beat`` was not called for ``timeout_s``, as the locks of ROS's twist_mux
    do; also when it was never called.
    """

    def __init__(
        self,
        name: str = "heartbeat",
        timeout_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__(name, min(timeout_s / 4, MAX_POLL_S))
        self.timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._beat_s = 0.0

    def _open(self) -> None:
        self.beat()

    def beat(self) -> None:
        """All is well; from any thread."""
        with self._lock:
            self._beat_s = self._clock()

    def _poll(self) -> None:
        with self._lock:
            silent_s = self._clock() - self._beat_s
        if silent_s > self.timeout_s:
            self._press(self.name + " lost")


def open_stop(spec: str) -> StopSource:
    """The source a setting names: ``keyboard``, ``joystick[:PATH]`` or ``gpio:PIN[,low]``.

    Raises:
        ReidEdgeError: No such kind, or its parameters cannot be read.
    """
    kind, _, rest = spec.partition(":")
    from follow_robot.estop_devices import GpioStop, JoystickStop

    if spec == "keyboard":
        return KeyboardStop()
    if spec == "joystick":
        return JoystickStop()
    if kind == "joystick" and rest:
        return JoystickStop(rest)
    pin, _, level = rest.partition(",")
    if kind == "gpio" and pin.isdigit() and level in ("", "low"):
        return GpioStop(int(pin), 0 if level else 1)
    raise ReidEdgeError(
        "A stop is given as keyboard, joystick[:PATH] or gpio:PIN[,low], got %r." % spec
    )
