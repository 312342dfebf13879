"""The live car: frames in, commands out, until the source ends or somebody ends it.

The driver process is started first and ended last, so that whatever fails in between, the car is
stopped by somebody who is still alive.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from contextlib import ExitStack, suppress
from typing import Optional, Sequence

from follow_robot.app_view import AppView, parameters_of
from follow_robot.black_box import BlackBox, header_of
from follow_robot.black_box_records import Entry
from follow_robot.chain import follower_of, perception_of
from follow_robot.chassis import open_chassis
from follow_robot.config import Config
from follow_robot.dashboard.hub import Hub
from follow_robot.dashboard.server import DashboardServer
from follow_robot.driver_link import DriverLink
from follow_robot.driver_reports import DriverReports
from follow_robot.estop import KeyboardStop, SignalStop, StopSource, open_stop
from follow_robot.eyes import Eyes
from follow_robot.frame_guard import FrameGuard
from follow_robot.hang_watch import HangWatch
from follow_robot.obstacle import open_obstacle
from follow_robot.pilot import Pilot
from follow_robot.wishes import FirstWish, Wishes, choices_of
from runtime.errors import ReidEdgeError
from runtime.sources import Frame

FAILED = 4  # exit code: a part failed while driving
HANG_S = 10.0  # a frame that takes longer ends the program
_READ_S = 0.1  # longest wait for a frame
_FAILURES = 20  # frames in a row that may fail
_BEHIND_S = 0.15  # a file's frames that are later than this are skipped

_log = logging.getLogger(__name__)


class PartFailed(ReidEdgeError):
    """A part of the car failed while driving."""

    exit_code = FAILED


class App:
    """One run of the car.

    Args:
        config: Every setting; its sections ``source``, ``detector`` and ``bundle`` are already open
            in ``eyes``.
        eyes: What looks.
        first: Whom to follow and whether to go, from the start.
        stops: More sources of an emergency stop than the configuration names.
        hang_s: A frame that takes longer ends the program.

    Attributes:
        hub: Where the page meets the car.
        server: The page's server while running, or None.
        started: Whether everything could be opened, so that the car may have moved.
        frames: How many were answered.
        reports: What the driver said: latencies, motion.
    """

    def __init__(
        self,
        config: Config,
        eyes: Eyes,
        first: Optional[FirstWish] = None,
        stops: Sequence[StopSource] = (),
        hang_s: float = HANG_S,
    ):
        self.config, self._eyes, self._hang_s = config, eyes, hang_s
        self._wishes = Wishes(first or FirstWish(None, False))
        self._stops = list(stops)
        self.started = False
        self.frames = 0
        self.reports = DriverReports(self._record)
        self.link = DriverLink(config.chassis.open, config.safety, self.reports.hear)
        self.hub = Hub(parameters_of(config), self.link.press)
        self.server: Optional[DashboardServer] = None
        perception = perception_of(config, eyes.strangers, eyes.detect, eyes.embed)
        self.pilot = Pilot(
            perception, follower_of(config), FrameGuard(config.source.guard), self._record
        )
        self.view = AppView(
            self.hub,
            self.link,
            self.pilot.follower,
            config.lock,
            eyes.source.name,
            self._record,
        )
        self._frame_s: Optional[float] = None  # of the newest frame
        self._failures = 0
        self._offset_s: Optional[float] = None
        self._ended = threading.Event()

    # -- life ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Drive until the source ends, ``end`` is called, or a signal or an exception comes.

        Raises:
            PartFailed: The camera, a network or the driver failed for good; the car was stopped.
            ReidEdgeError: Something cannot be opened; nothing has moved.
        """
        config, signals = self.config, SignalStop(self._ended.set)
        with ExitStack() as stack:
            stack.enter_context(self.link)
            if config.recording.folder:
                self.view.box = stack.enter_context(self._open_box())
                stack.callback(self._close_link)  # before the box, which gets the last stops
            self._add_stops(signals)
            for stop in self._stops:
                stop.start(self.link.press)
                stack.callback(stop.stop)
            if config.obstacle.open is not None:
                sensor = open_obstacle(config.obstacle.open)
                sensor.start(self.link.obstacle)
                stack.callback(sensor.stop)
            if config.dashboard.enabled:
                self.server = stack.enter_context(DashboardServer(self.hub, config.dashboard))
                self.view.watched = True
                _log.info("Dashboard: %s", self.server.url)
            watch = stack.enter_context(HangWatch(self._hang_s, self._hung))
            gc.collect()
            gc.freeze()  # what is there now stays: the collector need not look at it while driving
            stack.callback(gc.unfreeze)
            self.started = True
            try:
                while not self._ended.is_set():
                    watch.beat()
                    if not self._once():
                        break
            finally:
                self._halt()
                self.view.note("the run ends")
        signals.follow_through()

    def end(self) -> None:
        """End the run after this frame; from any thread."""
        self._ended.set()

    # -- one frame -------------------------------------------------------------------------------

    def _once(self) -> bool:
        """Wait for a frame and answer it; false at the end."""
        source = self._eyes.source
        try:
            frame = source.read(_READ_S)
        except ReidEdgeError as error:
            raise PartFailed(str(error)) from None
        except Exception as error:  # of a camera's library
            raise PartFailed("%s failed: %s." % (source.name, _said(error))) from error
        self.reports.take()
        self._listen()
        if frame is None:
            if source.ended:
                return False
            self.view.without_frame()
            return True
        time_s = self._time_of(frame)
        if time_s is not None:
            self._answer(frame, time_s)
        return True

    def _answer(self, frame: Frame, time_s: float) -> None:
        choices, dropped = self._wishes.take(self.pilot.perception.last, time.monotonic())
        for sentence in dropped:
            self.view.note(sentence, "warning", page=True)
        before_s = time_s if self._frame_s is None else self._frame_s
        ego = self.reports.motion.mean(before_s, time_s)
        try:
            answer = self.pilot.answer(frame.image, time_s, ego, choices)
        except Exception as error:  # whatever a detector or a network throws, the car stops
            self._failed(error)
            return
        self.frames += 1
        self._failures = 0
        self.view.warn("chain", None)
        self.reports.latency.sent(answer.decision.command.sequence, answer.record)
        taken = self.link.send(answer.decision.command)
        self.view.warn("link", None if taken else "The driver does not take commands.")
        for sentence in answer.refused:
            self.view.complain(sentence)
        if answer.record.lock.event:
            self.view.note("lock: " + answer.record.lock.event)
        self._frame_s = time_s
        self.view.frame(frame.image, answer)

    def _listen(self) -> None:
        """To people and to the driver, also while no frames come."""
        now_s = time.monotonic()
        self._wishes.add(choices_of(self.hub.intents(), self.link.rearm, self.link.press), now_s)
        driver = self.link.status()
        if driver.end is not None:
            raise PartFailed("The driver process ended: %s." % driver.end)
        if driver.pressed:
            self._wishes.stopped(self.pilot.follower.going, now_s)
        if self.server is not None and not self.server.alive:
            raise PartFailed("The page's server ended, so nobody could press STOP there.")

    def _time_of(self, frame: Frame) -> Optional[float]:
        """When a frame was captured on this machine's clock; None for one that is too late.

        A file's frames are shown as if they came from a camera that started with the first one.
        """
        source = self._eyes.source
        if source.live:
            return frame.time_s
        now_s = time.monotonic()
        if self._offset_s is None:
            self._offset_s = now_s - frame.time_s
        time_s = frame.time_s + self._offset_s
        return None if now_s - time_s > _BEHIND_S else min(time_s, now_s)

    # -- failures --------------------------------------------------------------------------------

    def _halt(self) -> None:
        self.link.send(self.pilot.halt())

    def _failed(self, error: Exception) -> None:
        self._halt()
        self._failures += 1
        text = "A frame could not be judged (%s); the car stands." % _said(error)
        if self._failures == 1:
            _log.debug("%s", text, exc_info=True)
            self.view.note(text, "error", page=True)
        self.view.warn("chain", text)
        self.view.without_frame()
        if self._failures >= _FAILURES:
            raise PartFailed(
                "%d frames in a row could not be judged, the last one because of: %s"
                % (self._failures, _said(error))
            )

    def _hung(self, silent_s: float) -> None:
        """In the watch's thread: the loop does not come back, so nobody else can end this."""
        try:
            self.view.note(
                "A frame has taken longer than %.1f s; the car was stopped and the run ends."
                % silent_s,
                "error",
            )
            self.link.close()
            for stop in self._stops:
                with suppress(Exception):  # signals are out of reach here, the terminal is not
                    stop.stop()
            self.reports.take()
            if self.view.box is not None:
                self.view.box.close("hung")
        finally:
            os._exit(FAILED)

    def _close_link(self) -> None:
        self.link.close()
        self.reports.take()

    # -- parts -----------------------------------------------------------------------------------

    def _add_stops(self, signals: SignalStop) -> None:
        if threading.current_thread() is threading.main_thread():
            self._stops.append(signals)
        if self.config.estop.keyboard and os.isatty(0):
            self._stops.append(KeyboardStop())
        self._stops += [open_stop(spec) for spec in self.config.estop.devices]

    def _open_box(self) -> BlackBox:
        def warn(text: str) -> None:
            _log.warning("%s", text)
            self.view.warn("recording", text)
            self.hub.say(text)

        return BlackBox(
            self.config.recording,
            header_of(
                self.config.without_secrets().to_dict(),
                open_chassis(self.config.chassis.open)[0].holonomic,
                self._eyes.strangers,
                self._eyes.embed is not None,
                self._eyes.notes,
            ),
            warn,
        )

    def _record(self, entry: Entry) -> None:
        if self.view.box is not None:
            self.view.box.put(entry)


def _said(error: Exception) -> str:
    """An exception in words: foreign ones say little without their type."""
    kind = "" if isinstance(error, ReidEdgeError) else type(error).__name__ + ": "
    return (kind + str(error)).rstrip(".")
