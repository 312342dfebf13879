"""How high the camera sits and how far it looks down, from where a person of known size appears."""

import math
from dataclasses import replace
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from follow_robot.camera_model import CameraModel
from runtime.errors import ReidEdgeError

Box = Tuple[float, float, float, float]

_EDGE_PX = 3.0  # an edge of a box this near to the frame's is cut off there
_NOISE_PX = 2.0  # standard deviation of an edge that a detector or a hand drew
_MISFIT = 0.05  # of the frame's height
_STARTS_M = (0.1, 0.25, 0.5, 1.0, 1.5)
_ROUNDS = 50


class Sighting(NamedTuple):
    """A person who stood upright at a measured place.

    Attributes:
        box: Left, top, right, bottom in pixels, around the whole person.
        distance_m: From the camera to the feet, along the ground.
    """

    box: Box
    distance_m: float


class Mount(NamedTuple):
    """Where the camera sits.

    Attributes:
        height_m: Above the ground.
        pitch_rad: Of the optical axis below the horizon.
        height_sigma_m, pitch_sigma_rad: One standard deviation, with edges good to two pixels.
        misfit_px: Root mean square distance between the boxes' edges and where they should be.
    """

    height_m: float
    pitch_rad: float
    height_sigma_m: float
    pitch_sigma_rad: float
    misfit_px: float


def solve_mount(
    sightings: Sequence[Sighting],
    frame_size: Tuple[int, int],
    camera: CameraModel,
    person_height_m: float,
    camera_height_m: Optional[float] = None,
) -> Mount:
    """Fit height and pitch to the feet and heads of sightings (Gauss-Newton, damped).

    One sighting with head and feet is enough, but weak for the height: a camera at h and one at the
    person's height minus h see almost the same, and the lower one is taken. Give the height if it was
    measured, or sightings at several distances.

    Args:
        sightings: Where the person stood and appeared; edges at the frame's edge are not used.
        frame_size: (height, width) of the frames.
        camera: Its lens is used, its mount is not.
        person_height_m: With shoes.
        camera_height_m: Measured height of the camera; then only the pitch is fitted.

    Raises:
        ReidEdgeError: Too few edges, values that no person or camera has, or a fit that is off.
    """
    rows = _rows(sightings, frame_size, person_height_m)
    unknowns = 1 if camera_height_m is not None else 2
    if len(rows) < unknowns:
        raise ReidEdgeError(
            "The mount needs the person's feet or head in the frame, at two distances if only one of "
            "them shows and the camera's height was not measured; got %d edge(s) that are not cut off."
            % len(rows)
        )
    rays = _Rays(camera.scaled(frame_size), rows)
    found = []
    for start in _STARTS_M if camera_height_m is None else (camera_height_m,):
        fit = _fit(rays, start, camera_height_m is None)
        if fit is not None:
            found.append(fit)
    if not found or min(f.misfit_px for f in found) > _MISFIT * frame_size[0]:
        raise ReidEdgeError(
            "No mount explains where the person appears; check the distances (metres along the "
            "ground), the person's height and the boxes."
        )
    best = min(fit.misfit_px for fit in found)
    return min((f for f in found if f.misfit_px <= best + 0.1), key=lambda fit: fit.height_m)


class _Row(NamedTuple):
    """An edge of a box: a point of the person and the row in which it was seen."""

    x_px: float
    y_px: float
    distance_m: float
    height_m: float


def _rows(
    sightings: Sequence[Sighting], frame_size: Tuple[int, int], person_height_m: float
) -> List[_Row]:
    if not 0.5 <= person_height_m <= 2.5:
        raise ReidEdgeError(
            "A person's height must be 0.5 to 2.5 metres, got %g." % person_height_m
        )
    rows = []
    for box, distance_m in sightings:
        left, top, right, bottom = box
        if not all(map(math.isfinite, box)) or not (left < right and top < bottom):
            raise ReidEdgeError("A box is left, top, right, bottom in pixels, got %s." % (box,))
        if not 0.3 <= distance_m <= 20:
            raise ReidEdgeError("A distance must be 0.3 to 20 metres, got %g." % distance_m)
        middle = (left + right) / 2
        if bottom < frame_size[0] - _EDGE_PX:
            rows.append(_Row(middle, bottom, distance_m, 0.0))
        if top > _EDGE_PX:
            rows.append(_Row(middle, top, distance_m, person_height_m))
    return rows


class _Rays:
    """What was seen, as rays of a camera that looks straight ahead, and what should have been."""

    def __init__(self, lens: CameraModel, rows: Sequence[_Row]):
        level = replace(lens, pitch_rad=0.0, yaw_rad=0.0)
        rays = np.array([level.ray((row.x_px, row.y_px)) for row in rows])
        self.right, self.down = -rays[:, 1] / rays[:, 0], -rays[:, 2] / rays[:, 0]
        self.distance_m = np.array([row.distance_m for row in rows])
        self.height_m = np.array([row.height_m for row in rows])
        f_y = level.f_y_px or 0.0
        self.px_per_rad = f_y * (1 + self.down**2)

    def errors_px(self, pitch_rad: float, height_m: float) -> np.ndarray:
        """(N,) elevation that should have been seen minus that seen, in pixels."""
        cosine, sine = math.cos(pitch_rad), math.sin(pitch_rad)
        along = np.hypot(cosine - self.down * sine, self.right)
        seen = np.arctan2(-sine - self.down * cosine, along)
        true = np.arctan2(self.height_m - height_m, self.distance_m)
        return (true - seen) * self.px_per_rad

    def slopes(self, pitch_rad: float, height_m: float) -> np.ndarray:
        """(N, 2) change of the errors per radian of pitch and metre of height."""
        step = 1e-5
        return np.stack(
            [
                self.errors_px(pitch_rad + step, height_m)
                - self.errors_px(pitch_rad - step, height_m),
                self.errors_px(pitch_rad, height_m + step)
                - self.errors_px(pitch_rad, height_m - step),
            ],
            axis=1,
        ) / (2 * step)


def _fit(rays: _Rays, start_m: float, free_height: bool) -> Optional[Mount]:
    """From one start; None if it ends where no mount is."""
    # What a level camera's errors have in common is about the pitch.
    x = np.array([-float(np.mean(rays.errors_px(0.0, start_m) / rays.px_per_rad)), start_m])
    free = slice(0, 2 if free_height else 1)
    errors, damping = rays.errors_px(*x), 1e-3
    for _ in range(_ROUNDS):
        J = rays.slopes(*x)[:, free]
        normal = J.T @ J
        trial = x.copy()
        trial[free] -= np.linalg.solve(normal + damping * np.diag(np.diag(normal)), J.T @ errors)
        better = rays.errors_px(*trial)
        if better @ better > errors @ errors:
            damping *= 10
            if damping > 1e8:
                break
            continue
        done = float(np.abs(trial - x).max()) < 1e-9
        x, errors, damping = trial, better, damping / 10
        if done:
            break
    pitch, height = float(x[0]), float(x[1])
    if not (0.02 < height < 3.0 and -1.2 < pitch < 1.2):
        return None
    J = rays.slopes(*x)[:, free]
    sigma = np.sqrt(np.diag(np.linalg.pinv(J.T @ J))) * _NOISE_PX
    misfit = math.sqrt(float(errors @ errors) / len(errors))
    return Mount(height, pitch, float(sigma[1]) if free_height else 0.0, float(sigma[0]), misfit)
