"""How a frame is judged, and how the frames of a person add up: by hand, with a scripted lock."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.footage import Footage
from benchmarks.lock_verdict import follow, judge
from runtime.detection import Detections
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import LockOutput

ME, OTHER = (100, 100, 200, 400), (300, 100, 400, 400)


def record(box, state="locked", people=()):
    return FrameRecord(
        0,
        0.0,
        (480, 640),
        list(people),
        LockOutput(state, None if box is None else 1, box),
        [0] * 6,
    )


def aside(box, pixels):
    return (box[0] + pixels, box[1], box[2] + pixels, box[3])


def boxes(**named):
    return {int(name[1:]): np.array(box, float) for name, box in named.items()}


BOTH = boxes(p1=ME, p2=OTHER)
NEAR = boxes(p1=ME, p2=aside(ME, 20))


@pytest.mark.parametrize(
    ("box", "state", "truth", "left_s", "said"),
    [
        (None, "locked", BOTH, 0, "none"),
        (ME, "occluded", BOTH, 0, "none"),
        (ME, "searching", BOTH, 0, "none"),
        (ME, "locked", BOTH, 0, "right"),
        (aside(ME, 33), "locked", BOTH, 0, "right"),  # IoU 67/133 = 0.504
        (aside(ME, 34), "locked", BOTH, 0, "loose"),  # 66/134 = 0.493
        (aside(ME, 81), "locked", BOTH, 0, "loose"),  # 19/181 = 0.105
        (aside(ME, 83), "locked", BOTH, 0, "wrong"),  # 17/183 = 0.093: on nobody
        (OTHER, "locked", BOTH, 0, "wrong"),
        (aside(OTHER, 34), "locked", BOTH, 0, "wrong"),
        (aside(ME, 9), "locked", NEAR, 0, "right"),  # 91/109 of the target, 89/111 of the other
        (aside(ME, 11), "locked", NEAR, 0, "wrong"),  # nearer to the other
        (aside(ME, 10), "locked", NEAR, 0, "right"),  # as near to both
        # The target is annotated no more.
        (ME, "locked", boxes(p2=OTHER), 0.4, "loose"),
        (ME, "locked", boxes(p2=OTHER), 0.5, "wrong"),
        (ME, "locked", {}, 0.4, "loose"),
        (ME, "locked", {}, 9.0, "wrong"),
        (OTHER, "locked", boxes(p2=OTHER), 0.1, "wrong"),
    ],
)
def test_one_frame(box, state, truth, left_s, said):
    assert judge(record(box, state), truth, 1, left_s) == said


class Script:
    """A perception whose lock says what a script says; ``-`` idle, ``e`` enrolled on this frame.

    ``r``: on the target, ``w``: on the other, ``o``: beside both but touching the target, ``.``:
    nobody is followed. Capitals: the tracker does not see the target.
    """

    def __init__(self, script):
        self.script, self.at, self.enrolled, self.times = script, 0, [], []
        self.lock = self

    def enrol(self, track):
        self.enrolled.append((self.at - 1, track))

    def step(self, frame, time_s, detections):
        letter = self.script[self.at]
        self.at += 1
        self.times.append(time_s)
        state = {"-": "idle", ".": "searching"}.get(letter.lower(), "locked")
        box = {"r": ME, "e": ME, "w": OTHER, "o": aside(ME, 50)}.get(letter.lower())
        people = [seen(8, OTHER, True)] + ([] if letter.isupper() else [seen(7, ME, False)])
        event = "enrolled" if letter == "e" else None
        out = LockOutput(state, None if box is None else 7, box, event=event)
        return FrameRecord(self.at - 1, time_s, (480, 640), people, out, [0] * 6)


def seen(track, box, embedded):
    return Seen(track, box, 0.9, "confirmed", 1.0, 0.0, "rear", 1, embedded)


def footage(frames, there=None, rate_hz=10.0):
    """The target is annotated and visible on the frames ``there``, another one always."""
    there = set(range(frames) if there is None else there)
    truth = [BOTH if n in there else boxes(p2=OTHER) for n in range(frames)]
    visible = [{1, 2} if n in there else {2} for n in range(frames)]
    paths = [Path("%d.png" % n) for n in range(frames)]
    numbers = list(range(1, frames + 1))
    return Footage("script", paths, rate_hz, truth, visible, [Detections.empty()] * frames, numbers)


def followed(script, film=None, **options):
    perception = Script(script)
    film = film or footage(len(script))
    pictures = [np.zeros((2, 2, 3), np.uint8)] * len(script)
    return follow(film, 1, perception, pictures, **options), perception


def test_the_first_ten_frames_are_not_judged():
    verdict, perception = followed("-" + "e" + 8 * "w" + "rrwo.")
    assert perception.enrolled == [(0, 7)]
    assert verdict.enrolled and (verdict.judged, verdict.visible) == (5, 5)
    assert (verdict.right, verdict.wrong, verdict.loose) == (2, 1, 1)
    assert verdict.wrong_frames == [13] and verdict.states == {"locked": 4, "searching": 1}
    assert verdict.lock_ratio == 0.4
    assert (verdict.seen, verdict.embedded) == (30, 15)


def test_frames_on_which_the_detector_misses_the_target_do_not_count_as_learning():
    # Five of the first ten are unseen (capitals), so the ten end five frames later.
    verdict, _ = followed("-e" + "RRRRR" + 8 * "r" + "rr")
    assert verdict.judged == 2


def test_an_enrolment_that_fails_is_tried_again_and_then_no_more():
    _, perception = followed("--e-" + 12 * "r")
    assert [frame for frame, _ in perception.enrolled] == [0, 1]
    verdict, perception = followed(15 * "-")
    assert len(perception.enrolled) == 15 and not verdict.enrolled
    assert verdict.visible == 5 and verdict.lock_ratio == 0


def test_reacquire_times_count_visible_frames():
    # Lost for two frames, then for three of which the target is hidden on one.
    script = "-e" + 8 * "r" + "r..r.w.r."
    verdict, _ = followed(script, footage(len(script), set(range(len(script))) - {15}))
    assert verdict.reacquired == [2, 2]
    # On frame 15 it is out of sight for 0.1 s and somebody else is followed.
    assert verdict.wrong == 1 and verdict.visible == 8 and verdict.right == 3


def test_following_an_empty_place_is_loose_for_half_a_second():
    script = "-e" + 8 * "r" + 10 * "r"
    verdict, _ = followed(script, footage(20, range(12)))
    # Gone from frame 12 on, last seen on 11: 0.1 to 0.4 s are loose, 0.5 to 0.8 s wrong.
    assert (verdict.right, verdict.loose, verdict.wrong) == (2, 4, 4)
    assert verdict.visible == 2 and verdict.judged == 10


def test_time_runs_by_row_or_by_number():
    film = footage(20).without(12, 5)
    _, rows = followed("-e" + 13 * "r", film)
    assert rows.times == [n / 10 for n in range(15)]
    _, real = followed("-e" + 13 * "r", film, real_time=True)
    assert real.times == [n / 10 for n in [*range(12), 17, 18, 19]]


@pytest.mark.parametrize(("behind", "frames"), [("rrr", 0), ("..r", 2), ("wor", 2), ("...", None)])
def test_frames_behind_a_cut(behind, frames):
    film = footage(20).without(12, 5)
    verdict, _ = followed("-e" + 10 * "r" + behind, film, cut_row=12)
    assert verdict.after_cut == frames


def test_no_cut_no_figure():
    assert followed("-e" + 13 * "r")[0].after_cut is None


def test_a_track_on_somebody_else_is_not_enrolled():
    # The box of track 7 fits another annotated person better than the target.
    film = footage(3)
    for row in range(3):
        film.truth[row] = boxes(p1=aside(ME, 30), p2=ME)
    _, perception = followed("---", film)
    assert perception.enrolled == []
