"""Pictures of a chessboard as a known camera with a known lens would take them."""

from functools import lru_cache
from typing import List, Tuple

import cv2
import numpy as np

from follow_robot.camera_model import CameraModel
from follow_robot.lens_calibration import Board

Pose = Tuple[np.ndarray, np.ndarray]

TRUE = CameraModel(
    width_px=640,
    height_px=480,
    f_x_px=500.0,
    f_y_px=505.0,
    c_x_px=326.0,
    c_y_px=236.0,
    k1=-0.25,
    k2=0.07,
    p1=0.001,
    p2=-0.0015,
)


def _pose(x: float, y: float, z: float, tilt_x: float, tilt_y: float, roll: float) -> Pose:
    return np.array([tilt_x, tilt_y, roll]), np.array([x, y, z])


# Rotation vector and place of the board's middle in the camera's frame (x right, y down), metres.
VIEWS: List[Pose] = [
    _pose(0.0, 0.0, 0.42, 0.0, 0.0, 0.0),
    _pose(0.0, 0.0, 0.45, 0.5, 0.0, 0.1),
    _pose(0.0, 0.0, 0.45, -0.5, 0.1, 0.0),
    _pose(0.0, 0.0, 0.45, 0.0, 0.55, -0.1),
    _pose(0.0, 0.0, 0.45, 0.1, -0.55, 0.0),
    _pose(0.0, 0.0, 0.60, 0.4, 0.4, 0.3),
    _pose(0.0, 0.0, 0.60, -0.4, 0.4, 0.0),
    _pose(0.0, 0.0, 0.60, 0.4, -0.4, 0.6),
    _pose(-0.12, -0.09, 0.42, 0.2, -0.2, 0.0),
    _pose(0.12, -0.09, 0.42, 0.2, 0.2, 0.0),
    _pose(-0.12, 0.09, 0.42, -0.2, -0.2, 0.0),
    _pose(0.12, 0.09, 0.42, -0.2, 0.2, 0.0),
    _pose(-0.13, 0.0, 0.45, 0.0, -0.4, 0.2),
    _pose(0.13, 0.0, 0.45, 0.0, 0.4, -0.2),
]


@lru_cache(maxsize=1)
def _rays(supersample: int) -> np.ndarray:
    """(N, 3) rays of all pixels in the camera's frame, with depth 1."""
    height, width = 480 * supersample, 640 * supersample
    matrix = np.array(
        [[TRUE.f_x_px, 0, TRUE.c_x_px], [0, TRUE.f_y_px, TRUE.c_y_px], [0, 0, 1]], float
    )
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    u, v = np.meshgrid(columns / supersample, rows / supersample)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(pixels, matrix, np.array([TRUE.k1, TRUE.k2, TRUE.p1, TRUE.p2]))
    return np.concatenate([rays.reshape(-1, 2), np.ones((len(pixels), 1))], axis=1).astype(
        np.float32
    )


def render(board: Board, pose: Pose, supersample: int = 2) -> np.ndarray:
    """(480, 640, 3) uint8: the board on a grey wall, smoothed as a lens does.

    Every pixel's ray is undistorted and cut with the board's plane, so nothing here shares code with
    what is tested but OpenCV's own undistortion.
    """
    rays = _rays(supersample)
    rotation, _ = cv2.Rodrigues(pose[0])
    normal = rotation[:, 2]
    depth = (normal @ pose[1]).astype(np.float32) / (rays @ normal.astype(np.float32))
    sides = (rays @ rotation[:, :2].astype(np.float32)).T * depth  # board's frame, middle at 0
    origin = rotation[:, :2].T @ pose[1]
    across, down = (
        np.floor((side - o) / np.float32(board.square_m) + np.float32((count + 1) / 2))
        for side, o, count in zip(sides, origin.astype(np.float32), (board.columns, board.rows))
    )
    picture = np.full(len(rays), 150, np.float32)  # the wall
    paper = (across >= -1) & (down >= -1) & (across < board.columns + 2) & (down < board.rows + 2)
    picture[paper] = 235
    inside = (down >= 0) & (down <= board.rows) & (across >= 0) & (across <= board.columns)
    picture[inside & ((down + across) % 2 == 0)] = 20
    picture = picture.reshape(480 * supersample, -1).astype(np.float32)
    picture = cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA)
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7)
    noise = np.random.default_rng(abs(hash(tuple(pose[1]))) % 1000).normal(0, 1.5, picture.shape)
    grey = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
