"""What the page is told, and what is written down."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from follow_robot.app_view import AppView, parameters_of
from follow_robot.black_box_records import EventEntry
from follow_robot.chain import follower_of
from follow_robot.config import config_from_text
from follow_robot.dashboard.hub import Hub
from follow_robot.driver_link import DriverLink
from follow_robot.frame_guard import OK, FrameState
from follow_robot.pilot import Answer
from runtime.frame_record import FrameRecord
from runtime.lock_types import IDLE, LockOutput

CONFIG = config_from_text("", "test")
IMAGE = np.zeros((48, 64, 3), np.uint8)


class Bench:
    def __init__(self):
        self.entries: list = []
        self.hub = Hub()
        self.link = DriverLink("null", CONFIG.safety)  # not started: what it knows is a stop
        self.follower = follower_of(CONFIG)
        self.view = AppView(
            self.hub, self.link, self.follower, CONFIG.lock, "camera 0", self.entries.append
        )
        self.view.watched = True

    def show(self, time_s: float) -> None:
        lock = LockOutput(IDLE)
        record = FrameRecord(0, time_s, (48, 64), [], lock, [1, 0, 0, 0, 1, 0])
        decision = self.follower.step(record, time_s)
        self.view.frame(IMAGE, Answer(record, decision, FrameState(OK, time_s), ()))

    @property
    def status(self) -> Any:
        newest = self.hub.newest()
        assert newest is not None
        return newest.status


@pytest.fixture
def bench():
    return Bench()


def said(hub):
    return [event.text for event in hub.events_since(0)]


def test_a_frame_is_shown_with_what_is_known(bench):
    bench.show(10.0)
    bench.show(10.1)
    status = bench.status
    assert status["mode"] == "hold" and "on hold" in status["reasons"]
    assert status["camera"] == {"ok": True, "text": "camera 0: ok"}
    assert status["stop"] == {"pressed": False, "reasons": ()}
    assert status["driver"]["ok"] is False and status["port"]["ok"] is False  # never started
    assert status["recording"] == {"ok": True, "text": "off"}
    assert status["parameters"] == {
        "distance_m": CONFIG.controller.distance_m,
        "speed_mps": CONFIG.controller.speed_mps,
    }
    assert status["fps"] == pytest.approx(10.0)
    assert bench.hub.newest().image is IMAGE


def test_fps_follows_the_frames(bench):
    for index in range(200):
        bench.show(index / 25)
    assert bench.status["fps"] == pytest.approx(25, abs=0.5)


def test_nothing_is_published_where_there_is_no_page(bench):
    bench.view.watched = False
    bench.show(10.0)
    bench.view.without_frame()
    assert bench.hub.newest() is None


def test_going_is_shown(bench):
    bench.follower.going = True
    bench.show(10.0)
    assert bench.status["mode"] == "go" and "on hold" not in bench.status["reasons"]


def test_the_page_is_told_that_nothing_is_seen(bench):
    bench.view.without_frame()
    assert bench.status["camera"] == {"ok": False, "text": "no frame yet"}
    bench.show(1.0)
    bench.view._silent_s = 0.0
    bench.view.without_frame()
    status = bench.status
    assert status["camera"]["ok"] is False and "nothing seen for" in status["camera"]["text"]
    assert status["people"] == [] and status["fps"] == 0.0
    assert bench.hub.newest().image is IMAGE  # the last picture stays


def test_not_more_often_than_is_looked_at(bench):
    bench.view.without_frame()
    seq = bench.hub.newest().seq
    for _ in range(20):
        bench.view.without_frame()
    assert bench.hub.newest().seq == seq


def test_a_warning_stays_until_it_is_taken_back(bench):
    bench.view.warn("recording", "The disk is full.")
    bench.view.warn("chain", "The network failed.")
    bench.show(1.0)
    assert bench.status["warnings"] == ["The disk is full.", "The network failed."]
    bench.view.warn("chain", None)
    bench.show(1.1)
    assert bench.status["warnings"] == ["The disk is full."]


def test_a_note_is_logged_and_recorded(bench, caplog):
    with caplog.at_level(logging.INFO):
        bench.view.note("lock: enrolled")
        bench.view.note("It broke.", "error", page=True)
    entries = [(e.text, e.level) for e in bench.entries if isinstance(e, EventEntry)]
    assert entries == [("lock: enrolled", "info"), ("It broke.", "error")]
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "lock: enrolled"),
        ("ERROR", "It broke."),
    ]
    assert said(bench.hub) == ["It broke."]


def test_a_complaint_on_every_frame_is_noted_once(bench):
    for _ in range(50):
        bench.view.complain("Nobody is there.")
        bench.view.complain("Somebody else is there.")
    assert said(bench.hub) == ["Nobody is there.", "Somebody else is there."]
    assert len(bench.entries) == 2


def test_a_recording_that_ended_is_shown(bench):
    bench.view.box = cast(Any, SimpleNamespace(ended="disk full", written_bytes=5))
    bench.show(1.0)
    assert bench.status["recording"] == {"ok": False, "text": "disk full"}


class TestParameters:
    def test_are_within_the_limits_of_the_car(self):
        config = config_from_text(
            "safety: {speed_mps: 0.4}\ncontroller: {distance_m: 1.6, min_distance_m: 0.8}", "test"
        )
        distance, speed = parameters_of(config)
        assert (distance.name, distance.low, distance.value) == ("distance_m", 0.9, 1.6)
        assert (speed.name, speed.high) == ("speed_mps", 0.4)
        assert speed.low <= speed.value <= speed.high

    @pytest.mark.parametrize("safety_mps", [0.05, 0.5, 1.5])
    @pytest.mark.parametrize("speed_mps", [0.08, 0.7])
    @pytest.mark.parametrize("distance_m, nearest_m", [(0.75, 0.7), (1.5, 0.5), (6.0, 0.5)])
    def test_the_value_is_one_that_may_be_chosen(
        self, safety_mps, speed_mps, distance_m, nearest_m
    ):
        config = config_from_text(
            "safety: {speed_mps: %g}\ncontroller: {speed_mps: %g, distance_m: %g, min_distance_m: %g}"
            % (safety_mps, speed_mps, distance_m, nearest_m),
            "test",
        )
        for parameter in parameters_of(config):
            assert parameter.low <= parameter.value <= parameter.high
            assert parameter.high <= safety_mps or parameter.name == "distance_m"
