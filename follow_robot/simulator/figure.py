"""One drawn person as pixels with their coverage."""

import math
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from follow_robot.simulator.body import Body, Shape, Stance
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.looks import Look

_FINE = 2  # drawn so much larger and then reduced, for smooth edges
_NEAREST_M = 0.4
_REACH_M = 0.9  # nobody reaches farther from their middle
_TILTED_RAD = 0.25  # how much wider the upper corners of a tilted camera see
_SHIFT = 4  # bits of OpenCV's fixed-point coordinates: no jumps from pixel to pixel


class Sprite(NamedTuple):
    """A drawn person.

    Attributes:
        box: Left, top, right, bottom in pixels of the whole body, also outside the frame.
        corner: Column and row of the patch's upper left pixel in the frame.
        patch: (h, w, 4) uint8, colours already weighted by the fourth channel, the coverage.
    """

    box: Tuple[float, float, float, float]
    corner: Tuple[int, int]
    patch: np.ndarray


def draw(look: Look, stance: Stance, camera: Camera) -> Optional[Sprite]:
    """Draw somebody, or None if they are behind the camera or outside its view."""
    way_m = math.hypot(stance.ahead_m, stance.left_m)
    if way_m < _NEAREST_M or stance.ahead_m < _NEAREST_M / 2:
        return None
    aside_rad = abs(math.atan2(stance.left_m, stance.ahead_m)) - math.asin(_REACH_M / max(way_m, 1))
    if aside_rad > math.radians(camera.hfov_deg) / 2 + _TILTED_RAD:
        return None
    shapes = Body(look, stance, camera).shapes()
    if not shapes:
        return None
    box = _bounds(shapes)
    left, top = max(math.floor(box[0]) - 1, 0), max(math.floor(box[1]) - 1, 0)
    right = min(math.ceil(box[2]) + 1, camera.width_px)
    bottom = min(math.ceil(box[3]) + 1, camera.height_px)
    if right <= left or bottom <= top:
        return None
    canvas = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE, 4), np.uint8)
    for shape in shapes:
        _paint(canvas, shape, left, top)
    patch = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return Sprite(box, (left, top), patch)


def _paint(canvas: np.ndarray, shape: Shape, left: int, top: int) -> None:
    scale = _FINE * (1 << _SHIFT)
    points = [(round((x - left) * scale), round((y - top) * scale)) for x, y in shape.points]
    colour = (*shape.colour, 255)
    if shape.radius_px <= 0:
        cv2.fillConvexPoly(canvas, np.array(points, np.int32), colour, cv2.LINE_8, _SHIFT)
    elif len(points) == 1:
        radius = max(round(shape.radius_px * scale), 1)
        cv2.circle(canvas, points[0], radius, colour, -1, cv2.LINE_8, _SHIFT)
    else:
        thickness = max(1, round(2 * shape.radius_px * _FINE))
        for a, b in zip(points, points[1:]):
            cv2.line(canvas, a, b, colour, thickness, cv2.LINE_8, _SHIFT)


def _bounds(shapes: List[Shape]) -> Tuple[float, float, float, float]:
    xs = [(x, s.radius_px) for s in shapes for x, _ in s.points]
    ys = [(y, s.radius_px) for s in shapes for _, y in s.points]
    return (
        min([x - r for x, r in xs]),
        min([y - r for y, r in ys]),
        max([x + r for x, r in xs]),
        max([y + r for y, r in ys]),
    )
