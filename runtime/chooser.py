"""When the target is chosen: on the frame that was named, or as soon as somebody is there."""

from typing import Optional, Tuple

import numpy as np

from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.perception import Perception


class Chooser:
    """Chooses the target: by its box once that frame has come, or whoever is in front until learned.

    Args:
        perception: Whose target is chosen.
        box: Left, top, right, bottom of the person, on frame ``number``.
        front: Take the person in front, as soon as there is one.
    """

    def __init__(
        self,
        perception: Perception,
        box: Optional[Tuple[float, ...]] = None,
        number: int = 0,
        front: bool = False,
    ):
        self._perception, self._box, self._number, self._front = perception, box, number, front

    def after(self, record: FrameRecord) -> None:
        """Call behind every step."""
        if self._box is not None and record.index == self._number:
            self._perception.choose_box(self._box)
            self._box = None
        if self._front and record.people and record.lock.state == "idle":
            self._perception.choose_front()
        if record.lock.event == "enrolled":
            self._front = False

    def check(self) -> None:
        """Call at the end.

        Raises:
            ReidEdgeError: The chosen frame never came.
        """
        if self._box is not None:
            raise ReidEdgeError(
                "The source ended before frame %d, on which the target was to be chosen."
                % self._number
            )


def parse_target(text: str) -> Tuple[Tuple[float, ...], int]:
    """``L,T,R,B[@FRAME]`` to a box in pixels and the number of a frame, from 0.

    Raises:
        ReidEdgeError: Not of that form.
    """
    corners, _, number = text.partition("@")
    try:
        box = tuple(float(part) for part in corners.split(","))
        frame = int(number or 0)
    except ValueError:
        box, frame = (), 0
    if len(box) != 4 or frame < 0 or not np.isfinite(box).all():
        raise ReidEdgeError(
            "The target must be left,top,right,bottom in pixels and @FRAME from 0, such as "
            "320,90,420,400@10, got %r." % text
        )
    return box, frame
