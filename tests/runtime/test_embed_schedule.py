"""Who is embedded: order, budget and the long run, against a replay and by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.embed_schedule import EmbedSchedule, ScheduleSettings
from runtime.errors import ReidEdgeError
from runtime.lock_types import Person

BOX = (0.0, 0.0, 40.0, 100.0)


def person(track, quality=0.9, overlap=0.0):
    return Person(track, BOX, quality=quality, overlap=overlap)


def replay(schedule, people, wanted, time_s, returning=()):
    """The tracks chosen on a frame; all of them are then embedded."""
    rows = schedule.choose(people, wanted, time_s, returning)
    for row in rows:
        schedule.embedded(people[row].track, people[row].quality, time_s)
    return [people[row].track for row in rows]


def plenty(**changes):
    """A schedule that never lacks embeddings."""
    return EmbedSchedule(ScheduleSettings(**{"budget": 10, "share": 1.0, "burst": 100, **changes}))


def test_what_the_lock_wants_comes_first_whatever_it_looks_like():
    people = [person(1), person(2, quality=0.1), person(3)]
    assert replay(plenty(), people, [3, 2], 0.0) == [3, 2, 1]
    assert replay(plenty(), people, [9, 3, 3, 2, 9], 0.0) == [3, 2, 1]  # once, and who is there


def test_who_is_new_comes_by_quality_and_who_may_have_come_back_before_all():
    people = [person(1, 0.5), person(2, 0.9), person(3, 0.7), person(4, 0.39), person(-5, 0.6)]
    assert replay(plenty(), people, [], 0.0, returning=[-5, 4]) == [-5, 2, 3, 1]


def test_kinds_of_need_in_order():
    schedule = plenty(ambiguous_s=0.5, better=0.3, refresh_s=3.0, contest=0.15)
    first = [person(1), person(2), person(3, 0.5), person(4), person(5)]
    assert sorted(replay(schedule, first, [], 0.0)) == [1, 2, 3, 4, 5]
    # 1 is due again, 3 looks much better, 4 is overlapped, 5 slightly so, 6 is new; 2 was looked at.
    schedule.embedded(2, 0.9, 2.9)
    schedule.embedded(4, 0.9, 2.5)
    schedule.embedded(5, 0.9, 2.5)
    now = [person(1), person(2), person(3, 0.8), person(4, 0.9, 0.15), person(5, 0.9, 0.14)]
    assert replay(schedule, [*now, person(6)], [], 3.0) == [6, 4, 3, 1]
    assert replay(schedule, [*now, person(6)], [], 3.1) == []


@pytest.mark.parametrize(
    ("again", "after_s", "expected"),
    [
        (person(1, 0.5), 2.99, False),
        (person(1, 0.5), 3.0, True),  # refresh_s
        (person(1, 0.5, 0.15), 0.49, False),
        (person(1, 0.5, 0.15), 0.5, True),  # ambiguous_s
        (person(1, 0.79), 0.1, False),
        (person(1, 0.8), 0.1, True),  # better
        (person(1, 0.39), 9.0, False),  # quality
    ],
)
def test_limits_by_hand(again, after_s, expected):
    schedule = plenty()
    assert replay(schedule, [person(1, 0.5)], [], 100.0) == [1]
    assert replay(schedule, [again], [], 100.0 + after_s) == ([1] if expected else [])


def test_who_waits_longest_comes_first():
    schedule = plenty(budget=1, refresh_s=1.0, ambiguous_s=0.0)
    people = [person(track) for track in (1, 2, 3)]
    assert [replay(schedule, people, [], n / 10) for n in range(3)] == [[1], [2], [3]]
    assert [replay(schedule, people, [], 5 + n / 10) for n in range(3)] == [[1], [2], [3]]


def test_share_of_one_person_by_hand():
    # Two of the burst at once, then every tenth frame; 0.1 is no binary number.
    schedule = EmbedSchedule(ScheduleSettings(share=0.1, burst=2, refresh_s=0.0))
    frames = [n for n in range(1, 62) if replay(schedule, [person(7)], [], float(n))]
    assert frames == [1, 2, 11, 21, 31, 41, 51, 61]
    assert schedule.per_person_frame == 8 / 61


def test_a_busy_lock_leaves_less_for_the_tracker_but_not_for_ever():
    settings_ = ScheduleSettings(share=0.1, burst=4, refresh_s=0.0)
    schedule = EmbedSchedule(settings_)
    people = [person(1), person(2)]
    for n in range(100):  # one each frame, five times the share
        chosen = replay(schedule, people, [1], float(n))
        assert chosen[0] == 1 and (n < 4 or chosen == [1])
    # From 4 in debt to 1 saved takes 5 / 0.2 frames.
    waited = next(n for n in range(100) if replay(schedule, people, [], 100.0 + n))
    assert waited == 24


def test_what_is_not_spent_is_saved_up_to_the_burst():
    schedule = EmbedSchedule(ScheduleSettings(budget=100, share=0.5, burst=6))
    for n in range(50):
        assert replay(schedule, [person(1, 0.1), person(2, 0.1)], [], float(n)) == []
    assert len(replay(schedule, [person(100 + i) for i in range(20)], [], 60.0)) == 6


def test_who_was_not_embedded_for_long_counts_as_new():
    schedule = plenty(budget=1, forget_s=10.0, refresh_s=3.0)
    people = [person(1), person(2)]
    replay(schedule, people[:1], [], 0.0)
    replay(schedule, people[1:], [], 9.0)
    # Seen all the time, but too blurred to be embedded.
    for n in range(10, 25):
        replay(schedule, [person(1, 0.1)], [], float(n))
    assert set(schedule._known) == set()
    schedule.embedded(2, 0.5, 25.0)
    # Unknown comes before refreshing.
    assert replay(schedule, [person(2, 0.6), person(1)], [], 28.5) == [1]


people_of_a_frame = st.lists(
    st.tuples(st.integers(0, 12), st.floats(0, 1), st.floats(0, 1)),
    max_size=8,
    unique_by=lambda p: p[0],
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(people_of_a_frame, st.lists(st.integers(0, 12), max_size=6)), max_size=40),
    st.integers(1, 6),
    st.floats(0, 1),
    st.floats(1, 10),
)
def test_budget_and_share_hold_whatever_happens(frames, budget, share, burst):
    schedule = EmbedSchedule(ScheduleSettings(budget=budget, share=share, burst=burst))
    by_tracker = asked = seen = 0
    for n, (found, wanted) in enumerate(frames):
        people = [person(*p) for p in found]
        present = {p.track for p in people}
        due = [track for track in dict.fromkeys(wanted) if track in present][:budget]
        chosen = replay(schedule, people, wanted, n / 5)
        assert chosen[: len(due)] == due
        assert len(chosen) == len(set(chosen)) <= budget
        extra = chosen[len(due) :]
        assert all(p.quality >= 0.4 for p in people if p.track in extra)
        by_tracker, asked, seen = by_tracker + len(extra), asked + len(due), seen + len(people)
        # Saved is at most the burst, and the debt is written off beyond it.
        assert by_tracker <= burst + share * seen + 1e-3
    assert schedule.crops == by_tracker + asked and schedule.person_frames == seen
    assert schedule.per_person_frame == (schedule.crops / seen if seen else 0)


def test_the_long_run_spends_the_share():
    schedule = EmbedSchedule(ScheduleSettings(share=0.1, burst=8, refresh_s=0.0))
    people = [person(track) for track in range(5)]
    for n in range(2000):
        replay(schedule, people, [], n / 25)
    # 8 at first, then 0.1 of each person and frame, one after the other.
    assert schedule.crops == pytest.approx(8 + 0.1 * 5 * 2000, abs=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": 0}, "got 0, 0.1 and 8.0"),
        ({"share": -0.1}, "a share of 0..1"),
        ({"share": math.nan}, "got 4, nan and 8.0"),
        ({"share": 1.5}, "a share of 0..1"),
        ({"burst": 0.5}, "a burst of at least 1"),
        ({"burst": math.nan}, "a burst of at least 1"),
        ({"refresh_s": -1.0}, "refresh_s and forget_s of at least 0, got 0.5, -1.0 and 10.0"),
        ({"ambiguous_s": math.nan}, "got nan, 3.0 and 10.0"),
        ({"forget_s": -2.0}, "at least 0"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(ReidEdgeError, match=said):
        ScheduleSettings(**changes)
