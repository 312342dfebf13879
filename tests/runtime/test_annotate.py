"""What is drawn on a frame, pixel by pixel where that says something."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.annotate import annotate
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import STATES, LockOutput

BLACK = np.zeros((240, 320, 3), np.uint8)
GREEN, ORANGE = (60, 220, 60), (40, 160, 255)
BOX = (100.0, 60.0, 160.0, 200.0)


def seen(track=1, box=BOX, state="confirmed"):
    return Seen(track, box, 0.9, state, 1.0, 0.0, "rear", 1, False)


def drawn(*people, lock=None, picture=BLACK):
    lock = lock or LockOutput("idle")
    return annotate(picture, FrameRecord(0, 0.0, (240, 320), list(people), lock, [0.0] * 6))


def is_colour(pixels, colour):
    return (pixels == np.array(colour)).all(axis=-1)


def test_nobody_and_idle_change_nothing():
    picture = np.random.RandomState(0).randint(0, 256, (240, 320, 3)).astype(np.uint8)
    got = drawn(picture=picture)
    np.testing.assert_array_equal(got, picture)
    assert got is not picture


def test_the_picture_given_stays_as_it_is():
    picture = BLACK.copy()
    assert drawn(seen(), picture=picture).any() and not picture.any()


def test_a_box_is_on_its_edges():
    got = drawn(seen()).any(axis=2)
    assert got[60:201, 100].all() and got[60:201, 160].all() and got[200, 100:161].all()
    assert not got[64:196, 104:157].any()  # nothing inside
    assert not got[:, :96].any() and not got[205:].any()


def test_a_tentative_box_is_dashed():
    got = drawn(seen(state="tentative")).any(axis=2)
    side = got[80:200, 100]
    assert 0.3 < side.mean() < 0.8 and len(np.flatnonzero(np.diff(side.astype(int)))) >= 6


def test_tracks_differ_in_colour_and_keep_theirs():
    colours = [tuple(drawn(seen(track))[150, 100].tolist()) for track in range(1, 9)]
    assert len(set(colours)) == 8
    assert tuple(drawn(seen(3), seen(4, (200, 60, 260, 200)))[150, 100]) == colours[2]
    apart = np.abs(np.diff(np.array(colours), axis=0)).max(axis=1)
    assert apart.min() > 60  # neighbouring numbers are told apart at a glance


def test_the_target_is_green_and_thick():
    lock = LockOutput("locked", 1, BOX, 0.7, 0.3)
    got = drawn(seen(1), seen(2, (200, 60, 260, 200)), lock=lock)
    row = is_colour(got[150], GREEN)
    assert row[98:103].any() and row[158:163].any() and not row[190:270].any()
    assert is_colour(got[150], (0, 0, 0))[100]  # a black line in the green one
    other = drawn(seen(1), seen(2, (200, 60, 260, 200)))
    assert not is_colour(other, GREEN).any()


@pytest.mark.parametrize("state", STATES)
def test_the_state_is_said_below_and_warns_where_nobody_is_followed(state):
    got = drawn(lock=LockOutput(state))[225:]
    green, orange = is_colour(got, GREEN).sum(), is_colour(got, ORANGE).sum()
    if state == "idle":
        assert not got.any()
    elif state in ("locked", "enrolling"):
        assert green > 100 and not orange
    else:
        assert orange > 100 and not green


def test_more_is_said_of_an_event():
    def length(**said):
        return int(is_colour(drawn(lock=LockOutput("locked", **said)), GREEN).any(axis=0).sum())

    plain, alike = length(), length(similarity=0.71)
    assert plain < alike < length(similarity=0.71, event="handed_over")
    assert length(event="locked") == plain  # not said twice


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(-500, 900), st.floats(-500, 900), st.floats(0, 600), st.floats(0, 600)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(["confirmed", "tentative"]),
)
def test_any_box_on_any_frame_can_be_drawn(place, size, state):
    left, top, width, height = place
    people = [seen(box=(left, top, left + width, top + height), state=state)]
    lock = LockOutput("locked", 1, people[0].box, 0.5, 0.1, "reacquired")
    got = drawn(*people, lock=lock, picture=np.zeros((*size, 3), np.uint8))
    assert got.shape == (*size, 3) and got.dtype == np.uint8
