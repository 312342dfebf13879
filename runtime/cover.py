"""Whether the target's track still shows the target while other people cover it."""

from typing import Optional

import numpy as np

from runtime.detection import iou
from runtime.lock_guards import hidden
from runtime.lock_types import Box, LockSettings, Look, Person

_SAME_PLACE = 0.6  # IoU of a walker's boxes on neighbouring frames
_HALF = 2.0  # times ``contest``: people who walk side by side overlap less


class Cover:
    """Who stands in front of whom, from frame to frame.

    A tracker goes by places, so people who cover each other may exchange their tracks. They can
    have when the target

    * is not seen at all, or hardly, for longer than ``hidden_s``;
    * was in front on one frame and hidden on the next;
    * is hidden without having been covered on the frame before, and elsewhere than it was;
    * was in front on one frame and is behind on the next, half covered, and a look at it does not
      say that it is still the same.
    """

    def __init__(self) -> None:
        self.since_s: Optional[float] = None  # since when the target is hidden
        self._in_front = False
        self._overlap = 0.0
        self._box: Optional[Box] = None

    @property
    def hidden(self) -> bool:
        """Whether the target was hidden on the newest frame."""
        return self.since_s is not None

    def start(self, target: Person) -> None:
        """The track is certain from this frame on."""
        self.since_s, self._in_front = None, False
        self._overlap, self._box = target.overlap, target.box

    def lost(
        self, target: Optional[Person], own: Optional[Look], time_s: float, s: LockSettings
    ) -> bool:
        """Take in a frame, and say whether the track is no longer to be believed.

        Args:
            target: The person of the target's track, if seen.
            own: What it looks like, if it was embedded.
            time_s: Monotonic time of the frame.
            s: The lock's settings.
        """
        before, was_in_front, place = self._overlap, self._in_front, self._box
        self._overlap = 0.0 if target is None else target.overlap
        self._box = None if target is None else target.box
        self._in_front = target is not None and target.overlap >= s.contest and not target.behind
        if target is None or hidden(target, s):
            self.since_s = time_s if self.since_s is None else self.since_s
            if target is None or was_in_front or time_s - self.since_s > s.hidden_s:
                return True
            return before < s.contest and not _same_place(place, target.box)
        self.since_s = None
        same = own is not None and (own.similarity >= s.strict or own.link >= s.link)
        turned = was_in_front and target.behind and min(before, target.overlap) >= _HALF * s.contest
        return turned and not same


def _same_place(before: Optional[Box], box: Box) -> bool:
    if before is None:
        return False
    return float(iou(np.array([before], float), np.array([box], float))[0, 0]) >= _SAME_PLACE
