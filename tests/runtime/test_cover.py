"""Whether a covered track is still believed."""

import pytest

from runtime.cover import Cover
from runtime.lock_types import LockSettings, Look, Person

S = LockSettings(contest=0.15, hidden=0.6, hidden_s=0.4, strict=0.6, link=0.6, quality=0.4)
PLACE = (100, 50, 140, 150)
ELSEWHERE = (112, 50, 152, 150)  # 12 of 40 px aside: IoU 28/52 = 0.54


def seen(overlap=0.0, behind=False, box=PLACE, quality=1.0):
    return Person(1, box, None, quality, overlap, (2,), behind)


def told(*targets, look=None):
    """``lost`` on frames 0.1 s apart, the last one with a look at the target."""
    cover, said = Cover(), []
    cover.start(seen())
    for number, target in enumerate(targets, 1):
        own = look if number == len(targets) else None
        said.append(cover.lost(target, own, number / 10, S))
    return said, cover


def test_in_the_open_it_is_believed():
    assert told(seen(), seen(0.1, True), seen(0.5, True, quality=0.5), seen())[0] == [False] * 4


def test_not_seen_is_lost():
    said, cover = told(seen(), None)
    assert said == [False, True] and cover.hidden and cover.since_s == 0.2


def test_slowly_covered_it_is_believed_for_a_moment():
    frames = [seen(0.3, True)] + [seen(0.8, True)] * 6
    said, cover = told(*frames)
    # Hidden since 0.2 s; 0.4 s later it is lost.
    assert said == [False, False, False, False, False, False, True] and cover.since_s == 0.2
    said, cover = told(*frames[:3], seen(0.3, True), *frames[1:4])
    assert not any(said) and cover.since_s == 0.5  # seen in between: it counts anew


def test_poor_and_behind_is_hidden_too():
    assert told(seen(0.3, True), seen(0.3, True, quality=0.3))[1].hidden
    assert not told(seen(0.3, True), seen(0.3, True, quality=0.4))[1].hidden
    assert not told(seen(0.9, False))[1].hidden  # in front


def test_hidden_at_once_where_it_was_in_front():
    # Who was in front and is behind on the next frame may have exchanged tracks.
    assert told(seen(0.5, False), seen(0.8, True))[0] == [False, True]


@pytest.mark.parametrize(("box", "lost"), [(PLACE, False), (ELSEWHERE, True)])
def test_hidden_out_of_the_open_only_at_the_same_place(box, lost):
    assert told(seen(), seen(0.8, True, box))[0] == [False, lost]
    assert told(seen(0.2, True), seen(0.8, True, box))[0] == [False, False]  # covered before
    assert told(None, seen(0.8, True, box))[0] == [True, True]  # was not anywhere


@pytest.mark.parametrize(
    ("look", "lost"),
    [
        (None, True),
        (Look(0.59, 0.0, 0.59), True),
        (Look(0.6, 0.0, -1.0), False),
        (Look(0.1, 0.0, 0.6), False),
    ],
)
def test_turned_from_front_to_behind_half_covered_it_must_look_the_same(look, lost):
    assert told(seen(0.3, False), seen(0.3, True, quality=0.5), look=look)[0] == [False, lost]
    # Side by side boxes overlap a little all the time.
    assert told(seen(0.29, False), seen(0.3, True), look=look)[0] == [False, False]
    assert told(seen(0.3, False), seen(0.29, True), look=look)[0] == [False, False]
    assert told(seen(0.3, True), seen(0.3, True), look=look)[0] == [False, False]


def test_a_new_start_forgets():
    cover = Cover()
    cover.lost(seen(0.5, False), None, 0.0, S)
    cover.lost(None, None, 0.1, S)
    assert cover.hidden
    cover.start(seen(0.3, True))
    assert not cover.hidden
    assert not cover.lost(seen(0.8, True, ELSEWHERE), None, 0.2, S)  # covered at the start
