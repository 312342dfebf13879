"""What the pilot records of real pictures is replayed without them."""

import itertools
from typing import List, Tuple

import cv2
import numpy as np
import pytest

from follow_robot.black_box_records import DecisionEntry, EndEntry, Entry, FrameEntry
from follow_robot.chain import follower_of, perception_of
from follow_robot.choices import Choice
from follow_robot.config import config_from_text
from follow_robot.frame_guard import FrameGuard
from follow_robot.pilot import Pilot
from follow_robot.replay import replay
from follow_robot.velocity import Velocity
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize
from tests.follow_robot.recorded_run import file_of, header

CONFIG = config_from_text("camera: {height_m: 1.0}", "test")
HEIGHT, WIDTH = 240, 320


def picture(index: int) -> Tuple[np.ndarray, np.ndarray]:
    """A textured wall that the camera pans over, and two people before it; (2, 4) their boxes."""
    wall = np.random.default_rng(0).integers(0, 256, (HEIGHT // 8, 100, 3), np.uint8)
    wall = cv2.resize(wall, (800, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(wall[:, 2 * index : 2 * index + WIDTH])
    boxes = []
    for x, height, colours in (
        (150 + 8 * np.sin(index / 7), 140, ((200, 40, 40), (30, 30, 90))),
        (60 + 2.2 * index, 120, ((40, 200, 60), (120, 120, 20))),
    ):
        feet, half = int(120 + height / 1.7), int(0.2 * height)
        left, top = int(x) - half, feet - height
        cv2.rectangle(image, (left, top), (left + 2 * half, feet - height // 2), colours[0], -1)
        cv2.rectangle(image, (left, feet - height // 2), (left + 2 * half, feet), colours[1], -1)
        stripes = image[top:feet:6, max(left, 0) : left + 2 * half]
        stripes[:] = stripes // 2
        boxes.append([left, top, left + 2 * half, feet])
    noise = np.random.default_rng(index).integers(0, 4, image.shape, np.uint8)
    return cv2.add(image, noise), np.array(boxes, np.float32)


def embed(crops) -> np.ndarray:
    """Mean colours of the crop's upper and lower half."""
    halves = [
        np.concatenate([c[: len(c) // 2].mean((0, 1)), c[len(c) // 2 :].mean((0, 1)), [1.0] * 2])
        for c in crops
    ]
    return l2_normalize(np.array(halves, np.float32))


def recorded() -> List[Entry]:
    run: List[Entry] = [header(CONFIG, strangers=False)]
    current: List[np.ndarray] = []

    def detect(image: np.ndarray) -> Detections:
        return Detections(current[-1], np.full(len(current[-1]), 0.9))

    def network(crops) -> np.ndarray:
        if len(current) in (30, 31):
            raise RuntimeError("out of memory")
        return embed(crops)

    ticks = itertools.count()
    pilot = Pilot(
        perception_of(CONFIG, None, detect, network),
        follower_of(CONFIG),
        FrameGuard(CONFIG.source.guard),
        run.append,
        lambda: 100.02 + (len(current) - 1) / 15 + next(ticks) / 1e6,
    )
    chosen = {3: [Choice("choose_front"), Choice("go")], 25: [Choice("set", (1.5,), "distance_m")]}
    chosen[10] = [Choice("choose_point", (1.0, 1.0))]  # nobody there
    for index in range(60):
        image, boxes = picture(min(index, 40) if index < 45 else index)  # frozen for a moment
        current.append(boxes)
        try:
            pilot.answer(image, 100 + index / 15, Velocity(0.2), chosen.get(index, ()))
        except (ReidEdgeError, RuntimeError):
            pilot.halt()
    run.append(EndEntry("closed", len(run)))
    return run


@pytest.fixture(scope="module")
def run() -> List[Entry]:
    return recorded()


def test_the_run_has_a_lock_a_motion_and_a_failure(run):
    decisions = [e.data for e in run if isinstance(e, DecisionEntry)]
    frames = [e for e in run if isinstance(e, FrameEntry)]
    assert any(d["lock"]["event"] == "enrolled" for d in decisions)
    assert any(d["command"]["velocity"]["vx_mps"] > 0.1 for d in decisions)
    assert any(d["command"]["frame_time_s"] < 100 + d["index"] / 15 - 0.05 for d in decisions)
    assert any(abs(f.observation.motion[0, 2] + 2) < 0.5 for f in frames)  # the camera pans
    assert sum(f.failed for f in frames) >= 1


def test_it_is_replayed_without_its_pictures(run, tmp_path):
    path = tmp_path / "run.blackbox"
    path.write_bytes(file_of(run))
    report = replay(path)
    assert report.identical, report.text()
    assert report.frames == 60 and report.decisions == 60 - sum(
        e.failed for e in run if isinstance(e, FrameEntry)
    )
