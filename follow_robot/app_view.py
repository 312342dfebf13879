"""What the page sees of the run, and the run's notes: warnings, events, silence of the camera."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from follow_robot.app_status import driver_part, status_of
from follow_robot.black_box import BlackBox
from follow_robot.black_box_records import Entry, EventEntry
from follow_robot.config import Config
from follow_robot.dashboard.hub import Hub, Parameter
from follow_robot.driver_link import DriverLink
from follow_robot.follower import Follower
from follow_robot.pilot import Answer
from runtime.lock_types import LockSettings

_SILENT_S = 0.5  # between two looks of the page while no frame comes
_COMPLAIN_S = 5.0  # between two times the same is said
_FPS_WEIGHT = 0.1
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_log = logging.getLogger("follow_robot.app")


class AppView:
    """Tells the page, the log and the black box.

    Args:
        hub: Where the page looks.
        link: Knows the driver.
        follower, lock: Know what is wanted.
        source: Name of the camera.
        put: Takes entries for the black box.

    Attributes:
        box: The black box, or None.
        watched: Whether there is a page at all.
    """

    def __init__(
        self,
        hub: Hub,
        link: DriverLink,
        follower: Follower,
        lock: LockSettings,
        source: str,
        put: Callable[[Entry], object],
    ):
        self.box: Optional[BlackBox] = None
        self.watched = False
        self._hub, self._link, self._follower, self._lock = hub, link, follower, lock
        self._source, self._put = source, put
        self._warnings: Dict[str, str] = {}
        self._status: Dict[str, Any] = {}
        self._fps = 0.0
        self._frame_s: Optional[float] = None
        self._silent_s = 0.0
        self._complained: Dict[str, float] = {}

    def note(self, text: str, level: str = "info", page: bool = False) -> None:
        """Something happened: into the log and the black box, with ``page`` also onto the page."""
        self._put(EventEntry(time.monotonic(), text, level))
        _log.log(_LEVELS[level], "%s", text)
        if page:
            self._hub.say(text)

    def complain(self, text: str) -> None:
        """A warning that may come with every frame; the same one is noted from time to time."""
        now_s = time.monotonic()
        recent = {
            said: at_s for said, at_s in self._complained.items() if now_s - at_s < _COMPLAIN_S
        }
        if text not in recent:
            recent[text] = now_s
            self.note(text, "warning", page=True)
        self._complained = recent

    def warn(self, about: str, text: Optional[str]) -> None:
        """A sentence that stays on the page until the same is called with None."""
        if text is None:
            self._warnings.pop(about, None)
        else:
            self._warnings[about] = text

    def frame(self, image: np.ndarray, answer: Answer) -> None:
        """Show an answered frame."""
        time_s = answer.record.time_s
        if self._frame_s is not None and time_s > self._frame_s:
            weight = _FPS_WEIGHT if self._fps else 1.0
            self._fps += weight * (1 / (time_s - self._frame_s) - self._fps)
        self._frame_s = time_s
        if not self.watched:
            return
        status = status_of(
            answer,
            self._link.status(),
            self._follower,
            self._lock,
            self._fps,
            self._source,
            self.box,
            list(self._warnings.values()),
        )
        self._status = dict(status)
        self._hub.publish(image, self._status)

    def without_frame(self) -> None:
        """No frame came for a moment, or none that could be judged."""
        now_s = time.monotonic()
        if not self.watched or now_s - self._silent_s < _SILENT_S:
            return
        self._silent_s = now_s
        driver = self._link.status()
        text = "no frame yet"
        if self._frame_s is not None:
            text = "nothing seen for %.1f s" % (now_s - self._frame_s)
        status = {
            **self._status,
            "camera": {"ok": False, "text": text},
            "driver": driver_part(driver),
            "sent": dict(driver.sent._asdict()),
            "stop": {"pressed": bool(driver.pressed), "reasons": driver.pressed},
            "reasons": list(driver.reasons),
            "mode": "go" if self._follower.going else "hold",
            "people": [],
            "fps": 0.0,
            "warnings": list(self._warnings.values()),
        }
        newest = self._hub.newest()
        self._hub.publish(None if newest is None else newest.image, status)


def parameters_of(config: Config) -> List[Parameter]:
    """What the page may set: within the configured limits, never beyond."""
    c, s = config.controller, config.safety
    nearest = round(min(c.min_distance_m + 0.1, c.distance_m), 2)
    farthest = max(4.0, c.distance_m)
    fastest = min(s.speed_mps, 1.5)
    slowest = min(0.1, fastest, c.speed_mps)
    speed = min(c.speed_mps, fastest)
    return [
        Parameter("distance_m", "Distance", "m", nearest, farthest, 0.1, c.distance_m),
        Parameter("speed_mps", "Top speed", "m/s", slowest, fastest, 0.05, speed),
    ]
