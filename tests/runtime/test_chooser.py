"""When the target is chosen, and what --target says."""

import pytest

from runtime.chooser import Chooser, parse_target
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import LockOutput

SOMEBODY = [Seen(1, (0.0, 0.0, 9.0, 9.0), 0.9, "confirmed", 1.0, 0.0, "rear", 1, False)]


class Asked:
    def __init__(self):
        self.calls = []

    def choose_box(self, box):
        self.calls.append(box)

    def choose_front(self):
        self.calls.append("front")


def after(chooser, *frames):
    """``frames``: (people, lock state, event)."""
    for number, (people, state, event) in enumerate(frames):
        lock = LockOutput(state, event=event)
        chooser.after(FrameRecord(number, number / 10, (9, 9), people, lock, [0.0] * 6))


NOBODY, THERE = ([], "idle", None), (SOMEBODY, "idle", None)


def test_the_box_is_chosen_once_on_its_frame():
    asked = Asked()
    chooser = Chooser(asked, (1.0, 2.0, 3.0, 4.0), 2)
    after(chooser, THERE, NOBODY)
    assert asked.calls == []
    with pytest.raises(ReidEdgeError, match="ended before frame 2, on which the target was to be"):
        chooser.check()
    after(chooser, THERE, THERE, THERE, THERE)
    assert asked.calls == [(1.0, 2.0, 3.0, 4.0)]
    chooser.check()


def test_the_one_in_front_is_chosen_until_learned():
    asked = Asked()
    chooser = Chooser(asked, front=True)
    after(chooser, NOBODY)
    assert asked.calls == []
    after(chooser, THERE, (SOMEBODY, "enrolling", None), (SOMEBODY, "idle", "enrolment_failed"))
    assert asked.calls == ["front", "front"]
    after(chooser, (SOMEBODY, "locked", "enrolled"), THERE, THERE)
    assert asked.calls == ["front", "front"]
    chooser.check()


def test_nobody_is_chosen_unasked():
    asked = Asked()
    after(Chooser(asked), THERE, THERE)
    assert asked.calls == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3,4", ((1, 2, 3, 4), 0)),
        ("320,90.5,420,400@10", ((320, 90.5, 420, 400), 10)),
        (" -5, 0, 10, 20@0", ((-5, 0, 10, 20), 0)),
    ],
)
def test_target_of_a_command_line(text, expected):
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "a,2,3,4", "1,2,3,nan", "1,2,inf,4", "1,2,3,4@-1", "1,2,3,4@x"]
    + ["1,2,3,4@1.5", "@3"],
)
def test_what_is_no_target(text):
    with pytest.raises(ReidEdgeError, match="must be left,top,right,bottom in pixels and @FRAME"):
        parse_target(text)
