"""People as a detector would box them: a flat figure of known size, projected by a known camera."""

import math
from typing import Optional, Tuple

import numpy as np

from follow_robot.camera_model import CameraModel
from follow_robot.ranging import PersonPrior

Box = Tuple[float, float, float, float]


def figure_box(
    camera: CameraModel,
    frame_size: Tuple[int, int],
    distance_m: float,
    bearing_rad: float = 0.0,
    person: Optional[PersonPrior] = None,
    hidden_below_m: float = 0.0,
) -> Optional[Box]:
    """Box around what is seen of a person who faces the camera.

    Legs are as wide as the prior says up to the hips, the rest as wide as its shoulders. What lies
    above or below the frame does not widen the box, as on real pictures; edges may lie outside it.

    Args:
        hidden_below_m: Something hides the person below this height.
    """
    person = person or PersonPrior()
    lens = camera.scaled(frame_size)
    x, y = distance_m * math.cos(bearing_rad), distance_m * math.sin(bearing_rad)
    middle = []
    sides = []
    for z in np.linspace(hidden_below_m, person.height_m, 50):
        on_axis = lens.project((x, y, float(z)))
        if on_axis is None:
            continue
        middle.append(on_axis[1])
        legs = z < person.leg_share * person.height_m
        half = (person.leg_width_m if legs else person.shoulder_width_m) / 2
        for side in (-half, half):
            point = (x - side * math.sin(bearing_rad), y + side * math.cos(bearing_rad), float(z))
            pixel = lens.project(point)
            if pixel is not None and 0 <= pixel[1] <= frame_size[0]:
                sides.append(pixel[0])
    if not middle or not sides:
        return None
    return min(sides), min(middle), max(sides), max(middle)


def inside(box: Box, frame_size: Tuple[int, int]) -> bool:
    """Whether anything of a box lies in the frame."""
    return box[0] < frame_size[1] and box[2] > 0 and box[1] < frame_size[0] and box[3] > 0
