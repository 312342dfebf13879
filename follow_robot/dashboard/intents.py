"""Wishes of the pages on their way to the application: checked, bounded, never obeyed late. Pure."""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from follow_robot.dashboard.messages import Box
from runtime.errors import ReidEdgeError

# A wish to move or to change something means the moment it was pressed; these never grow old.
SAFE = ("stop", "hold", "release")


class Parameter(NamedTuple):
    """Something the page may set.

    Attributes:
        name: As the application knows it; the plots show ``"distance_m"`` as the distance kept.
        label, unit: For people.
        low, high, step: What may be chosen.
        value: At the start.
    """

    name: str
    label: str
    unit: str
    low: float
    high: float
    step: float
    value: float


class Intent(NamedTuple):
    """A wish of a page, for the application to fulfil or to refuse.

    Attributes:
        kind: ``"choose"``, ``"choose_front"``, ``"release"``, ``"go"``, ``"hold"``, ``"stop"`` (the
            driver has it already), ``"rearm"`` or ``"set"``.
        client: Name of the page.
        time_s: Monotonic time when it arrived.
        box, point, track: For ``"choose"``: the person's box, where the page was touched (pixels of
            the frame), and the number of the track.
        values: For ``"set"``: parameters, checked against their limits.
    """

    kind: str
    client: str
    time_s: float
    box: Optional[Box] = None
    point: Optional[Tuple[float, float]] = None
    track: Optional[int] = None
    values: Optional[Dict[str, float]] = None


class Intents:
    """At most one wish of each kind, the newest: bounded, however little is collected."""

    def __init__(self) -> None:
        self._waiting: Dict[str, Intent] = {}

    def add(self, intent: Intent) -> None:
        """The newest wish goes last, in the place of an older one of its kind; values add up."""
        older = self._waiting.pop(intent.kind, None)
        if intent.kind == "set" and older is not None:
            intent = intent._replace(values={**(older.values or {}), **(intent.values or {})})
        self._waiting[intent.kind] = intent

    def drop(self, unwanted: Callable[[Intent], bool]) -> None:
        """Forget those, unless they are safe."""
        self._waiting = {k: i for k, i in self._waiting.items() if k in SAFE or not unwanted(i)}

    def take(self, oldest_s: float) -> List[Intent]:
        """All of them, oldest first, without those from before ``oldest_s`` that are not safe."""
        waiting, self._waiting = self._waiting, {}
        return [i for i in waiting.values() if i.kind in SAFE or i.time_s >= oldest_s]


def check_box(box: Optional[Box], frame_size: Optional[Tuple[int, int]]) -> None:
    """Raise ReidEdgeError unless the box touches the frame of (height, width) pixels."""
    if box is None or frame_size is None:
        raise ReidEdgeError("There is no picture yet to choose somebody on.")
    height, width = frame_size
    left, top, right, bottom = box
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ReidEdgeError(
            "The box must lie in the frame of %d x %d pixels, got %s."
            % (width, height, [round(v, 1) for v in box])
        )


def check_values(values: Mapping[str, float], parameters: Sequence[Parameter]) -> None:
    """Raise ReidEdgeError unless every value is one of a parameter, within its limits."""
    known = {p.name: p for p in parameters}
    for name, value in values.items():
        parameter = known.get(name)
        if parameter is None:
            raise ReidEdgeError(
                "There is no parameter %s; known are %s." % (name[:40], ", ".join(known) or "none")
            )
        if not parameter.low <= value <= parameter.high:
            raise ReidEdgeError(
                "%s must be %g to %g %s, got %g."
                % (parameter.label, parameter.low, parameter.high, parameter.unit, value)
            )
