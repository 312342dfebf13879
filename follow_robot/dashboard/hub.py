"""Where the application and the web page meet: the newest frame one way, wishes the other way.

Thread-safe and without I/O. The application publishes and collects wishes in its own loop and is
never made to wait; the server's thread looks when it has time. Only STOP does not wait for the
application: it calls ``on_stop`` at once.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from follow_robot.dashboard.control import Control
from follow_robot.dashboard.intents import Intent, Intents, Parameter, check_box, check_values
from follow_robot.dashboard.messages import Act
from follow_robot.dashboard.status import Row, row_of
from runtime.errors import ReidEdgeError

HISTORY_S = 60.0  # what a page that opens sees of the past
_ROW_S = 0.099  # shortest time between two points of the plots: 10 Hz, with room for rounding
_EVENTS = 40

_log = logging.getLogger(__name__)


class Published(NamedTuple):
    """The newest frame.

    Attributes:
        seq: Its number, from 1.
        frame_time_s: Monotonic time when it was captured; if the status does not say, when it came.
        image: (H, W, 3) uint8 BGR, or None.
        status: See ``status.Status``.
    """

    seq: int
    frame_time_s: float
    image: Optional[np.ndarray]
    status: Mapping[str, Any]


class Event(NamedTuple):
    """A line of the page's list: its number, when it happened, what happened."""

    number: int
    time_s: float
    text: str


class Hub:
    """Shared by the application's loop and the server's thread.

    Attributes:
        on_stop: Called with a sentence at once when STOP is pressed, from the server's thread; the
            application sets it to its driver link's ``press``. It must not block.
        parameters: What pages may set.
        watchers: Number of pages that show pictures now; the server keeps it.
        heard_s: Monotonic time of the last sign of life of the page in control; -inf before. For an
            application that wants a person at the page while the car moves.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter] = (),
        on_stop: Optional[Callable[[str], object]] = None,
        clock: Callable[[], float] = time.monotonic,
        fresh_s: float = 1.0,
    ):
        """An empty hub.

        Args:
            parameters: What pages may set, and within which limits.
            on_stop: See above.
            clock: Monotonic time in seconds.
            fresh_s: Wishes that the application collects later than this are dropped, unless they
                are to stop: nobody expects the car to obey a button pressed a while ago.
        """
        self.on_stop = on_stop
        self.parameters = tuple(parameters)
        self.watchers = 0
        self.heard_s = -math.inf
        self._clock, self._fresh_s = clock, fresh_s
        self._lock = threading.Lock()
        self._control = Control()
        self._newest: Optional[Published] = None
        self._seq = 0
        self._rows: Deque[Tuple[int, Row]] = deque(maxlen=int(HISTORY_S * 10))
        self._similarity: Optional[float] = None  # of a frame that became no point of the plots
        self._events: Deque[Event] = deque(maxlen=_EVENTS)
        self._event_number = 0
        self._intents = Intents()
        self._stop_sent = False
        self._stopped_by: Tuple[str, ...] = ()

    # -- the application's side ------------------------------------------------------------------

    def publish(self, image_bgr: Optional[np.ndarray], status: Mapping[str, Any]) -> None:
        """Hand over the newest frame; takes microseconds and copies nothing.

        Args:
            image_bgr: (H, W, 3) uint8, or None without a picture. Not to be drawn on afterwards.
            status: See ``status.Status``. Not to be changed afterwards.
        """
        now_s = self._clock()
        event = (status.get("lock") or {}).get("event")
        stop = status.get("stop") or {}
        time_s = status.get("time_s")
        row = row_of(status, now_s if time_s is None else time_s)
        with self._lock:
            newest = self._newest
            self._seq += 1
            self._newest = Published(self._seq, row.time_s, image_bgr, status)
            self._plot(row)
            # The same frame again, as from an application whose camera is gone, is no new event.
            if event and (newest is None or newest.frame_time_s != row.time_s):
                self._note(str(event).replace("_", " "), now_s)
            stopped_by = tuple(stop.get("reasons") or ()) if stop.get("pressed") else ()
            if stop.get("pressed"):
                self._stop_sent = False  # the driver has confirmed it
                if stopped_by != self._stopped_by:  # somebody else too: it was not asked about that
                    self._control.withdraw()
            self._stopped_by = stopped_by

    def intents(self) -> List[Intent]:
        """The wishes since the last call, oldest first; at most one of each kind, the newest."""
        with self._lock:
            return self._intents.take(self._clock() - self._fresh_s)

    def say(self, text: str) -> None:
        """Add a line to the pages' list of events, such as why a wish was refused."""
        with self._lock:
            self._note(text, self._clock())

    @property
    def controller(self) -> Optional[str]:
        """Name of the page in control, or None."""
        with self._lock:
            return self._control.controller

    @property
    def stop_sent(self) -> bool:
        """Whether STOP was pressed here and no status has confirmed it yet."""
        with self._lock:
            return self._stop_sent

    # -- the server's side -----------------------------------------------------------------------

    def newest(self) -> Optional[Published]:
        """The newest frame, or None before the first."""
        return self._newest

    def rows_since(self, seq: int) -> List[Tuple[int, Row]]:
        """Points of the plots that are newer than frame ``seq``, each with its frame's number."""
        with self._lock:
            return [(number, row) for number, row in self._rows if number > seq]

    def events_since(self, number: int) -> List[Event]:
        """Events that are newer than event ``number``."""
        with self._lock:
            return [event for event in self._events if event.number > number]

    def heard(self, client: str) -> None:
        """A sign of life of a page."""
        with self._lock:
            if self._control.controller == client:
                self.heard_s = self._clock()

    def leave(self, client: str) -> None:
        """A page is gone; what it wished for is dropped, unless it was to stop."""
        with self._lock:
            self._control.leave(client)
            self._intents.drop(lambda intent: intent.client == client)

    def stop(self, client: str) -> None:
        """STOP: tell the driver at once, then the application.

        Raises:
            ReidEdgeError: The driver could not be told; the application still gets the wish.
        """
        now_s = self._clock()
        told: Optional[Exception] = None
        try:
            if self.on_stop is not None:
                self.on_stop("STOP pressed by %s" % client)
        except Exception as error:  # whatever it is, the page must hear of it
            _log.exception("STOP could not be passed on")
            told = error
        with self._lock:
            self._stop_sent = True
            self._control.withdraw()
            self._intents.drop(lambda intent: True)
            self._intents.add(Intent("stop", client, now_s))
            self._note("STOP pressed by %s" % client, now_s)
        if told is not None:
            raise ReidEdgeError(
                "STOP did not reach the driver (%s); use the switch on the car." % told
            )

    def act(self, client: str, act: Act) -> Optional[str]:
        """A page wishes something.

        Returns:
            For the first ``rearm``: the code with which to ask again. Else None.

        Raises:
            ReidEdgeError: The wish is refused; the message is for the page.
        """
        if act.kind == "stop":
            self.stop(client)
            return None
        with self._lock:
            now_s = self._clock()
            if act.kind == "take":
                self._take(client, now_s)
                return None
            if act.kind == "choose":
                check_box(act.box, frame_size(self._newest))
            elif act.kind == "set":
                check_values(act.values or {}, self.parameters)
            elif act.kind == "go" and self._stopped():
                raise ReidEdgeError("The car is stopped; re-arm it first.")
            if not self._control.claim(client):
                raise ReidEdgeError("%s controls the car; take over first." % self._controller())
            self.heard_s = now_s
            if act.kind == "rearm":
                return self._rearm(client, act.code, now_s)
            self._intents.add(
                Intent(act.kind, client, now_s, act.box, act.point, act.track, act.values)
            )
            return None

    # -- inside, under the lock ------------------------------------------------------------------

    def _controller(self) -> str:
        name = self._control.controller or "nobody"
        return name[:1].upper() + name[1:]

    def _take(self, client: str, now_s: float) -> None:
        before = self._control.controller
        self._control.take(client)
        self.heard_s = now_s
        if before is not None and before != client:
            self._intents.drop(lambda intent: intent.client == before)
            self._note("%s took over from %s" % (client, before), now_s)

    def _rearm(self, client: str, code: Optional[str], now_s: float) -> Optional[str]:
        if not self._stopped():
            raise ReidEdgeError("The car is not stopped.")
        if code is None:
            offered = secrets.token_hex(8)
            self._control.offer(client, offered, now_s)
            return offered
        if not self._control.confirm(client, code, now_s):
            raise ReidEdgeError("This re-arm is no longer valid; press Re-arm again.")
        self._stop_sent = False
        self._intents.add(Intent("rearm", client, now_s))
        self._note("re-armed by %s" % client, now_s)
        return None

    def _plot(self, row: Row) -> None:
        # Not every frame's crop is compared; the plot must not miss the few that are.
        if row.similarity is None:
            row = row._replace(similarity=self._similarity)
        if not self._rows or abs(row.time_s - self._rows[-1][1].time_s) >= _ROW_S:
            self._rows.append((self._seq, row))
            self._similarity = None
        else:
            self._similarity = row.similarity

    def _note(self, text: str, now_s: float) -> None:
        self._event_number += 1
        self._events.append(Event(self._event_number, now_s, text))

    def _stopped(self) -> bool:
        status = self._newest.status if self._newest is not None else {}
        return self._stop_sent or bool((status.get("stop") or {}).get("pressed"))


def frame_size(published: Optional[Published]) -> Optional[Tuple[int, int]]:
    """(height, width) that the boxes of a frame refer to, or None where nothing says it."""
    if published is None:
        return None
    size = published.status.get("frame_size")
    if size is not None:
        return int(size[0]), int(size[1])
    if published.image is not None:
        return int(published.image.shape[0]), int(published.image.shape[1])
    return None
