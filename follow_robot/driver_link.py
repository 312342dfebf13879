"""The main process' side of the driver process: starts it, feeds it, and watches over it.

    with DriverLink("wheeltec:/dev/ttyUSB0", SafetyLimits()) as link:
        link.send(command)                   # as often as there is a new one
        link.press("button"); link.rearm()   # emergency stop
        link.status()

The car stops on every way out: ``close`` and the end of the main process have the driver stop it,
and should the driver die or hang, this side opens the port and does it.
"""

import contextlib
import fcntl
import logging
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Optional, Tuple, Union

from follow_robot.driver_messages import (
    TO_MAIN,
    Close,
    Configure,
    DriverExit,
    Ended,
    Event,
    LineReader,
    Message,
    Press,
    Rearm,
    Report,
    Tick,
    encode,
)
from follow_robot.driver_status import ENDED, RUNNING, STARTING, DriverStatus
from follow_robot.emergency_stop import emergency_stop
from follow_robot.obstacle import ObstacleReading
from follow_robot.outbox import Outbox
from follow_robot.safety_limits import SafetyLimits
from follow_robot.velocity import STOP, Command, Velocity
from runtime.errors import ReidEdgeError

WATCH_S = 0.02  # at most between two looks at the driver process
HUNG_S = 0.6  # without a report, a driver is killed
START_S = 15.0  # for Python to start and the port to open
_TERM_S, _KILL_S = 2.0, 3.0  # after close
_MAX_EVENTS = 50
_F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)

# The folder this process was started in is no place to import from, so not "-m follow_robot.driver".
_PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); from follow_robot.driver import main; main()"
)

_log = logging.getLogger(__name__)


class DriverLink:
    """Owns one driver process; all methods may be called from any thread, also signal handlers.

    Args:
        chassis: Specification, as for ``follow_robot.chassis.open_chassis``.
        limits: What the safety gate enforces.
        listen: Gets every report and tick of the driver, in the thread that watches over it; must
            not wait.
    """

    def __init__(
        self,
        chassis: str,
        limits: Optional[SafetyLimits] = None,
        listen: Callable[[Union[Report, Tick]], object] = lambda message: None,
    ):
        self.chassis, self.limits, self._listen = chassis, limits or SafetyLimits(), listen
        self._outbox = Outbox()
        self._reader = LineReader(TO_MAIN)
        self._report: Optional[Report] = None
        self._heard_s = 0.0  # when the driver was heard last, or started
        self._events: Tuple[Event, ...] = ()
        self._ended: Optional[Ended] = None
        self._end: Optional[str] = None
        self._stopped = False  # at the end
        self._deaf = False
        self._started = threading.Event()  # or failed to
        self._closed_s: Optional[float] = None
        self._process: Optional[subprocess.Popen] = None
        self._thread: Optional[threading.Thread] = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> "DriverLink":
        """Start the driver process; returns once it holds the port.

        Raises:
            ReidEdgeError: It cannot start, or the chassis or its port cannot be used.
        """
        if self._thread is not None:
            raise ReidEdgeError("This driver link was already started; make a new one.")
        # This thread starts the process too: the kernel's death signal of the driver follows the
        # thread that started it.
        self._thread = threading.Thread(target=self._run, name="driver link", daemon=True)
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.close()
            raise
        if self._report is None:
            self.close()
            if self._ended is not None and self._ended.code == DriverExit.BAD_SETUP:
                raise ReidEdgeError(self._ended.reason)
            raise ReidEdgeError("The driver process did not start: %s." % self._end)
        return self

    def close(self) -> None:
        """Stop the car and end the driver; returns when it is gone. May be called twice."""
        if self._thread is None:
            return
        if self._closed_s is None:
            self._closed_s = time.monotonic()
            self._outbox.order(encode(Close()))
        if self._thread is not threading.current_thread():
            self._thread.join(_KILL_S + 5)

    def __enter__(self) -> "DriverLink":
        return self.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    # -- talking ---------------------------------------------------------------------------------

    def send(self, command: Command) -> bool:
        """Hand over the newest command; whether the driver's pipe took it.

        Never waits for the driver. A command that was not taken is replaced by the next.
        """
        plain = Command(  # NumPy's numbers are no JSON
            Velocity(*(float(v) for v in command.velocity)),
            float(command.frame_time_s),
            float(command.target_time_s),
            float(command.made_s),
            int(command.sequence),
        )
        return self._outbox.command(encode(plain))

    def obstacle(self, distance_m: float, time_s: float) -> None:
        """Hand over a reading of what is ahead, see ``ObstacleReading``."""
        self._outbox.obstacle(encode(ObstacleReading(float(distance_m), float(time_s))))

    def press(self, reason: str) -> None:
        """Latch the emergency stop."""
        self._outbox.order(encode(Press(reason)))

    def rearm(self) -> None:
        """Release the emergency stop; only ever on a person's wish."""
        self._outbox.order(encode(Rearm()))

    def status(self) -> DriverStatus:
        """What is known now."""
        now_s, report, ended = time.monotonic(), self._report, self._end is not None
        if report is None:
            report = Report(now_s, STOP, None, None, (), (), False, None, None)
            state, report_age_s = STARTING, None
        else:
            state, report_age_s = RUNNING, now_s - report.time_s
        heard_s = report.telemetry_s
        return DriverStatus(
            ENDED if ended else state,
            STOP if self._stopped else report.sent,
            report.sent_s,
            report.sequence,
            report.reasons,
            report.pressed,
            report.port_open and not ended,
            report.telemetry,
            None if heard_s is None else now_s - heard_s,
            report_age_s,
            self._events,
            self._outbox.fault,
            self._end,
        )

    # -- watching: all of this in the thread -----------------------------------------------------

    def _run(self) -> None:
        try:
            self._spawn()
            reason = self._watch()
        except Exception as error:  # whatever it is, the car is stopped below
            reason = "%s: %s" % (type(error).__name__, error)
        try:
            self._bury(reason)
        finally:
            self._started.set()

    def _spawn(self) -> None:
        configure = encode(Configure(self.chassis, self.limits, os.getpid()))
        # The driver finds the same code as this process, wherever that was started.
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._heard_s = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends the driver
            env=dict(os.environ, PYTHONPATH=path),
        )
        inward, outward = self._process.stdin, self._process.stdout
        assert inward is not None and outward is not None
        os.set_blocking(inward.fileno(), False)
        os.set_blocking(outward.fileno(), False)
        with contextlib.suppress(OSError):  # the fewer old commands fit, the better
            fcntl.fcntl(inward.fileno(), _F_SETPIPE_SZ, 4096)
        self._outbox.open(inward.fileno(), configure)

    def _watch(self) -> str:
        """Read reports until the process has ended by itself (empty) or must be ended (why)."""
        assert self._process is not None and self._process.stdout is not None
        out = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(out, select.POLLIN)
        while True:
            looked_s = time.monotonic()
            if poller.poll(WATCH_S * 1000):
                data = os.read(out, 1 << 16)
                if not data:
                    return ""
                self._take(data)
            elif self._process.poll() is not None:
                return ""
            else:
                late = self._late(looked_s)
                if late is not None:
                    return late
            self._outbox.flush(patience_s=1.0)

    def _late(self, now_s: float) -> Optional[str]:
        """Why the process, which was silent at ``now_s``, must be killed, or None."""
        assert self._process is not None
        if self._closed_s is not None:
            if now_s - self._closed_s > _TERM_S:
                self._process.terminate()
            return "it did not close" if now_s - self._closed_s > _KILL_S else None
        longest_s = START_S if self._report is None else HUNG_S
        if now_s - self._heard_s > longest_s:
            return "it gave no sign of life for %g s" % longest_s
        return None

    def _take(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            self._heard_s = time.monotonic()
            self._note(message)

    def _note(self, message: Message) -> None:
        if isinstance(message, Report):
            self._report = message
            self._started.set()
            self._tell(message)
        elif isinstance(message, Tick):
            self._tell(message)
        elif isinstance(message, Event):
            _log.warning("Driver: %s", message.text)
            self._events = (*self._events, message)[-_MAX_EVENTS:]
        elif isinstance(message, Ended):
            self._ended = message

    def _tell(self, message: Union[Report, Tick]) -> None:
        try:
            self._listen(message)
        except Exception:  # a mistake of the listener's is no reason to lose the driver
            if not self._deaf:
                _log.exception("Who listens to the driver failed; what follows is not said.")
            self._deaf = True

    def _bury(self, reason: str) -> None:
        """After the end of the process: see to it that the car was stopped, and say why it ended."""
        process, ended = self._process, self._ended
        if process is not None:
            if reason:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            process.kill()
            code = process.wait()
            with contextlib.suppress(Exception):  # its last words
                self._take(process.stdout.read() or b"")  # type: ignore[union-attr]
            ended = self._ended
            if ended is not None:
                reason = ended.reason
            elif not reason:
                reason = "signal %d" % -code if code < 0 else "exit code %d" % code
            self._stopped = ended is not None and ended.stopped
            if not self._stopped and not (ended and ended.code == DriverExit.BAD_SETUP):
                reason += self._take_over()
            self._outbox.close()
            process.stdin.close()  # type: ignore[union-attr]
            process.stdout.close()  # type: ignore[union-attr]
        self._end = reason
        if self._closed_s is None and self._started.is_set():
            _log.error("The driver process has ended: %s.", reason)

    def _take_over(self) -> str:
        """Stop the car from here; how that went."""
        try:
            emergency_stop(self.chassis, self.limits.stop_repeats)
            self._stopped = True
        except Exception as error:
            return "; the car could not be stopped: %s" % error
        return "; the car was stopped by the main process"
