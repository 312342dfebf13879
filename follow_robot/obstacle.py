"""Where distances to what is ahead come from. The safety gate judges them, and their age."""

import logging
import math
import os
import re
import select
import stat
import sys
import time
from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from follow_robot.polling import MAX_POLL_S, Poller
from runtime.errors import ReidEdgeError

_log = logging.getLogger(__name__)

# Small robots' sensors see no farther; a larger number is in another unit.
FARTHEST_M = 20.0
_LINE_BYTES = 64
_PIPE_BYTES = 1 << 16
_HALF = b"?"  # before the first line: it may have begun before the port was opened
# The point is required: what is left of a line that lost its beginning is then a smaller number or
# none, and whole centimetres or millimetres are no distance.
_NUMBER = re.compile(rb"(?:\d{0,6}\.\d{1,9}|inf)\Z")


class ObstacleReading(NamedTuple):
    """One reading of what is ahead.

    Attributes:
        distance_m: To the nearest thing, metres; inf if there is nothing within the sensor's range.
        time_s: Monotonic time of the reading.
    """

    distance_m: float
    time_s: float


Report = Callable[[float, float], None]  # distance_m, time_s


class ObstacleSource(ABC):
    """Something that measures; ``start`` has each reading reported from a thread of its own.

    The first report is a distance of 0: until the sensor has spoken, the way ahead counts as blocked.
    A sensor that fails falls silent, which stops the car.
    """

    def __init__(self, name: str, period_s: float = 0.0):
        self.name = name
        self._report: Optional[Report] = None
        self._poller = Poller(name, self._poll, period_s)

    def start(self, report: Report) -> None:
        """Open the sensor and report every reading to ``report(distance_m, time_s)``.

        Raises:
            ReidEdgeError: The sensor cannot be opened.
        """
        self._report = report
        report(0.0, time.monotonic())
        self._open()
        self._poller.start()

    def stop(self) -> None:
        """End the thread and close the sensor; may be called twice."""
        self._poller.stop()
        self._close()

    def _give(self, distance_m: float, time_s: float) -> None:
        if self._report is not None:
            self._report(distance_m, time_s)

    @abstractmethod
    def _poll(self) -> None:
        """Read once, waiting for ``MAX_POLL_S`` at most, and ``_give`` what came."""

    @abstractmethod
    def _open(self) -> None:
        """Take hold of the sensor."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of it."""


class CallableObstacle(ObstacleSource):
    """A function that measures, such as a lidar driver's.

    Args:
        read: Gives a distance in metres, or None where there is none. What is not a distance is
            passed on, for the gate to stop the car.
        rate_hz: How often it is asked.
    """

    def __init__(self, read: Callable[[], Optional[float]], rate_hz: float = 20.0):
        super().__init__("obstacle function", 1.0 / rate_hz)
        self._read = read

    def _open(self) -> None:
        pass

    def _close(self) -> None:
        pass

    def _poll(self) -> None:
        time_s = time.monotonic()  # before: the reading may be as old as this
        distance_m = self._read()
        if distance_m is not None:
            self._give(float(distance_m), time_s)


def parse_distance(line: bytes) -> Optional[float]:
    """Metres from one line: a number like ``0.53``, of 0 to ``FARTHEST_M``, or ``inf``; else None."""
    text = line.strip()
    if not _NUMBER.match(text):
        return None
    distance_m = float(text)
    return distance_m if distance_m <= FARTHEST_M or math.isinf(distance_m) else None


class LineObstacle(ObstacleSource):
    """Text with one distance in metres per line, as microcontrollers with ultrasonic sensors send it.

    Lines read ``0.53``, or ``inf`` for nothing in range; anything else is skipped.

    Args:
        path: A serial port, a FIFO, or ``-`` for the standard input.
        baud: Of a serial port.

    Attributes:
        invalid: Lines skipped because they are not a distance.
    """

    def __init__(self, path: str, baud: int = 9600):
        super().__init__("obstacle lines from " + path)
        self.path, self.baud = path, baud
        self.invalid = 0
        self._told = False
        self._rest = _HALF
        self._file: Optional[int] = None
        self._serial: Optional[Any] = None

    def _open(self) -> None:
        if self.path == "-":
            self._file = sys.stdin.fileno()
            return
        try:
            mode = os.stat(self.path).st_mode
            if stat.S_ISFIFO(mode):
                self._file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            elif stat.S_ISCHR(mode):
                import serial

                self._serial = serial.Serial(self.path, self.baud, timeout=MAX_POLL_S)
            else:
                raise ReidEdgeError(
                    "Obstacle input %s must be a serial port, a FIFO or - for the standard input."
                    % self.path
                )
        except OSError as error:  # pyserial's errors are of this kind
            raise ReidEdgeError(
                "Obstacle input %s cannot be opened (%s); check the path and its permissions."
                % (self.path, error)
            ) from None

    def _close(self) -> None:
        if self._file is not None and self.path != "-":
            os.close(self._file)
        if self._serial is not None:
            self._serial.close()
        self._file = self._serial = None
        self._rest = _HALF

    def _poll(self) -> None:
        try:
            data = self._read()
        except OSError as error:
            _log.warning("%s is lost (%s); opening it again.", self.name, error)
            self._close()
            time.sleep(MAX_POLL_S)
            return
        time_s = time.monotonic()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            self._rest = self._rest[-_LINE_BYTES:]
        newest = None
        for line in lines:
            distance_m = parse_distance(line)
            if distance_m is None:
                self._skip(line)
            else:
                newest = distance_m
        if newest is not None:
            self._give(newest, time_s)

    def _read(self) -> bytes:
        if self._serial is None and self._file is None:
            try:
                self._open()
            except ReidEdgeError:
                time.sleep(MAX_POLL_S)
                return b""
        if self._serial is not None:
            return self._serial.read(self._serial.in_waiting or 1)
        assert self._file is not None
        if not select.select([self._file], [], [], MAX_POLL_S)[0]:
            return b""
        data = os.read(self._file, _PIPE_BYTES)  # all there is: only the newest line counts
        if not data:  # a FIFO without a writer is always readable
            time.sleep(MAX_POLL_S)
        return data

    def _skip(self, line: bytes) -> None:
        self.invalid += 1
        if not self._told and not line.startswith(_HALF):
            self._told = True
            _log.warning(
                "%s: skipped %r, which is not a distance of 0 to %g metres.",
                self.name,
                line[:_LINE_BYTES],
                FARTHEST_M,
            )


class NearestObstacle:
    """Several sensors as one: the nearest thing any of them sees, as old as the oldest of them.

    nearest = NearestObstacle(link.obstacle)
    left.start(nearest.input("left"))
    right.start(nearest.input("right"))
    """

    def __init__(self, report: Report):
        self._report = report
        self._newest: Dict[str, ObstacleReading] = {}

    def input(self, name: str) -> Report:
        """Where one sensor reports to; all of them are taken before the first is started."""
        self._newest[name] = ObstacleReading(0.0, -math.inf)

        def report(distance_m: float, time_s: float) -> None:
            self._newest[name] = ObstacleReading(distance_m, time_s)
            readings = list(self._newest.values())
            self._report(nearest_of(readings), min(r.time_s for r in readings))

        return report


def nearest_of(readings: List[ObstacleReading]) -> float:
    """The smallest distance, or nan if any of them is not a number."""
    distances = [r.distance_m for r in readings]
    return math.nan if any(map(math.isnan, distances)) else min(distances)


def open_obstacle(spec: str) -> ObstacleSource:
    """The sensor a setting names: ``lines:PATH[@BAUD]`` or ``hc-sr04:TRIGGER,ECHO``.

    Raises:
        ReidEdgeError: No such kind, or its parameters cannot be read.
    """
    kind, _, rest = spec.partition(":")
    path, at, baud = rest.rpartition("@")
    if kind == "lines" and at and path and baud.isdigit():
        return LineObstacle(path, int(baud))
    if kind == "lines" and rest and not at:
        return LineObstacle(rest)
    pins = rest.split(",")
    if kind == "hc-sr04" and len(pins) == 2 and all(p.strip().isdigit() for p in pins):
        from follow_robot.hc_sr04 import HcSr04Obstacle

        return HcSr04Obstacle(int(pins[0]), int(pins[1]))
    raise ReidEdgeError(
        "An obstacle sensor is given as lines:PATH[@BAUD] or hc-sr04:TRIGGER,ECHO, got %r." % spec
    )
