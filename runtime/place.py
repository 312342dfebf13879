"""Where a person was last seen, and where they can be by now."""

import math
from typing import NamedTuple, Sequence

import numpy as np

_SLACK = 0.5  # of a height: boxes of people who are half hidden jump by so much
_SPEED = 1.0  # heights per second, a fast walk, in the picture of a camera that may turn
_SLACK_SIZE, _GROWTH = 0.4, 0.5  # logarithm of the height, and per second


class Place(NamedTuple):
    """A person's place in the picture.

    Attributes:
        x, y: Centre of the box in pixels.
        height: Of the box in pixels.
        time_s: When that was.
    """

    x: float
    y: float
    height: float
    time_s: float

    @classmethod
    def of(cls, box: Sequence[float], time_s: float) -> "Place":
        """The place of a box: left, top, right, bottom."""
        left, top, right, bottom = (float(v) for v in box)
        return cls((left + right) / 2, (top + bottom) / 2, max(bottom - top, 1.0), time_s)

    def moved(self, motion: np.ndarray) -> "Place":
        """The same place after the background moved by a (2, 3) affine."""
        x, y = motion @ (self.x, self.y, 1.0)
        return self._replace(x=float(x), y=float(y))

    def reaches(self, box: Sequence[float], time_s: float) -> bool:
        """Whether the person can be at ``box`` by ``time_s``, walking."""
        other = Place.of(box, time_s)
        gone_s = max(time_s - self.time_s, 0.0)
        way = math.hypot(other.x - self.x, other.y - self.y) / max(self.height, other.height)
        size = abs(math.log(other.height / self.height))
        return way <= _SLACK + _SPEED * gone_s and size <= _SLACK_SIZE + _GROWTH * gone_s
