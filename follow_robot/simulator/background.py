"""Walls and floor as the camera sees them: one ray per direction, textures looked up per pixel."""

import math
from functools import lru_cache
from typing import List, NamedTuple, Tuple

import cv2
import numpy as np

from follow_robot.simulator.camera import Camera
from follow_robot.simulator.plane import Pose, Walls

WALL_M = 2.6  # height of the walls
_PPM = 64  # pixels per metre of the finest texture
_LEVELS = 4  # each half as fine, so that far walls do not glitter
_PERIOD_M = 8.0  # textures repeat
_STYLES = 4
_EDGE = 2  # columns repeated at the right end, for interpolation
_FAR_M = 60.0
_BINS = 2048  # directions of rays
_ROOMS = 5  # decorations
Atlas = Tuple[np.ndarray, np.ndarray]  # textures level below level, and each level's first row


class Backdrop(NamedTuple):
    """What is seen behind people.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        depth_m: (H, W) float32, way along the floor to the wall in each pixel's direction.
    """

    image: np.ndarray
    depth_m: np.ndarray


class Background:
    """Renders walls, floor and ceiling.

    Args:
        camera: Its size and mounting.
        walls: What stands in the world.
        seed: Of the decoration, and of which wall shows which part of it.
    """

    def __init__(self, camera: Camera, walls: Walls, seed: int = 0):
        self.camera, self.walls = camera, walls
        room = _room(seed % _ROOMS)
        self._atlas, self._tops = room.walls
        rng = np.random.default_rng((seed, 3))
        self._style = rng.integers(0, _STYLES, max(len(walls), 1))
        self._start_m = rng.uniform(0, _PERIOD_M, max(len(walls), 1))
        azimuth, slope = camera.rays()
        self._slope = slope.astype(np.float32)
        left, step = float(azimuth.min()), float(np.ptp(azimuth)) / (_BINS - 1)
        self._bin = np.rint((azimuth - left) / step).astype(np.intp)
        self._angles = left + step * np.arange(_BINS)
        self._planes = [
            _Plane(camera, azimuth, slope, -camera.height_m, room.floor),
            _Plane(camera, azimuth, slope, WALL_M - camera.height_m, room.ceiling),
        ]

    def render(self, pose: Pose) -> Backdrop:
        """The view of a camera at ``pose``."""
        depth, column, base, gain, top = self._directions(pose)
        index = self._bin
        map_x = column.take(index)
        map_y = gain.take(index)
        map_y *= self._slope
        map_y += base.take(index)
        np.maximum(map_y, top.take(index), out=map_y)
        image = cv2.remap(
            self._atlas, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        depth_map = depth.take(index)
        for plane in self._planes:
            plane.lay(image, depth_map, pose)
        return Backdrop(image, depth_map)

    def _directions(self, pose: Pose):
        """Per direction: depth, column in the atlas, and the row as base + gain * slope."""
        hits = self.walls.cast(pose[:2], pose.heading_rad + self._angles)
        depth = np.minimum(hits.distance, _FAR_M)
        wall = np.maximum(hits.wall, 0)
        level = np.clip(
            np.floor(np.log2(_PPM * depth / self.camera.focal_px) + 0.3), 0, _LEVELS - 1
        )
        ppm = _PPM / 2**level
        along = (hits.along + self._start_m[wall]) % _PERIOD_M
        width = _PERIOD_M * ppm + _EDGE
        column = self._style[wall] * width + along * ppm
        top = self._tops[level.astype(int)]
        base = top + (WALL_M - self.camera.height_m) * ppm
        gain = -depth * ppm
        return tuple(v.astype(np.float32) for v in (depth, column, base, gain, top))


class _Plane:
    """Floor or ceiling: what is ahead in each pixel's direction does not change, only where that is.

    Args:
        camera: Its size and mounting.
        azimuth, slope: (H, W) of its pixels.
        rise_m: Height of the plane above the camera; below 0 for the floor.
        atlas: Texture of a square of ``_PERIOD_M``.
    """

    def __init__(
        self,
        camera: Camera,
        azimuth: np.ndarray,
        slope: np.ndarray,
        rise_m: float,
        atlas: Atlas,
    ):
        self._atlas, tops = atlas
        sees = slope * np.sign(rise_m) > 0
        rows = np.flatnonzero(sees.any(axis=1))
        self._rows = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
        slope, azimuth, sees = slope[self._rows], azimuth[self._rows], sees[self._rows]
        with np.errstate(divide="ignore"):
            way = np.where(sees, rise_m / slope, _FAR_M)
        self._way = np.minimum(way, _FAR_M).astype(np.float32)
        # The picture of a piece of it shrinks with the square of its distance, lengthways.
        squeezed = _PPM * self._way**2 / (camera.focal_px * abs(rise_m))
        level = np.clip(np.ceil(np.log2(np.maximum(squeezed, 1))), 0, _LEVELS - 1)
        self._ppm = (_PPM / 2**level).astype(np.float32)
        self._top = tops[level.astype(int)]
        self._ahead = (self._way * np.cos(azimuth)).astype(np.float32)
        self._aside = (self._way * np.sin(azimuth)).astype(np.float32)
        # What is too far for the coarsest texture fades to its mean, or it would glitter.
        fade = np.clip((squeezed / 2 ** (_LEVELS - 1) - 1) / 3, 0, 1)
        self._keep = cv2.cvtColor((255 * (1 - fade)).astype(np.uint8), cv2.COLOR_GRAY2BGR)
        mean = self._atlas.mean(axis=(0, 1))
        self._mist = (fade[..., None] * mean).astype(np.uint8)

    def lay(self, image: np.ndarray, depth_m: np.ndarray, pose: Pose) -> None:
        """Paint it where it is nearer than the walls."""
        if not len(self._way):
            return
        c, s = np.float32(math.cos(pose.heading_rad)), np.float32(math.sin(pose.heading_rad))
        period = np.float32(_PERIOD_M)
        # Into one period first, so that only small numbers are reduced per pixel.
        x0, y0 = np.float32(pose.x % _PERIOD_M), np.float32(pose.y % _PERIOD_M)
        map_x = c * self._ahead - s * self._aside
        map_x += x0
        map_x -= period * np.floor(map_x / period)
        map_x *= self._ppm
        map_y = s * self._ahead + c * self._aside
        map_y += y0
        map_y -= period * np.floor(map_y / period)
        map_y *= self._ppm
        map_y += self._top
        seen = cv2.remap(
            self._atlas, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen = cv2.add(cv2.multiply(seen, self._keep, scale=1 / 255), self._mist)
        nearer = (self._way < depth_m[self._rows]).astype(np.uint8)
        cv2.copyTo(seen, nearer, image[self._rows])


class _Room(NamedTuple):
    """Textures of a room."""

    walls: Atlas
    floor: Atlas
    ceiling: Atlas


@lru_cache(maxsize=None)
def _room(number: int) -> _Room:
    """One of ``_ROOMS`` decorations, kept: making it takes as long as a second of simulation."""
    rng = np.random.default_rng((number, 8))
    walls = _stack([_wall(rng) for _ in range(_STYLES)])
    return _Room(walls, _stack([_floor(rng)]), _stack([_ceiling(rng)]))


def _stack(textures: List[np.ndarray]) -> Atlas:
    rows, tops, top = [], [], 0
    width = sum(t.shape[1] for t in textures) + _EDGE * len(textures)
    for level in range(_LEVELS):
        small = []
        for texture in textures:
            size = (texture.shape[1] >> level, round(texture.shape[0] / 2**level))
            reduced = cv2.resize(texture, size, interpolation=cv2.INTER_AREA)
            small.append(cv2.copyMakeBorder(reduced, 0, 0, 0, _EDGE, cv2.BORDER_WRAP))
        strip = np.hstack(small)
        pad = ((0, 0), (0, width - strip.shape[1]), (0, 0))
        rows.append(np.pad(strip, pad, mode="edge"))
        tops.append(top)
        top += strip.shape[0]
    return np.ascontiguousarray(np.vstack(rows)), np.array(tops, np.float32)


def _clouds(rng: np.random.Generator, size: Tuple[int, int], wave_px: float) -> np.ndarray:
    """Smooth noise that repeats without a seam, of standard deviation 1."""
    noise = np.fft.rfft2(rng.normal(size=size))
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None]
    smooth = np.fft.irfft2(noise * np.exp(-((fx**2 + fy**2) * (wave_px * 2) ** 2)), size)
    return smooth / smooth.std()


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A muted wall with panels, pictures, a door and a skirting board; people carry the colours."""
    height, width = round(WALL_M * _PPM), round(_PERIOD_M * _PPM)
    base = rng.uniform(95, 200) + rng.uniform(-14, 14, 3)
    shade = 4 * _clouds(rng, (height, width), 30) + 3 * _clouds(rng, (height, width), 4)
    wall = base + shade[..., None]
    x = rng.uniform(0.2, 0.8)
    while x < _PERIOD_M - 0.6:
        wide = rng.uniform(0.3, 0.9)
        low, high = (0.0, 2.0) if rng.random() < 0.25 else (rng.uniform(0.4, 1.2), 0.0)
        high = high or low + rng.uniform(0.4, 0.9)
        tone = rng.uniform(20, 240) + rng.uniform(-18, 18, 3)
        inner = tone + rng.uniform(-90, 90)
        for margin, colour in ((0.0, tone), (0.06, inner)):
            left, right = x + margin, min(x + wide, _PERIOD_M - 0.1) - margin
            rows = slice(
                max(round((WALL_M - high + margin) * _PPM), 1),
                round((WALL_M - low - margin) * _PPM),
            )
            columns = slice(round(left * _PPM), round(right * _PPM))
            wall[rows, columns] = colour + 0.7 * shade[rows, columns, None]
        x += wide + rng.uniform(0.15, 0.9)
    wall[-round(0.1 * _PPM) :] *= 0.55
    wall = cv2.GaussianBlur(np.clip(wall, 0, 255), (0, 0), 0.8)
    return wall.astype(np.uint8)


def _floor(rng: np.random.Generator) -> np.ndarray:
    """Square tiles of half a metre with joints and stains."""
    size = round(_PERIOD_M * _PPM)
    tile = _PPM // 2
    base = rng.uniform(85, 150) + rng.uniform(-8, 8, 3)
    tones = np.kron(rng.normal(0, 13, (size // tile, size // tile)), np.ones((tile, tile)))
    stains = 7 * _clouds(rng, (size, size), 10) + 5 * _clouds(rng, (size, size), 3)
    floor = base + (tones + stains)[..., None]
    for start in (0, 1):
        floor[start::tile] -= 26
        floor[:, start::tile] -= 26
    return np.clip(floor, 0, 255).astype(np.uint8)


def _ceiling(rng: np.random.Generator) -> np.ndarray:
    """Plates of 1 m with dark joints, and bright lamps in some of them."""
    size, plate = round(_PERIOD_M * _PPM), _PPM
    base = rng.uniform(120, 185) + rng.uniform(-6, 6, 3)
    shade = 6 * _clouds(rng, (size, size), 20) + 3 * _clouds(rng, (size, size), 4)
    ceiling = base + shade[..., None]
    for start in range(3):
        ceiling[start::plate] -= 45
        ceiling[:, start::plate] -= 45
    cells = size // plate
    for row, column in zip(*np.nonzero(rng.random((cells, cells)) < 0.22)):
        top, left = row * plate, column * plate
        lamp = slice(top + plate // 5, top + 4 * plate // 5)
        ceiling[lamp, left + plate // 3 : left + 2 * plate // 3] = 250
    return np.clip(ceiling, 0, 255).astype(np.uint8)
