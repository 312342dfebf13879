"""Pictures for people: the world from above beside what the camera sees and what was made of it."""

import math
from typing import List, Optional, Tuple

import cv2
import numpy as np

from follow_robot.simulator.plane import Pose
from follow_robot.simulator.world import World
from follow_robot.velocity import Velocity
from runtime.frame_record import FrameRecord
from runtime.lock_types import ENROLLING, LOCKED

Colour = Tuple[int, int, int]
PAPER: Colour = (250, 250, 250)
INK: Colour = (60, 60, 60)
WALL: Colour = (90, 90, 90)
VIEW: Colour = (214, 233, 250)
CAR: Colour = (190, 110, 30)
GOOD: Colour = (60, 160, 40)
OTHER: Colour = (150, 150, 150)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_RAYS = 64


class _Paper:
    """A sheet with metres on it, the car's neighbourhood in the middle; x to the right."""

    def __init__(self, size: Tuple[int, int], centre: Tuple[float, float], metres: float):
        self.image = np.full((size[1], size[0], 3), PAPER, np.uint8)
        self.scale = size[0] / metres
        self._x0 = centre[0] - metres / 2
        self._y0 = centre[1] + size[1] / self.scale / 2

    def at(self, x: float, y: float) -> Tuple[int, int]:
        return round((x - self._x0) * self.scale), round((self._y0 - y) * self.scale)

    def px(self, metres: float) -> int:
        return max(1, round(metres * self.scale))


def render_top_view(
    world: World,
    camera_hfov_deg: float,
    camera_forward_m: float = 0.1,
    size: Tuple[int, int] = (480, 360),
    metres: float = 9.0,
    velocity: Optional[Velocity] = None,
) -> np.ndarray:
    """Draw the world from above.

    Args:
        world: As it is now.
        camera_hfov_deg, camera_forward_m: What the camera sees is shaded.
        size: Width, height in pixels.
        metres: Width of what is shown.
        velocity: What the car is told, drawn as an arrow.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    pose = world.car.pose
    paper = _Paper(size, pose.to_world(metres / 5, 0.0), metres)
    _draw_view(paper, world, camera_hfov_deg, camera_forward_m)
    for x in range(math.floor(pose.x - metres), math.ceil(pose.x + metres)):
        for y in range(math.floor(pose.y - metres), math.ceil(pose.y + metres)):
            cv2.circle(paper.image, paper.at(x, y), 1, (215, 215, 215), -1)
    for x0, y0, x1, y1 in world.walls.segments.tolist():
        cv2.line(paper.image, paper.at(x0, y0), paper.at(x1, y1), WALL, 3, cv2.LINE_AA)
    for walker in world.people:
        _draw_person(paper, walker.pose, walker.radius_m, walker.look.top, walker.look.legs)
        is_target = walker is world.target
        mark = GOOD if is_target else OTHER
        cv2.circle(paper.image, paper.at(*walker.pose[:2]), paper.px(0.34), mark, 2, cv2.LINE_AA)
        x, y = paper.at(*walker.pose[:2])
        cv2.putText(paper.image, walker.name, (x + 10, y - 10), _FONT, 0.38, mark, 1, cv2.LINE_AA)
    _draw_car(paper, world, velocity)
    cv2.putText(paper.image, "%5.2f s" % world.time_s, (8, 18), _FONT, 0.5, INK, 1, cv2.LINE_AA)
    return paper.image


def render_scene(
    world: World,
    image: np.ndarray,
    record: Optional[FrameRecord],
    velocity: Velocity,
    camera_hfov_deg: float,
    said: str = "",
) -> np.ndarray:
    """Camera picture with boxes and words on the left, the world from above on the right.

    Args:
        world: As it is now.
        image: (H, W, 3) uint8 BGR of the camera.
        record: What perception made of it; None before the first frame.
        velocity: What the car is told.
        camera_hfov_deg: Of the camera.
        said: Why the car does not do what was asked for.

    Returns:
        (360, 960, 3) uint8 BGR.
    """
    scale = 360 / image.shape[0]
    left = cv2.resize(image, (round(image.shape[1] * scale), 360), interpolation=cv2.INTER_LINEAR)
    lines = ["vx %.2f m/s  wz %+.2f rad/s" % (velocity.vx_mps, velocity.wz_radps)]
    if record is not None:
        for person in record.people:
            _draw_box(left, person.box, scale, OTHER, 1)
        if record.lock.box is not None:
            colour = {LOCKED: GOOD, ENROLLING: (0, 170, 230)}.get(record.lock.state, OTHER)
            _draw_box(left, record.lock.box, scale, colour, 3)
        lines.insert(0, record.lock.state)
        if record.lock.similarity is not None:
            lines[0] += "  similarity %.2f" % record.lock.similarity
    if said:
        lines.append(said)
    for number, line in enumerate(lines):
        place = (8, 20 + 18 * number)
        cv2.putText(left, line, place, _FONT, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(left, line, place, _FONT, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    right = render_top_view(
        world, camera_hfov_deg, size=(960 - left.shape[1], 360), velocity=velocity
    )
    return np.hstack([left, right])


def _draw_view(paper: _Paper, world: World, hfov_deg: float, forward_m: float) -> None:
    pose = world.car.pose
    origin = pose.to_world(forward_m, 0.0)
    half = math.radians(hfov_deg) / 2
    angles = pose.heading_rad + np.linspace(-half, half, _RAYS)
    far = np.minimum(world.walls.cast(origin, angles).distance, 20.0)
    corners: List[Tuple[int, int]] = [paper.at(*origin)]
    for angle, way in zip(angles.tolist(), far.tolist()):
        corners.append(
            paper.at(origin[0] + way * math.cos(angle), origin[1] + way * math.sin(angle))
        )
    cv2.fillPoly(paper.image, [np.array(corners, np.int32)], VIEW)


def _draw_person(paper: _Paper, pose: Pose, radius_m: float, top: Colour, legs: Colour) -> None:
    centre = paper.at(pose.x, pose.y)
    degrees = -math.degrees(pose.heading_rad)
    nose = paper.at(*pose.to_world(0.3, 0.0))
    cv2.line(paper.image, centre, nose, INK, 2, cv2.LINE_AA)
    axes = (paper.px(0.13), paper.px(radius_m))
    cv2.ellipse(paper.image, centre, axes, degrees, 0, 360, top, -1, cv2.LINE_AA)
    cv2.ellipse(paper.image, centre, axes, degrees, 0, 360, INK, 1, cv2.LINE_AA)
    cv2.circle(paper.image, centre, paper.px(0.08), legs, -1, cv2.LINE_AA)


def _draw_car(paper: _Paper, world: World, velocity: Optional[Velocity]) -> None:
    pose, radius = world.car.pose, world.car.model.radius_m
    corners = [(1, 0.8), (1, -0.8), (-1, -0.8), (-1, 0.8)]
    outline = [paper.at(*pose.to_world(radius * f, radius * s)) for f, s in corners]
    cv2.fillConvexPoly(paper.image, np.array(outline, np.int32), CAR, cv2.LINE_AA)
    front = paper.at(*pose.to_world(radius, 0.0))
    cv2.circle(paper.image, front, 3, PAPER, -1, cv2.LINE_AA)
    if velocity is not None and not velocity.is_stop:
        ahead = 0.2 + 1.5 * velocity.vx_mps
        tip = paper.at(*pose.to_world(ahead, 1.5 * velocity.vy_mps + 0.3 * velocity.wz_radps))
        cv2.arrowedLine(paper.image, front, tip, CAR, 2, cv2.LINE_AA, tipLength=0.3)


def _draw_box(image: np.ndarray, box, scale: float, colour: Colour, thickness: int) -> None:
    left, top, right, bottom = (round(v * scale) for v in box)
    cv2.rectangle(image, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)
