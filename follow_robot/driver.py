"""The driver process: owns the chassis' port and always ends in a stop.

Started by follow_robot.driver_link, never by hand. It reads messages (follow_robot.driver_messages) from its standard input and writes reports to its
standard output. Every tick it sends what the safety gate lets through, zero included. It ends, with
``stop_repeats`` stops on the wire, when the main process asks, closes the pipe, dies (also by
SIGKILL), or says something that is not the protocol; on SIGTERM, SIGINT, SIGHUP and SIGQUIT; and on
any exception. Its exit code is a ``DriverExit``.

It is light on purpose: no NumPy, no OpenCV, no network, nothing that could hold it up.
"""

import contextlib
import dataclasses
import logging
import math
import os
import signal
import sys
import time
import traceback
from typing import Optional, Tuple

from follow_robot.chassis import open_chassis
from follow_robot.chassis.base import Chassis, Telemetry
from follow_robot.chassis.link_quality import LinkQuality
from follow_robot.chassis.port import LOST, RECONNECTED, ReconnectingPort
from follow_robot.driver_messages import (
    Close,
    Configure,
    DriverExit,
    Ended,
    Message,
    Press,
    Rearm,
    Report,
    Tick,
)
from follow_robot.driver_pipe import Ending, EventLog, Pipe
from follow_robot.obstacle import ObstacleReading
from follow_robot.safety_gate import SafetyGate
from follow_robot.velocity import STOP, Command
from runtime.errors import ReidEdgeError

PORT_LOST = "port lost"
# An outage this long was mended by hand, and hands are to be away before the car moves.
REARM_OUTAGE_S = 2.0
STOP_GAP_S = 0.02  # between the stops at the end
FINISH_S = 1.0  # after which a port that is away is given up
_LEAST_GAP_S = 0.005  # between two writes, unless to stop
_DUE_SLACK_S = 0.001
_PR_SET_PDEATHSIG = 1
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # what was touched, and will be, stays


class Driver:
    """The loop between the pipe and the port.

    Args:
        setup: Chassis, limits and parent process.
        chassis, port: Opened by ``main``.
        pipe: Messages from and to the main process.
    """

    def __init__(self, setup: Configure, chassis: Chassis, port: ReconnectingPort, pipe: Pipe):
        self.limits = setup.limits
        if not chassis.holonomic:
            self.limits = dataclasses.replace(setup.limits, lateral_mps=0.0)
        self.gate = SafetyGate(self.limits)
        self._parent, self._chassis, self._port, self._pipe = setup.parent, chassis, port, pipe
        self._quality = LinkQuality()
        self._command: Optional[Command] = None
        self._obstacle: Optional[ObstacleReading] = None
        self._telemetry: Optional[Telemetry] = None
        self._telemetry_s: Optional[float] = None
        self._sent = STOP
        self._sent_s: Optional[float] = None
        self._ticked_s = -math.inf
        self._lost_s = -math.inf
        self._fresh = self._urgent = self._moving = False

    def run(self) -> Ending:
        """Drive until there is a reason to end."""
        self._tick(time.monotonic())
        while True:
            messages = self._pipe.wait(self._next_s() - time.monotonic())
            if self._pipe.ending is None and os.getppid() != self._parent:
                self._pipe.ending = Ending(DriverExit.MAIN_GONE, "the main process died")
            for message in messages:
                ending = self._take(message)
                if ending is not None:
                    return ending
            if self._pipe.ending is not None:
                return self._pipe.ending
            now_s = time.monotonic()
            if self._urgent or now_s >= self._next_s():
                self._tick(now_s)

    def finish(self) -> bool:
        """Send the last stops and close the port; whether all of them went out."""
        left, give_up_s = self.limits.stop_repeats, time.monotonic() + FINISH_S
        while left:
            self._port.poll()
            if self._port.write(self._chassis.stop()):
                left -= 1
            elif time.monotonic() >= give_up_s:
                break
            time.sleep(STOP_GAP_S)
        self._port.close()
        return not left

    def _next_s(self) -> float:
        """When the next write is due."""
        next_s = self._ticked_s + 1.0 / self.limits.rate_hz
        if self._fresh:
            next_s = self._ticked_s
        elif self._moving:
            next_s = min(next_s, self.gate.due_s(self._command) + _DUE_SLACK_S)
        return max(next_s, self._ticked_s + _LEAST_GAP_S)

    def _take(self, message: Message) -> Optional[Ending]:
        if isinstance(message, Command):
            self._command, self._fresh = message, True
        elif isinstance(message, ObstacleReading):
            self._obstacle, self._fresh = message, True
        elif isinstance(message, Press):
            self.gate.press(message.reason)
            self._urgent = True
        elif isinstance(message, Rearm):
            self.gate.rearm()
        elif isinstance(message, Close):
            return Ending(DriverExit.CLOSED, "closed")
        else:
            return Ending(DriverExit.BAD_MESSAGE, "the main process configured the driver twice")
        return None

    def _tick(self, now_s: float) -> None:
        """Judge, write, read, report."""
        self._ticked_s, self._fresh, self._urgent = now_s, False, False
        self._watch_port(now_s)
        velocity, verdict = self.gate.judge(self._command, now_s, self._obstacle)
        reasons = verdict
        if velocity.is_stop:
            data = self._chassis.stop()
        else:
            data = self._chassis.encode(velocity)
        written = self._port.write(data)
        self._moving = written and not velocity.is_stop
        if written:
            self._sent, self._sent_s = velocity, time.monotonic()
        else:
            self.gate.stand()
            reasons = (PORT_LOST, *reasons)
        received = self._port.read()
        for heard in self._chassis.feed(received):  # a report may say only part of it
            self._telemetry, self._telemetry_s = heard.over(self._telemetry), now_s
        problem = self._quality.note(len(received), self._chassis.frames)
        if problem is not None:
            self._pipe.say("%s: %s" % (self._port.describe(), problem))
        self._pipe.report(
            Report(
                time.monotonic(),
                self._sent,
                self._sent_s,
                None if self._command is None else self._command.sequence,
                reasons,
                self.gate.pressed,
                self._port.is_open,
                self._telemetry,
                self._telemetry_s,
            )
        )
        self._pipe.report(
            Tick(
                now_s,
                None if self._command is None else self._command.sequence,
                self._obstacle,
                self.gate.pressed,
                velocity,
                verdict,
                data.hex(),
                written,
            )
        )

    def _watch_port(self, now_s: float) -> None:
        event = self._port.poll()
        if event == LOST:
            self._lost_s = now_s
        elif event == RECONNECTED:
            self._quality = LinkQuality()
            away_s = now_s - self._lost_s
            self._pipe.say("The port was away for %.1f s." % away_s)
            if away_s >= REARM_OUTAGE_S:
                self.gate.press("the chassis was unplugged")


def main() -> None:
    """Drive, and end the process; see the module."""
    code = _drive()
    # At once: at this point one more signal, or a thread that ROS left, could only spoil the code.
    os._exit(code)


def _drive() -> int:
    # The pipes get numbers of their own: a stray print goes to standard error, not into the protocol.
    inward, outward = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    pipe = Pipe(inward, outward)
    logging.getLogger().addHandler(EventLog(pipe))
    _end_with_parent()
    _take_precedence()
    try:
        setup = pipe.configuration()
        chassis, port = _open(setup)
    except ReidEdgeError as error:
        pipe.report(Ended(DriverExit.BAD_SETUP, str(error), False))
        return DriverExit.BAD_SETUP
    driver = Driver(setup, chassis, port, pipe)
    crash = None
    try:
        ending = driver.run()
    except BaseException as error:
        ending = Ending(DriverExit.CRASH, "%s: %s" % (type(error).__name__, error))
        crash = error
    stopped = False
    try:
        stopped = driver.finish()
    except BaseException as error:
        crash = crash or error
    pipe.report(Ended(ending.code, ending.reason, stopped))
    if crash is not None:
        traceback.print_exception(type(crash), crash, crash.__traceback__)
        sys.stderr.flush()
    return ending.code


def _open(setup: Configure) -> Tuple[Chassis, ReconnectingPort]:
    chassis, port = open_chassis(setup.chassis)
    reconnecting = ReconnectingPort(port, chassis.start, longest_s=1.0)
    reconnecting.open()
    return chassis, reconnecting


def _take_precedence() -> None:
    """Run before all other programs and keep one's memory from being paged out, where allowed.

    A loaded board must not keep the watchdog waiting. Allowed to root, and to users by ``rtprio`` and
    ``memlock`` in limits.conf.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        with contextlib.suppress(OSError):
            os.nice(-10)
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM when the main process dies, should the pipe not tell (Linux).

    It does not where somebody else holds it open too: a process that main forked and left behind.
    """
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
