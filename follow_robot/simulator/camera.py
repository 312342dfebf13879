"""The simulated car's camera: an ideal pinhole, low on the car and tilted up."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Optional, Tuple

import numpy as np

from follow_robot.simulator.plane import Pose
from runtime.errors import ReidEdgeError

NEAR_M = 0.25  # what is nearer than this fills the lens and is not drawn


@dataclass(frozen=True)
class Camera:
    """Where the camera sits on the car and how it projects.

    Attributes:
        width_px, height_px: Of its frames.
        hfov_deg: Horizontal field of view.
        height_m: Above the floor.
        tilt_deg: Upwards.
        forward_m: In front of the car's centre.
        rate_hz: Frames per second.
    """

    width_px: int = 320
    height_px: int = 240
    hfov_deg: float = 75.0
    height_m: float = 0.3
    tilt_deg: float = 17.0
    forward_m: float = 0.1
    rate_hz: float = 10.0

    def __post_init__(self):
        if not (64 <= self.width_px <= 1280 and 48 <= self.height_px <= 960):
            raise ReidEdgeError(
                "The simulated camera gives 64 x 48 to 1280 x 960 pixels, got %r x %r."
                % (self.width_px, self.height_px)
            )
        if not 20 <= self.hfov_deg <= 120 or not -30 <= self.tilt_deg <= 45:
            raise ReidEdgeError(
                "The simulated camera has hfov_deg of 20 to 120 and tilt_deg of -30 to 45, got %r "
                "and %r." % (self.hfov_deg, self.tilt_deg)
            )
        if not 0.05 <= self.height_m <= 2 or not 1 <= self.rate_hz <= 60:
            raise ReidEdgeError(
                "The simulated camera has height_m of 0.05 to 2 and rate_hz of 1 to 60, got %r and "
                "%r." % (self.height_m, self.rate_hz)
            )

    # Computed once, because every joint of everybody is projected with them.
    @cached_property
    def focal_px(self) -> float:
        return self.width_px / 2 / math.tan(math.radians(self.hfov_deg) / 2)

    @cached_property
    def _tilt(self) -> Tuple[float, float]:
        return math.cos(self.tilt_rad), math.sin(self.tilt_rad)

    @property
    def tilt_rad(self) -> float:
        return math.radians(self.tilt_deg)

    def pose(self, car: Pose) -> Pose:
        """The camera's place on the floor plan, for a car that stands at ``car``."""
        x, y = car.to_world(self.forward_m, 0.0)
        return Pose(x, y, car.heading_rad)

    def project(
        self, forward_m: float, left_m: float, up_m: float
    ) -> Optional[Tuple[float, float, float]]:
        """A point ahead, to the left of and above the floor below the camera.

        Returns:
            Column and row in pixels (pixel i covers i to i + 1) and depth in metres along the
            optical axis, or None for a point behind ``NEAR_M``.
        """
        c, s = self._tilt
        up_m -= self.height_m
        depth = c * forward_m + s * up_m
        if depth < NEAR_M:
            return None
        down = s * forward_m - c * up_m
        scale = self.focal_px / depth
        return self.width_px / 2 - scale * left_m, self.height_px / 2 + scale * down, depth

    def rays(self) -> Tuple[np.ndarray, np.ndarray]:
        """(H, W) azimuth to the left in radians and slope (rise over way on the floor) per pixel."""
        across = (np.arange(self.width_px) + 0.5 - self.width_px / 2) / self.focal_px
        down = ((np.arange(self.height_px) + 0.5 - self.height_px / 2) / self.focal_px)[:, None]
        c, s = self._tilt
        forward = c + s * down + 0 * across
        left = -across + 0 * down
        up = s - c * down + 0 * across
        return np.arctan2(left, forward), up / np.hypot(forward, left)
