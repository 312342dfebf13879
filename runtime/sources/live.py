"""A camera or stream read by its own thread, which keeps the newest frame and reconnects."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator, Optional

import cv2

from runtime.errors import ReidEdgeError
from runtime.sources.base import Frame, Source
from runtime.sources.captures import Capture

_BAD_FRAMES = 10  # undecodable ones in a row after which the camera is opened anew

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts to reopen a lost camera.

    Attributes:
        first_s: Wait before the first attempt.
        factor: Each wait is this many times the one before.
        longest_s: No wait is longer.
    """

    first_s: float = 0.25
    factor: float = 2.0
    longest_s: float = 8.0

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.longest_s and self.factor >= 1):
            raise ReidEdgeError(
                "Back-off needs 0 < first_s <= longest_s and factor >= 1, got %s." % (self,)
            )

    def waits_s(self) -> Iterator[float]:
        """The waits, without end."""
        wait_s = self.first_s
        while True:
            yield wait_s
            wait_s = min(wait_s * self.factor, self.longest_s)


class LiveSource(Source):
    """Gives the newest frame of a camera, never one that waited.

    A thread takes every frame from the camera as it comes and keeps one. ``read`` hands it out, or
    waits for the next; what the reader was too slow for is counted in ``dropped``. A lost camera is
    opened again after growing waits, which start anew only once a frame has come.

    Attributes:
        reconnects: How often the camera was opened again.
        undecodable: Frames that arrived damaged.
    """

    live = True

    def __init__(
        self,
        open_capture: Callable[[], Capture],
        name: str,
        backoff: Optional[Backoff] = None,
        give_up_after_s: Optional[float] = 60.0,
        max_age_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Optional[Callable[[threading.Event, float], bool]] = None,
    ):
        """Open the camera and start the thread.

        Args:
            open_capture: Opens the camera; called again after each loss.
            name: For messages.
            backoff: Waits between attempts.
            give_up_after_s: Time without a frame after which ``read`` raises; None tries for ever.
            max_age_s: A kept frame that is older is not handed out: its reader came back late and
                the camera has stopped since.
            clock: Monotonic time in seconds.
            wait: ``wait(stop, seconds)`` sleeps, or returns true at once when stopped.

        Raises:
            ReidEdgeError: The camera cannot be opened: at the start that is a mistake, not a loss.
        """
        self.name = name
        self.dropped = self.reconnects = self.undecodable = 0
        self._open, self._clock = open_capture, clock
        self._backoff = backoff or Backoff()
        self._give_up_after_s, self._max_age_s = give_up_after_s, max_age_s
        self._wait = wait or (lambda stop, seconds: stop.wait(seconds))
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._newest: Optional[Frame] = None
        self._error: Optional[BaseException] = None
        self._finished = False
        self._count = 0
        self._last_frame_s = clock()
        first = open_capture()
        self._thread = threading.Thread(
            target=self._run, args=(first,), name="capture " + name, daemon=True
        )
        self._thread.start()

    @property
    def ended(self) -> bool:
        with self._news:
            return self._stop.is_set() or (self._finished and self._newest is None)

    def read(self, timeout_s: Optional[float] = None) -> Optional[Frame]:
        with self._news:
            self._discard_stale()
            self._news.wait_for(self._has_news, timeout_s)
            if self._stop.is_set():
                return None
            frame, self._newest = self._newest, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the thread, which closes the camera.

        Args:
            timeout_s: Longest wait for a camera that is in the middle of a read. After it the
                thread is left to itself: it closes the camera once the read returns.
        """
        self._stop.set()
        with self._news:
            self._news.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.warning("Source %s does not answer; it is closed once it does.", self.name)

    def _has_news(self):
        return self._newest is not None or self._finished or self._stop.is_set()

    def _discard_stale(self):
        if self._newest is not None and self._clock() - self._newest.time_s > self._max_age_s:
            self._newest = None
            self.dropped += 1

    def _run(self, capture: Optional[Capture]) -> None:
        try:
            waits_s = self._backoff.waits_s()
            while capture is not None:
                if self._take_frames(capture):  # some came, so the next loss is a new one
                    waits_s = self._backoff.waits_s()
                lost, capture = capture, None
                lost.release()
                capture = self._reopen(waits_s)
        except BaseException as error:  # handed to the reader, who would wait for ever otherwise
            self._error = error
        finally:
            if capture is not None:
                capture.release()
            with self._news:
                self._finished = True
                self._news.notify_all()

    def _take_frames(self, capture: Capture) -> bool:
        """Keep the newest frame until the camera is lost; whether one came."""
        came, bad = False, 0
        while not self._stop.is_set() and bad < _BAD_FRAMES:
            try:
                if not capture.grab():
                    break
                time_s = self._clock()
                image = capture.retrieve()
            except cv2.error as error:
                _log.warning("Source %s: OpenCV failed: %s", self.name, str(error).strip())
                break
            if image is None:
                bad += 1
                self.undecodable += 1
                continue
            came, bad = True, 0
            self._note_size(image)
            with self._news:
                if self._newest is not None:
                    self.dropped += 1
                self._newest = Frame(image, self._count, time_s)
                self._count += 1
                self._last_frame_s = time_s
                self._news.notify_all()
        return came

    def _reopen(self, waits_s: Iterator[float]) -> Optional[Capture]:
        """Open the lost camera again; None when stopped."""
        for wait_s in waits_s:
            if self._stop.is_set():
                return None
            outage_s = self._clock() - self._last_frame_s
            if self._give_up_after_s is not None and outage_s >= self._give_up_after_s:
                raise ReidEdgeError(
                    "Source %s has given no frame for %.0f s; check the camera, its cable or the "
                    "network, and start again." % (self.name, outage_s)
                )
            _log.warning("Source %s is lost; opening it again in %.2f s.", self.name, wait_s)
            if self._wait(self._stop, wait_s):
                return None
            try:
                capture = self._open()
            except (ReidEdgeError, cv2.error) as error:
                _log.warning("%s", str(error).strip())
                continue
            self.reconnects += 1
            return capture
        return None
