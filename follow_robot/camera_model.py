"""Where the camera sits and looks, and its lens: pixels to rays, rays to the ground, points to pixels.

Frames of reference. The car's: x forward, y left, z up (REP 103), origin on the ground below the
camera. The camera's: x right, y down, z along the optical axis (OpenCV). Pixels are continuous and
pixel i covers [i, i + 1], as in boxes; OpenCV counts from pixel centres instead, so its principal
point is half a pixel less.
"""

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

Pixel = Tuple[float, float]
Point = Tuple[float, float, float]

_SAME_SHAPE = 0.01  # relative difference of aspect ratios up to which only the scale differs
_MIN_DEPTH_M = 1e-3
# Both sides are iterated to far below what a detector's box is good for.
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
_RANGES = {
    "horizontal_fov_deg": (10.0, 150.0),
    "height_m": (0.02, 3.0),
    "pitch_rad": (-1.2, 1.2),
    "yaw_rad": (-math.pi, math.pi),
    "pitch_sigma_rad": (0.0, 0.3),
}


class Ray(NamedTuple):
    """A direction in the car's frame, from the camera; its length means nothing."""

    x: float
    y: float
    z: float

    @property
    def bearing_rad(self) -> float:
        """To the left of straight ahead."""
        return math.atan2(self.y, self.x)

    @property
    def slope(self) -> float:
        """Tangent of the elevation: height won per metre along the ground; above the horizon > 0."""
        along = math.hypot(self.x, self.y)
        return self.z / along if along else math.copysign(math.inf, self.z)


class _Lens(NamedTuple):
    """Focal lengths and principal point in pixels of frames of one size."""

    width_px: int
    height_px: int
    f_x_px: float
    f_y_px: float
    c_x_px: float
    c_y_px: float


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera with OpenCV's lens distortion, mounted on a car that stands on flat ground.

    Without calibration the field of view says all: square pixels, the axis in the frame's middle, no
    distortion. ``follow-robot calibrate`` gives the rest.

    Attributes:
        horizontal_fov_deg: Across the whole width of the frame; used only without ``f_x_px``.
        width_px: Width of the frames that the lens was calibrated at. Frames of another size must
            show the same field of view. Null, as are the next five, without a calibration.
        height_px: Height of those frames.
        f_x_px: Horizontal focal length.
        f_y_px: Vertical focal length.
        c_x_px: Principal point, to the right of the frame's left edge.
        c_y_px: Principal point, below the frame's upper edge.
        k1: Radial distortion, as OpenCV defines it: coefficient of r^2.
        k2: Radial distortion: coefficient of r^4.
        p1: Tangential distortion, as OpenCV defines it: first coefficient.
        p2: Tangential distortion: second coefficient.
        k3: Radial distortion: coefficient of r^6.
        height_m: Height of the camera above the ground.
        pitch_rad: Angle of the optical axis below the horizon; negative if the camera looks up.
        yaw_rad: Angle of the optical axis to the left of straight ahead.
        pitch_sigma_rad: How well the pitch is known while driving (one standard deviation): the
            mount, and how the car nods.

    Raises:
        ReidEdgeError: A value out of range, a calibration that is not complete, or a distortion that
            folds the picture inside its own frame.
    """

    horizontal_fov_deg: float = 62.0
    width_px: Optional[int] = None
    height_px: Optional[int] = None
    f_x_px: Optional[float] = None
    f_y_px: Optional[float] = None
    c_x_px: Optional[float] = None
    c_y_px: Optional[float] = None
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    height_m: float = 0.2
    pitch_rad: float = 0.0
    yaw_rad: float = 0.0
    pitch_sigma_rad: float = 0.02

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and not math.isfinite(value):
                raise ReidEdgeError("Camera %s must be finite, got %r." % (f.name, value))
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ReidEdgeError(
                    "Camera %s must be %g to %g, got %g." % (name, low, high, getattr(self, name))
                )
        missing = [name for name in _Lens._fields if getattr(self, name) is None]
        if 0 < len(missing) < len(_Lens._fields):
            raise ReidEdgeError(
                "A calibrated camera needs %s, and %s missing; calibrate again, or give only "
                "horizontal_fov_deg."
                % (", ".join(_Lens._fields), " and ".join(missing) + " is" * (len(missing) == 1))
            )
        if missing:
            if self.distorted:
                raise ReidEdgeError(
                    "Camera distortion (k1, k2, p1, p2, k3) needs the calibration it belongs to; "
                    "give %s too." % ", ".join(_Lens._fields)
                )
            return
        width, height, f_x, f_y, c_x, c_y = self._lens()
        if min(width, height, f_x, f_y) <= 0:
            raise ReidEdgeError(
                "Camera width_px, height_px, f_x_px and f_y_px must be above 0, got %s, %s, %s and "
                "%s." % (width, height, f_x, f_y)
            )
        if not (0 < c_x < width and 0 < c_y < height):
            raise ReidEdgeError(
                "The principal point (c_x_px %g, c_y_px %g) must lie inside the frame of %d x %d."
                % (c_x, c_y, width, height)
            )
        if self.distorted:
            self._check_distortion()

    @property
    def distorted(self) -> bool:
        return any((self.k1, self.k2, self.p1, self.p2, self.k3))

    def scaled(self, frame_size: Tuple[int, int]) -> "CameraModel":
        """The same camera with its lens in pixels of frames of ``frame_size`` (height, width).

        Raises:
            ReidEdgeError: Calibrated at another aspect ratio, which is another field of view.
        """
        return _scaled(self, int(frame_size[0]), int(frame_size[1]))

    def ray(self, pixel: Pixel) -> Ray:
        """The direction that a pixel (x, y) sees; needs a lens in pixels (``scaled``)."""
        _, _, f_x, f_y, c_x, c_y = self._lens()
        x, y = (pixel[0] - c_x) / f_x, (pixel[1] - c_y) / f_y
        if self.distorted:
            x, y = self._undistort(x, y)
        right, down, axis = self._axes()
        return Ray(*(axis[i] + x * right[i] + y * down[i] for i in range(3)))

    def ground(self, pixel: Pixel) -> Optional[Tuple[float, float]]:
        """Where a pixel sees the ground: (x, y) in the car's frame; None at and above the horizon."""
        ray = self.ray(pixel)
        if ray.z >= 0:
            return None
        scale = -self.height_m / ray.z
        return ray.x * scale, ray.y * scale

    def project(self, point_m: Point) -> Optional[Pixel]:
        """The pixel that sees a point (x, y, z) of the car's frame; None if it lies behind.

        Pixels far outside the frame are not to be relied on where the lens distorts: the model was
        fitted inside.
        """
        _, _, f_x, f_y, c_x, c_y = self._lens()
        right, down, axis = self._axes()
        seen = (point_m[0], point_m[1], point_m[2] - self.height_m)
        x, y, z = (sum(a * b for a, b in zip(side, seen)) for side in (right, down, axis))
        if z < _MIN_DEPTH_M:
            return None
        x, y = x / z, y / z
        if self.distorted:
            x, y = self._distort(x, y)
        return c_x + f_x * x, c_y + f_y * y

    def _axes(self) -> Tuple[Point, Point, Point]:
        """The camera's right, down and optical axis in the car's frame."""
        cp, sp = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        cy, sy = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return (sy, -cy, 0.0), (-sp * cy, -sp * sy, -cp), (cp * cy, cp * sy, -sp)

    def _lens(self) -> _Lens:
        values = [getattr(self, name) for name in _Lens._fields]
        if None in values:
            raise ReidEdgeError(
                "A camera known by its field of view has no pixels yet; call scaled(frame_size) first."
            )
        return _Lens(*values)

    def _coefficients(self) -> np.ndarray:
        return np.array([self.k1, self.k2, self.p1, self.p2, self.k3])

    def _distort(self, x: float, y: float) -> Pixel:
        points, _ = cv2.projectPoints(
            np.array([[[x, y, 1.0]]]), np.zeros(3), np.zeros(3), np.eye(3), self._coefficients()
        )
        return float(points[0, 0, 0]), float(points[0, 0, 1])

    def _undistort(self, x: float, y: float) -> Pixel:
        points = cv2.undistortPointsIter(
            np.array([[[x, y]]]), np.eye(3), self._coefficients(), np.eye(3), np.eye(3), _CRITERIA
        )
        return float(points[0, 0, 0]), float(points[0, 0, 1])

    def _check_distortion(self) -> None:
        """Every pixel of the frame must have one ray: OpenCV's inversion says nothing if it fails."""
        width, height, f_x, f_y, c_x, c_y = self._lens()
        edges = [
            ((x * width - c_x) / f_x, (y * height - c_y) / f_y)
            for x in (0, 0.5, 1)
            for y in (0, 0.5, 1)
        ]
        for x, y in edges:
            ray = self._undistort(x, y)
            good = all(math.isfinite(v) for v in ray)
            back = self._distort(*ray) if good else (math.inf, math.inf)
            good = good and math.hypot((back[0] - x) * f_x, (back[1] - y) * f_y) < 0.1
            # Beyond the turning point of the radial polynomial farther rays come back inwards.
            r2 = np.linspace(0, math.hypot(*ray), 64) ** 2 if good else np.zeros(1)
            growth = 1 + r2 * (3 * self.k1 + r2 * (5 * self.k2 + r2 * 7 * self.k3))
            if not good or growth.min() <= 0:
                raise ReidEdgeError(
                    "The camera's distortion (k1 %g, k2 %g, p1 %g, p2 %g, k3 %g) folds the picture "
                    "inside the frame; calibrate again with the board in all its corners."
                    % tuple(self._coefficients())
                )


@lru_cache(maxsize=16)
def _scaled(camera: CameraModel, height: int, width: int) -> CameraModel:
    if min(height, width) < 1:
        raise ReidEdgeError("A frame must have pixels, got %d x %d." % (width, height))
    if camera.f_x_px is None:
        focal = width / 2 / math.tan(math.radians(camera.horizontal_fov_deg) / 2)
        new = _Lens(width, height, focal, focal, width / 2, height / 2)
        return replace(camera, **new._asdict())
    old = camera._lens()
    x, y = width / old.width_px, height / old.height_px
    if abs(x / y - 1) > _SAME_SHAPE:
        raise ReidEdgeError(
            "The camera was calibrated at %d x %d, and frames of %d x %d show another field of view; "
            "calibrate at that size." % (old.width_px, old.height_px, width, height)
        )
    new = _Lens(width, height, old.f_x_px * x, old.f_y_px * y, old.c_x_px * x, old.c_y_px * y)
    return replace(camera, **new._asdict())
