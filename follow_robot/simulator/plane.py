"""Geometry of the world's plane: rays and distances to walls. Metres and radians."""

import math
from typing import NamedTuple, Optional, Tuple

import numpy as np

Point = Tuple[float, float]


class Pose(NamedTuple):
    """A place and a direction: x, y in metres, heading counter-clockwise from the x axis."""

    x: float
    y: float
    heading_rad: float

    def to_world(self, forward_m: float, left_m: float) -> Point:
        """The point that far ahead and to the left of this pose."""
        c, s = math.cos(self.heading_rad), math.sin(self.heading_rad)
        return self.x + c * forward_m - s * left_m, self.y + s * forward_m + c * left_m

    def to_local(self, point: Point) -> Point:
        """How far ahead and to the left of this pose a point is."""
        c, s = math.cos(self.heading_rad), math.sin(self.heading_rad)
        dx, dy = point[0] - self.x, point[1] - self.y
        return c * dx + s * dy, -s * dx + c * dy


class Hits(NamedTuple):
    """What rays meet first.

    Attributes:
        distance: (R,) metres, inf where a ray meets nothing.
        wall: (R,) row of the wall, -1 for none.
        along: (R,) metres from the wall's first end to the point that is met.
    """

    distance: np.ndarray
    wall: np.ndarray
    along: np.ndarray


class Walls:
    """Straight walls, thin and upright.

    Args:
        segments: (N, 4) x0, y0, x1, y1 in metres.
    """

    def __init__(self, segments: np.ndarray):
        self.segments = np.asarray(segments, np.float64).reshape(-1, 4)
        self._starts = self.segments[:, :2]
        self._ways = self.segments[:, 2:] - self._starts
        self.lengths = np.hypot(self._ways[:, 0], self._ways[:, 1])

    def __len__(self) -> int:
        return len(self.segments)

    def cast(self, origin: Point, angles: np.ndarray) -> Hits:
        """Follow rays from ``origin`` in the directions (R,) of the world to the walls."""
        count = len(angles)
        if not len(self):
            return Hits(np.full(count, np.inf), np.full(count, -1), np.zeros(count))
        cx, cy = np.cos(angles)[:, None], np.sin(angles)[:, None]
        sx, sy = (self._starts - origin).T
        wx, wy = self._ways.T
        # origin + t * (cx, cy) = start + k * way
        across = cx * wy - cy * wx  # (R, N)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            t = (sx * wy - sy * wx) / across
            k = (sx * cy - sy * cx) / across
        t = np.where((k >= 0) & (k <= 1) & (t > 1e-6), t, np.inf)  # NaN compares false
        wall = t.argmin(axis=1)
        rows = np.arange(count)
        distance = t[rows, wall]
        met = np.isfinite(distance)
        along = np.where(met, k[rows, wall], 0.0) * self.lengths[wall]
        return Hits(distance, np.where(met, wall, -1), along)

    def distance(self, point: Point) -> float:
        """Metres from a point to the nearest wall; inf without walls."""
        if not len(self):
            return math.inf
        off = np.asarray(point) - self._starts
        square = np.maximum((self._ways**2).sum(axis=1), 1e-12)
        k = np.clip((off * self._ways).sum(axis=1) / square, 0, 1)
        gap = off - k[:, None] * self._ways
        return float(np.hypot(gap[:, 0], gap[:, 1]).min())

    def sees(self, a: Point, b: Point) -> bool:
        """Whether no wall stands between two points."""
        way = math.hypot(b[0] - a[0], b[1] - a[1])
        angle = math.atan2(b[1] - a[1], b[0] - a[0])
        return bool(self.cast(a, np.array([angle])).distance[0] > way - 1e-9)


def disc_distance(origin: Point, angles: np.ndarray, centre: Point, radius_m: float) -> float:
    """Shortest way along any of the rays to a disc; inf if all miss it."""
    dx, dy = centre[0] - origin[0], centre[1] - origin[1]
    ahead = dx * np.cos(angles) + dy * np.sin(angles)
    aside = dx * np.sin(angles) - dy * np.cos(angles)
    half = radius_m**2 - aside**2
    ways = ahead - np.sqrt(np.maximum(half, 0))
    ways = ways[(half >= 0) & (ahead > 0)]
    return float(max(ways.min(), 0.0)) if len(ways) else math.inf


def wrapped(angle_rad: float) -> float:
    """The same direction within -pi to pi."""
    return (angle_rad + math.pi) % (2 * math.pi) - math.pi


def turned_towards(heading_rad: float, wanted_rad: Optional[float], most_rad: float) -> float:
    """``heading_rad`` turned towards ``wanted_rad`` by at most ``most_rad``."""
    if wanted_rad is None:
        return heading_rad
    off = wrapped(wanted_rad - heading_rad)
    return wrapped(heading_rad + max(-most_rad, min(most_rad, off)))
