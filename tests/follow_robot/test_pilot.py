"""One frame with everything recorded: what is not decided is recorded too, and choices are never lost."""

import itertools
import math
from typing import Any, List

import numpy as np
import pytest

from follow_robot.black_box_records import (
    CommandEntry,
    DecisionEntry,
    EndEntry,
    FrameEntry,
    TimingEntry,
)
from follow_robot.chain import follower_of, perception_of
from follow_robot.choices import FRONT, GO, HOLD, POINT, SET, Choice
from follow_robot.config import config_from_text
from follow_robot.frame_guard import BLACK, FROZEN, OK, FrameGuard
from follow_robot.pilot import Pilot
from follow_robot.replay import replay
from follow_robot.velocity import STOP, Velocity
from runtime.detection import Detections
from runtime.errors import ReidEdgeError
from tests.follow_robot.recorded_run import file_of, header

CONFIG = config_from_text("camera: {height_m: 1.0}", "test")
SIZE = (240, 320)
BOX = (110.0, 20.0, 170.0, 205.0)


class Bench:
    """A pilot whose detector sees one person, and whose parts fail on demand."""

    def __init__(self):
        self.entries: List[Any] = [header(CONFIG, strangers=False)]
        self.detector_fails = self.network_fails = False
        self.rng = np.random.default_rng(0)
        self.count = 0
        ticks = itertools.count()
        self.pilot = Pilot(
            perception_of(CONFIG, None, self.detect, self.embed),
            follower_of(CONFIG),
            FrameGuard(CONFIG.source.guard),
            self.entries.append,
            lambda: 100.03 + self.count / 15 + next(ticks) / 1e6,
        )

    def detect(self, image):
        if self.detector_fails:
            raise RuntimeError("the detector broke")
        box = np.array([BOX]) + self.rng.normal(size=(1, 4))
        return Detections(box, np.array([0.9]))

    def embed(self, crops):
        if self.network_fails:
            raise RuntimeError("the network broke")
        looks = np.tile([0.6, 0.8, 0.0, 0.0], (len(crops), 1))
        return looks.astype(np.float32)

    def image(self):
        return (
            self.rng.integers(0, 256, (*SIZE, 3), np.uint8) // 4
            + np.linspace(0, 190, SIZE[1], dtype=np.uint8)[None, :, None]
        )

    def answer(self, *choices, image=None):
        self.count += 1
        image = self.image() if image is None else image
        return self.pilot.answer(image, 100 + self.count / 15, Velocity(0.1), choices)

    def of(self, kind):
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def last(self, kind):
        return self.of(kind)[-1]

    def replayed(self, tmp_path):
        self.entries.append(EndEntry("closed", len(self.entries)))
        path = tmp_path / "run.blackbox"
        path.write_bytes(file_of(self.entries))
        return replay(path)


@pytest.fixture
def bench():
    return Bench()


def locked(bench):
    for _ in range(40):
        answer = bench.answer(*([Choice(FRONT), Choice(GO)] if bench.count == 3 else []))
    assert answer.record.lock.state == "locked"
    return answer


def test_everything_about_a_frame_is_recorded_in_order(bench):
    answer = bench.answer()
    frame, decision, timing = bench.entries[1:]
    assert isinstance(frame, FrameEntry) and isinstance(decision, DecisionEntry)
    assert isinstance(timing, TimingEntry)
    assert frame.observation is answer.record.observation and frame.rows == answer.record.rows
    assert np.array_equal(frame.embeddings, answer.record.embeddings)
    assert frame.now_s == answer.decision.command.made_s
    assert frame.ego == Velocity(0.1) and frame.frame_time_s == answer.camera.last_good_s
    assert decision.data["command"]["sequence"] == answer.decision.command.sequence == 1
    assert timing.took_ms.keys() == answer.record.took_ms.keys()


def test_a_choice_is_done_before_the_frame_and_recorded_with_it(bench):
    bench.answer()
    answer = bench.answer(Choice(POINT, (140.0, 100.0)), Choice(GO))
    assert answer.refused == () and answer.record.lock.state == "enrolling"
    assert bench.pilot.follower.going
    assert bench.last(FrameEntry).choices == (Choice(POINT, (140.0, 100.0)), Choice(GO))
    bench.answer()
    assert bench.last(FrameEntry).choices == ()


def test_a_choice_that_cannot_be_done_is_refused_and_not_recorded(bench):
    bench.answer()
    answer = bench.answer(Choice(POINT, (1.0, 1.0)), Choice(SET, (9.0,), "speed_mps"), Choice(GO))
    assert len(answer.refused) == 2
    assert all(sentence.endswith(".") for sentence in answer.refused)
    assert bench.last(FrameEntry).choices == (Choice(GO),)


def test_a_detector_that_fails_leaves_choices_for_the_next_frame(bench):
    bench.answer()
    bench.detector_fails = True
    before = len(bench.entries)
    for choice in (Choice(FRONT), Choice(GO)):
        with pytest.raises(RuntimeError, match="the detector broke"):
            bench.answer(choice)
    assert len(bench.entries) == before and not bench.pilot.follower.going
    bench.detector_fails = False
    answer = bench.answer()
    assert answer.record.lock.state == "enrolling" and bench.pilot.follower.going
    assert bench.last(FrameEntry).choices == (Choice(FRONT), Choice(GO))


def test_a_network_that_fails_is_recorded_with_the_choices(bench):
    bench.answer()
    bench.network_fails = True
    with pytest.raises(RuntimeError, match="the network broke"):
        bench.answer(Choice(FRONT))
    frame = bench.entries[-1]
    assert isinstance(frame, FrameEntry) and frame.failed
    assert frame.choices == (Choice(FRONT),) and frame.embeddings is None


def test_halt_is_a_recorded_stop(bench):
    locked(bench)
    command = bench.pilot.halt()
    assert command.velocity == STOP and command.frame_time_s == -math.inf
    assert bench.entries[-1] == CommandEntry(command)


def test_pictures_that_are_not_believed_stop_the_car(bench):
    moving = locked(bench)
    assert moving.decision.command.velocity.vx_mps > 0 and moving.camera.state == OK
    image = bench.image()
    good = bench.answer(image=image)
    for _ in range(3):
        frozen = bench.answer(image=image)
        assert frozen.decision.command.velocity == STOP
        assert frozen.decision.command.frame_time_s == good.record.time_s
    assert frozen.camera.state == FROZEN
    black = bench.answer(image=np.zeros((*SIZE, 3), np.uint8))
    assert black.camera.state == BLACK and black.decision.command.velocity == STOP


def test_all_failures_are_replayed(bench, tmp_path):
    """Choices, halts and failures in every order come out as they were."""
    rng = np.random.default_rng(3)
    kinds = [
        Choice(FRONT),
        Choice(GO),
        Choice(GO),
        Choice(HOLD),
        Choice(POINT, (1.0, 1.0)),
        Choice(SET, (1.6,), "distance_m"),
        Choice("release"),
        Choice(FRONT),
    ]
    frozen = bench.image()
    locks = set()
    for index in range(160):
        bench.detector_fails = rng.random() < 0.08
        bench.network_fails = rng.random() < 0.08
        if index > 100:
            bench.detector_fails = bench.network_fails = False
        chosen = [kinds[rng.integers(len(kinds))]] if rng.random() < 0.2 else []
        try:
            answer = bench.answer(*chosen, image=frozen if rng.random() < 0.1 else None)
            locks.add(answer.record.lock.state)
        except (RuntimeError, ReidEdgeError):
            bench.pilot.halt()
    assert {"idle", "enrolling", "locked"} <= locks
    assert len(bench.of(CommandEntry)) > 5 and any(e.failed for e in bench.of(FrameEntry))
    assert any(d.data["command"]["velocity"]["vx_mps"] > 0 for d in bench.of(DecisionEntry))
    report = bench.replayed(tmp_path)
    assert report.identical, report.text()
    assert report.frames == len(bench.of(FrameEntry))
    assert report.decisions == len(bench.of(DecisionEntry))
