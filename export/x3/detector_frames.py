"""Camera frames that a detector is calibrated and judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.layouts import IMAGE_SUFFIXES
from export.x3.calibration_data import is_uniform
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image

HELD_OUT = 32  # frames at most
LEAST_HELD_OUT = 8  # with fewer, the calibration frames judge too


@dataclass(frozen=True)
class Frames:
    """Frames as the camera took them, (H, W, 3) uint8 BGR, at equal distances through the folder.

    Attributes:
        calibration: Ranges are taken from these.
        judge: Others, or the same where there are too few.
        held_out: Whether they are others.
        left_out: Frames of one colour, which tell nothing about ranges.
    """

    calibration: list[np.ndarray]
    judge: list[np.ndarray]
    held_out: bool
    left_out: int


def read_frames(folder: Path, count: int) -> Frames:
    """Read ``count`` frames to calibrate on, and up to HELD_OUT others.

    Raises:
        ReidEdgeError: No folder, no pictures, one that cannot be read, or all of one colour.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ReidEdgeError(
            f"No frames in {folder}; give a folder of pictures that the robot's camera took."
        )
    chosen = _spaced(len(paths), count)
    others = sorted(set(range(len(paths))) - set(chosen))
    judging = [others[i] for i in _spaced(len(others), HELD_OUT)]
    calibration, left_out = _read(paths, chosen)
    if not calibration:
        raise ReidEdgeError(
            f"All {len(chosen)} frames chosen from {folder} are of one colour; give pictures that the "
            "robot's camera took of its surroundings."
        )
    judge, _ = _read(paths, judging)
    held_out = len(judge) >= LEAST_HELD_OUT
    return Frames(calibration, judge if held_out else calibration[:HELD_OUT], held_out, left_out)


def _spaced(length: int, count: int) -> list[int]:
    if not length:
        return []
    places = np.linspace(0, length - 1, min(count, length)).round().astype(int)
    return [int(place) for place in np.unique(places)]


def _read(paths: list[Path], chosen: list[int]) -> tuple[list[np.ndarray], int]:
    frames = [read_image(paths[i]) for i in chosen]
    usable = [frame for frame in frames if not is_uniform(frame)]
    return usable, len(frames) - len(usable)
