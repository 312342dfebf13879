"""What the camera sees of the world, and who is where in the picture."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from follow_robot.simulator.background import Background
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.figure import Sprite, Stance, draw
from follow_robot.simulator.people import Walker
from follow_robot.simulator.plane import Pose, Walls

Box = Tuple[float, float, float, float]
_SOLID = 127  # coverage from which a pixel belongs to a person
_NOISES = 5  # pictures of it, used in turn


class Shown(NamedTuple):
    """One person on one picture: the truth.

    Attributes:
        name: Of the person.
        box: Left, top, right, bottom in pixels of the whole body, also outside the frame.
        seen_box: The same of what can be seen; None where that is nothing.
        share: Of the body that can be seen, 0 to 1.
        distance_m: Along the floor from the camera to the middle of the person.
        bearing_rad: To the left of the camera's axis.
    """

    name: str
    box: Box
    seen_box: Optional[Box]
    share: float
    distance_m: float
    bearing_rad: float


class Picture(NamedTuple):
    """A camera frame with its truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        people: Everybody of whom some part lies within the frame, nearest first.
    """

    image: np.ndarray
    people: List[Shown]


class Renderer:
    """Draws pictures. The same world gives the same picture, noise included.

    Args:
        camera: Its size and mounting.
        walls: Of the world.
        seed: Of textures and noise.
        noise: Standard deviation of the sensor's noise in grey levels.
    """

    def __init__(self, camera: Camera, walls: Walls, seed: int = 0, noise: float = 2.5):
        self.camera = camera
        self.background = Background(camera, walls, seed)
        rng = np.random.default_rng((seed, 4))
        size = (_NOISES, camera.height_px, camera.width_px, 3)
        self._noise = np.rint(noise * rng.standard_normal(size, np.float32)).astype(np.int16)
        self._count = 0

    def render(self, car: Pose, people: Sequence[Walker], gain: float = 1.0) -> Picture:
        """The picture of a camera on a car at ``car``; ``gain`` multiplies the light."""
        camera = self.camera.pose(car)
        backdrop = self.background.render(camera)
        image = backdrop.image
        owner = np.full(image.shape[:2], -1, np.int16)
        drawn = []
        for walker in people:
            stance = Stance.of(walker.pose, camera, walker.phase, walker.speed_mps)
            sprite = draw(walker.look, stance, self.camera)
            if sprite is not None:
                drawn.append((np.hypot(stance.ahead_m, stance.left_m), walker, stance, sprite))
        drawn.sort(key=lambda item: -item[0])
        bodies = []
        for number, (way_m, _, _, sprite) in enumerate(drawn):
            bodies.append(_compose(image, owner, backdrop.depth_m, number, way_m, sprite))
        if gain != 1.0:
            image = cv2.convertScaleAbs(image, alpha=gain)
        noise = self._noise[self._count % _NOISES]
        self._count += 1
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
        shown = []
        for number, (way_m, walker, stance, sprite) in enumerate(drawn):
            box = _seen(owner, number, sprite)
            inside = _inside_share(sprite.box, self.camera)
            share = 0.0
            if box is not None and bodies[number] > 0:
                share = inside * _count(owner, number, sprite) / bodies[number]
            bearing = float(np.arctan2(stance.left_m, stance.ahead_m))
            shown.append(Shown(walker.name, sprite.box, box, share, float(way_m), bearing))
        return Picture(image, shown[::-1])


def _compose(image, owner, depth_m, number: int, way_m: float, sprite: Sprite) -> int:
    """Paint a person onto the picture where no wall is nearer; pixels of the body in the frame."""
    patch, (left, top) = sprite.patch, sprite.corner
    place = (slice(top, top + patch.shape[0]), slice(left, left + patch.shape[1]))
    cover = patch[..., 3]
    body = int(cv2.countNonZero(cv2.threshold(cover, _SOLID, 1, cv2.THRESH_BINARY)[1]))
    free = depth_m[place] > way_m
    if not free.all():
        patch = patch * free[..., None]
        cover = patch[..., 3]
    rest = cv2.cvtColor(255 - cover, cv2.COLOR_GRAY2BGR)
    below = cv2.multiply(image[place], rest, scale=1 / 255)
    image[place] = cv2.add(below, cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR))
    owner[place][cover > _SOLID] = number
    return body


def _region(owner: np.ndarray, sprite: Sprite) -> np.ndarray:
    left, top = sprite.corner
    height, width = sprite.patch.shape[:2]
    return owner[top : top + height, left : left + width]


def _count(owner: np.ndarray, number: int, sprite: Sprite) -> int:
    return int((_region(owner, sprite) == number).sum())


def _seen(owner: np.ndarray, number: int, sprite: Sprite) -> Optional[Box]:
    """Bounds of the visible pixels; stray ones do not count."""
    own = _region(owner, sprite) == number
    if own.sum() < 8:
        return None
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    left, top = sprite.corner
    return (
        float(left + columns[0]),
        float(top + rows[0]),
        float(left + columns[-1] + 1),
        float(top + rows[-1] + 1),
    )


def _inside_share(box: Box, camera: Camera) -> float:
    """Share of a box that lies within the frame."""
    left, top, right, bottom = box
    wide = min(right, camera.width_px) - max(left, 0)
    high = min(bottom, camera.height_px) - max(top, 0)
    area = (right - left) * (bottom - top)
    return max(wide, 0.0) * max(high, 0.0) / area if area > 0 else 0.0
