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
from collections import deque
from contextlib import ExitStack
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from follow_robot.app_view import AppView
from follow_robot.black_box import BlackBox, header_of
from follow_robot.black_box_records import DriveEntry, Entry
from follow_robot.chain import follower_of, perception_of
from follow_robot.chassis import open_chassis
from follow_robot.choices import Choice
from follow_robot.config import Config
from follow_robot.dashboard.hub import Hub, Parameter
from follow_robot.dashboard.server import DashboardServer
from follow_robot.driver_link import DriverLink
from follow_robot.driver_messages import Report, Tick
from follow_robot.estop import KeyboardStop, SignalStop, StopSource, open_stop
from follow_robot.frame_guard import FrameGuard
from follow_robot.hang_watch import HangWatch
from follow_robot.latency import LatencyMeter
from follow_robot.motion_history import MotionHistory
from follow_robot.obstacle import open_obstacle
from follow_robot.pilot import Pilot
from follow_robot.wishes import FirstWish, choices_of
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.perception import Embed
from runtime.sources import Frame, Source

FAILED = 4  # exit code: a part failed while driving
_READ_S = 0.1  # longest wait for a frame
_HANG_S = 10.0  # a frame that takes longer ends the program
_FAILURES = 20  # frames in a row that may fail
_BEHIND_S = 0.15  # a file's frames that are later than this are skipped
_FRESH_S = 0.5  # older telemetry says nothing about how the car moves

_log = logging.getLogger(__name__)


class PartFailed(ReidEdgeError):
    """A part of the car failed while driving."""

    exit_code = FAILED


class Eyes(NamedTuple):
    """What looks at frames.

    Attributes:
        source: Where they come from.
        detect: (H, W, 3) uint8 BGR to Detections.
        embed: Crops to embeddings; None without a ReID network.
        strangers: (K, D) embeddings of people from elsewhere, or None.
        notes: Names for the black box, such as the bundle's.
    """

    source: Source
    detect: Callable[[np.ndarray], Detections]
    embed: Optional[Embed] = None
    strangers: Optional[np.ndarray] = None
    notes: Dict[str, str] = {}


class App:
    """One run of the car.

    Args:
        config: Every setting; its sections ``source``, ``detector`` and ``bundle`` are already open
            in ``eyes``.
        eyes: What looks.
        first: Whom to follow and whether to go, from the start.
        stops: More sources of an emergency stop than the configuration names.

    Attributes:
        hub: Where the page meets the car.
        server: The page's server while running, or None.
        frames: How many were answered.
        latency: From frames to bytes.
    """

    def __init__(
        self,
        config: Config,
        eyes: Eyes,
        first: Optional[FirstWish] = None,
        stops: Sequence[StopSource] = (),
    ):
        self.config, self._eyes = config, eyes
        self._first = first or FirstWish(None, False)
        self._extra_stops = list(stops)
        self.frames = 0
        self.latency = LatencyMeter()
        self.link = DriverLink(config.chassis.open, config.safety, self._hear)
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
        self._reports: Deque[Union[Report, Tick]] = deque()
        self._motion = MotionHistory()
        self._choices: List[Choice] = []
        self._frame_s: Optional[float] = None  # of the newest frame
        self._failures = 0
        self._offset_s: Optional[float] = None
        self._ended = threading.Event()

    # -- life ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Drive until the source ends, ``end`` is called, or an exception comes through.

        Raises:
            PartFailed: The camera, a network or the driver failed for good; the car was stopped.
            ReidEdgeError: Something cannot be opened; nothing has moved.
        """
        config = self.config
        with ExitStack() as stack:
            if config.recording.folder:
                self.view.box = stack.enter_context(self._open_box())
            stack.enter_context(self.link)
            for stop in self._stops():
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
            watch = stack.enter_context(HangWatch(_HANG_S, self._hung))
            gc.collect()
            gc.freeze()  # what is there now stays: the collector need not look at it while driving
            stack.callback(gc.unfreeze)
            try:
                while not self._ended.is_set():
                    watch.beat()
                    if not self._once():
                        break
            finally:
                self._take_reports()
                self.view.note("the run ends")

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
            self._halt()
            raise PartFailed(str(error)) from None
        self._take_reports()
        self._check_driver()
        wishes = choices_of(self.hub.intents(), self.link.rearm, self.link.press)
        if wishes:
            self._first.drop()
        self._choices += wishes
        if frame is None:
            if source.ended:
                self._halt()
                return False
            self.view.silence()
            return True
        time_s = self._time_of(frame)
        if time_s is not None:
            self._answer(frame, time_s)
        return True

    def _answer(self, frame: Frame, time_s: float) -> None:
        pilot = self.pilot
        choices, self._choices = self._choices + self._first.due(pilot.perception.last), []
        before_s = time_s if self._frame_s is None else self._frame_s
        ego = self._motion.mean(before_s, time_s)
        try:
            answer = pilot.answer(frame.image, time_s, ego, choices)
        except Exception as error:  # whatever a detector or a network throws, the car stops
            self._failed(error)
            return
        self.frames += 1
        self._failures = 0
        self.view.warn("chain", None)
        self.latency.sent(answer.decision.command.sequence, answer.record)
        taken = self.link.send(answer.decision.command)
        self.view.warn("link", None if taken else "The driver does not take commands.")
        for sentence in answer.refused:
            self.view.note(sentence, "warning", page=True)
        if answer.record.lock.event:
            self.view.note("lock: " + answer.record.lock.event)
        self._frame_s = time_s
        self.view.frame(frame.image, answer)

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
        kind = "" if isinstance(error, ReidEdgeError) else type(error).__name__ + ": "
        text = "A frame could not be judged (%s%s); the car stands." % (kind, error)
        if self._failures == 1:
            if not isinstance(error, ReidEdgeError):
                _log.error("%s", text, exc_info=True)
            self.view.note(text, "error", page=True)
        self.view.warn("chain", text)
        if self._failures >= _FAILURES:
            raise PartFailed(
                "%d frames in a row could not be judged, the last one because of: %s%s"
                % (self._failures, kind, error)
            )

    def _check_driver(self) -> None:
        end = self.link.status().end
        if end is not None:
            raise PartFailed("The driver process ended: %s." % end)

    def _hung(self, silent_s: float) -> None:
        """In the watch's thread: the loop does not come back, so nobody else can end this."""
        text = (
            "A frame has taken longer than %.0f s; the car was stopped and the run ends." % silent_s
        )
        self.view.note(text, "error")
        self.link.close()
        if self.view.box is not None:
            self.view.box.close("hung")
        os._exit(FAILED)

    # -- parts -----------------------------------------------------------------------------------

    def _stops(self) -> List[StopSource]:
        stops: List[StopSource] = list(self._extra_stops)
        if threading.current_thread() is threading.main_thread():
            stops.append(SignalStop())
        if self.config.estop.keyboard and os.isatty(0):
            stops.append(KeyboardStop())
        return stops + [open_stop(spec) for spec in self.config.estop.devices]

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

    def _hear(self, message: Union[Report, Tick]) -> None:
        """In the link's thread."""
        self._reports.append(message)

    def _take_reports(self) -> None:
        while self._reports:
            message = self._reports.popleft()
            if isinstance(message, Tick):
                sent = bytes.fromhex(message.data)
                self._record(DriveEntry(*message[:6], sent, message.written))
                continue
            self.latency.written(message)
            velocity = message.sent
            telemetry, heard_s = message.telemetry, message.telemetry_s
            if telemetry is not None and heard_s is not None and telemetry.velocity is not None:
                if message.time_s - heard_s <= _FRESH_S:
                    velocity = telemetry.velocity
            self._motion.add(velocity, message.time_s)


def parameters_of(config: Config) -> List[Parameter]:
    """What the page may set: within the configured limits, never beyond."""
    c, s = config.controller, config.safety
    lowest = round(c.min_distance_m + 0.1, 2)
    fastest = min(s.speed_mps, 1.5)
    return [
        Parameter("distance_m", "Distance", "m", lowest, 4.0, 0.1, c.distance_m),
        Parameter("speed_mps", "Top speed", "m/s", 0.1, fastest, 0.05, min(c.speed_mps, fastest)),
    ]
