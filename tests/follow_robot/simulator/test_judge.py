"""The judge, on runs written down by hand."""

import math

import numpy as np
import pytest

from follow_robot.simulator.judge import Judge, Moment, SimResult, is_wrong
from follow_robot.simulator.rendering import Picture, Shown
from follow_robot.velocity import STOP, Velocity
from runtime.frame_record import FrameRecord
from runtime.lock_types import LOCKED, SEARCHING, LockOutput

TARGET_BOX = (100.0, 40.0, 160.0, 220.0)
OTHER_BOX = (200.0, 40.0, 260.0, 220.0)
GO = Velocity(0.4)
IMAGE = np.zeros((240, 320, 3), np.uint8)


def shown(name, box, share=1.0, seen=True):
    return Shown(name, box, box if seen else None, share, 2.0, 0.0)


BOTH = [shown("target", TARGET_BOX), shown("other", OTHER_BOX)]


def record(time_s, box=None, event=None):
    lock = LockOutput(LOCKED if box else SEARCHING, 1 if box else None, box, event=event)
    return FrameRecord(0, time_s, (240, 320), [], lock, [1, 0, 0, 0, 1, 0])


@pytest.fixture
def judge():
    return Judge(SimResult("hand", "own", 0), "target", 1.5)


class World:
    collisions, nearest_m, way_m = {"wall": 2}, 0.3, 4.0


@pytest.mark.parametrize(
    "box, wrong",
    [
        (TARGET_BOX, False),
        ((105.0, 45.0, 165.0, 225.0), False),
        (OTHER_BOX, True),
        ((150.0, 40.0, 250.0, 220.0), True),  # more of the other
        ((280.0, 0.0, 319.0, 30.0), True),  # of nobody
        ((100.0, 40.0, 160.0, 120.0), False),  # half of the target, and of nobody else
    ],
)
def test_a_box_is_wrong_when_it_is_somebody_else_s_or_nobody_s(box, wrong):
    assert is_wrong(box, "target", BOTH) is wrong


def test_who_follows_a_hidden_target_s_place_follows_who_stands_there():
    hidden = [shown("target", TARGET_BOX, 0.0, seen=False), shown("other", TARGET_BOX)]
    assert is_wrong(TARGET_BOX, "target", hidden)


def test_two_at_one_place_are_no_mistake():
    same = [shown("target", TARGET_BOX), shown("other", (98.0, 38.0, 161.0, 221.0))]
    assert not is_wrong((98.0, 38.0, 161.0, 221.0), "target", same)


def test_wrong_and_right_frames_are_counted(judge):
    judge.frame(Picture(IMAGE, BOTH), record(1.0, TARGET_BOX, "enrolled"), True)
    for n, box in enumerate((TARGET_BOX, None, OTHER_BOX, TARGET_BOX)):
        judge.frame(Picture(IMAGE, BOTH), record(1.1 + n / 10, box), True)
    result = judge.finish(World())
    assert result.wrong_frames == [1.3]
    assert result.frames == 5 and result.enrolled_s == 1.0
    assert result.following_share == pytest.approx(3 / 5)
    assert result.regained
    assert (result.collisions, result.nearest_m, result.way_m) == ({"wall": 2}, 0.3, 4.0)


def test_lateness_is_counted_from_the_last_frame_that_showed_the_target(judge):
    judge.frame(Picture(IMAGE, BOTH), record(1.0, TARGET_BOX), True)
    judge.cycle(Moment(1.2, GO, 1.5, 0.4), ())
    judge.frame(Picture(IMAGE, BOTH[1:]), record(1.1), True)  # the target is gone
    judge.cycle(Moment(1.25, GO, 1.5, 0.4), ())
    judge.cycle(Moment(2.0, STOP, 1.5, 0.4), ())
    result = judge.finish(World())
    assert result.after_target_s == pytest.approx(0.25)
    assert result.after_frames_s == pytest.approx(0.2)


def test_a_frozen_or_black_picture_shows_nobody(judge):
    judge.frame(Picture(IMAGE, BOTH), record(1.0, TARGET_BOX), True)
    judge.frame(Picture(IMAGE, BOTH), record(1.3, OTHER_BOX), False)
    judge.cycle(Moment(1.5, GO, 1.5, 0.4), ())
    result = judge.finish(World())
    assert result.after_frames_s == result.after_target_s == pytest.approx(0.5)
    assert result.wrong_frames == []  # nothing can be said about it


def test_moving_before_any_frame_is_endlessly_late(judge):
    judge.cycle(Moment(0.5, GO, 1.5, 0.0), ())
    assert math.isinf(judge.finish(World()).after_target_s)


def test_only_a_target_in_sight_must_be_followed(judge):
    judge.frame(Picture(IMAGE, BOTH), record(1.0, TARGET_BOX, "enrolled"), True)
    faint = [shown("target", TARGET_BOX, share=0.01), BOTH[1]]
    judge.frame(Picture(IMAGE, faint), record(1.1), True)
    assert judge.finish(World()).following_share == 1.0


def steady_run(judge, seconds, distance_m, target_mps=0.5, gap_s=0.0):
    for n in range(round(seconds * 10)):
        time_s = n / 10
        if not 5.0 <= time_s < 5.0 + gap_s:
            judge.frame(Picture(IMAGE, BOTH), record(time_s, TARGET_BOX), True)
        else:
            judge.frame(Picture(IMAGE, BOTH), record(time_s), True)
        judge.cycle(Moment(time_s + 0.05, GO, distance_m, target_mps), ("why",))


def test_the_distance_counts_once_following_is_steady(judge):
    steady_run(judge, 3.0, 9.0)
    steady = Judge(SimResult("hand", "own", 0), "target", 1.5)
    steady_run(steady, 10.0, 1.7)
    assert judge.finish(World()).distance_rms_m is None
    result = steady.finish(World())
    assert result.distance_rms_m == pytest.approx(0.2)
    assert result.distance_bias_m == pytest.approx(0.2)
    assert result.steady_s == pytest.approx(10.0 - 4.0, abs=0.2)
    assert result.reasons == {"why": 100}


@pytest.mark.parametrize("gap_s, steady_s", [(0.3, 6.0), (1.0, 1.0)])
def test_a_short_break_does_not_end_it_and_a_long_one_does(judge, gap_s, steady_s):
    steady_run(judge, 10.0, 1.7, gap_s=gap_s)
    assert judge.finish(World()).steady_s == pytest.approx(steady_s + 0.0, abs=1.6)


def test_a_target_that_stands_is_not_followed_steadily(judge):
    steady_run(judge, 10.0, 1.7, target_mps=0.0)
    assert judge.finish(World()).distance_rms_m is None


def test_a_result_is_json_and_one_line(judge):
    import json

    steady_run(judge, 5.0, 1.7)
    World.nearest_m = math.inf
    result = judge.finish(World())
    World.nearest_m = 0.3
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data["nearest_m"] is None and len(data["series"]["time_s"]) == 50
    assert "\n" not in result.summary() and "wrong 0" in result.summary()
    assert "NOT ENROLLED" in result.summary() and "COLLIDES" in result.summary()
