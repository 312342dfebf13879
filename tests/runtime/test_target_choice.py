"""Who is meant by a box, a click or "the one in front"."""

import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import LockOutput
from runtime.target_choice import at_box, at_point, in_front


def seen(track, box, quality=1.0):
    return Seen(track, box, 0.9, "confirmed", quality, 0.0, "rear", 1, False)


def record(*people):
    return FrameRecord(4, 0.4, (480, 640), list(people), LockOutput("idle"), [1, 0, 0, 0, 1, 0])


TWO = record(seen(3, (100, 100, 200, 400)), seen(5, (180, 80, 300, 460)))
CHOICES = [lambda r: at_box(r, (0, 0, 9, 9)), lambda r: at_point(r, 1, 1), in_front]


def test_the_box_that_overlaps_most():
    assert at_box(TWO, (110, 90, 210, 390)) == 3
    assert at_box(TWO, np.array([190, 90, 290, 470])) == 5
    assert at_box(TWO, ["100", "100", "200", "400"]) == 3


@pytest.mark.parametrize(("right", "found"), [(131, True), (129, False)])  # IoU 0.31 and 0.29
def test_a_box_that_hardly_touches_anybody_is_nobody(right, found):
    one = record(seen(3, (100, 100, 200, 400)))
    if found:
        assert at_box(one, (100, 100, right, 400)) == 3
    else:
        with pytest.raises(ReidEdgeError) as refused:
            at_box(one, (100, 100, right, 400))
        assert str(refused.value) == (
            "Nobody is seen at [100.0, 100.0, 129.0, 400.0]; people are at [[100, 100, 200, 400]]."
        )


@pytest.mark.parametrize(
    "box",
    [
        (640, 10, 700, 100),
        (10, 480, 60, 500),
        (-50, 10, 0, 100),
        (10, -90, 60, 0),
        (200, 10, 100, 100),
        (10, 100, 60, 100),
        (np.nan, 10, 60, 100),
        (10, 10, 60, np.nan),
    ],
)
def test_a_box_outside_the_frame(box):
    with pytest.raises(ReidEdgeError, match=r"must lie in the frame of 640 x 480 pixels as left,"):
        at_box(TWO, box)


@pytest.mark.parametrize("box", [(1, 2, 3), (1, 2, 3, 4, 5), ("a", 2, 3, 4), 7, None])
def test_what_is_no_box(box):
    with pytest.raises(ReidEdgeError, match="must be four numbers"):
        at_box(TWO, box)


def test_a_click_means_the_one_in_front():
    assert at_point(TWO, 150, 200) == 3 and at_point(TWO, 250, 200) == 5
    assert at_point(TWO, 190, 200) == 5  # on both; the feet of 5 are lower
    assert at_point(TWO, 100, 100) == 3
    for x, y in ((99, 200), (300, 200), (150, 400), (np.nan, 200)):  # right and bottom are outside
        with pytest.raises(ReidEdgeError, match=r"Nobody is seen at \(.*people are at \[\["):
            at_point(TWO, x, y)


def test_the_one_in_front_is_tall_and_in_the_middle():
    small, tall = (300, 200, 340, 300), (280, 100, 360, 400)
    assert in_front(record(seen(1, small), seen(2, tall))) == 2
    # 100 px high in the middle against 150 px high nearly at the edge.
    assert in_front(record(seen(1, small), seen(2, (580, 100, 640, 250)))) == 1
    # Of two alike, the one that is seen better.
    assert in_front(record(seen(1, tall, quality=0.4), seen(2, (290, 100, 370, 400)))) == 2
    assert in_front(record(seen(9, (-60, 0, 10, 480)))) == 9  # alone, wherever


@pytest.mark.parametrize("choose", CHOICES)
def test_nobody_to_choose(choose):
    with pytest.raises(ReidEdgeError, match="before the first frame"):
        choose(None)
    with pytest.raises(ReidEdgeError, match="no person is seen on frame 4"):
        choose(record())
