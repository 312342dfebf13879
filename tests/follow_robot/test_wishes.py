"""What the page and the command line want, and when it is not done."""

import pytest

from follow_robot.choices import BOX, FRONT, GALLERY, GO, HOLD, POINT, RELEASE, SET, Choice
from follow_robot.dashboard.hub import Intent
from follow_robot.wishes import FRESH_S, FirstWish, Wishes, choices_of
from runtime.frame_record import FrameRecord, Seen
from runtime.lock_types import ENROLLING, IDLE, LOCKED, LockOutput

SOMEBODY = Seen(1, (100.0, 20.0, 160.0, 200.0), 0.9, "confirmed", 1.0, 0.0, "rear", 0, True)


def record(state=IDLE, people=(SOMEBODY,), event=None):
    lock = LockOutput(state, None, None, None, None, event)
    return FrameRecord(0, 10.0, (240, 320), list(people), lock, [1, 0, 0, 0, 1, 0])


def kinds(choices):
    return [choice.kind for choice in choices]


class TestChoicesOf:
    @pytest.fixture
    def done(self):
        return []

    @pytest.fixture
    def of(self, done):
        def of(*intents):
            return choices_of(intents, lambda: done.append("rearm"), done.append)

        return of

    def test_every_wish_of_the_page(self, of, done):
        intents = [
            Intent("choose", "page 1", 0.0, box=(1, 2, 3, 4)),
            Intent("choose", "page 1", 0.0, point=(5, 6)),
            Intent("choose_front", "page 1", 0.0),
            Intent("set", "page 1", 0.0, values={"distance_m": 2, "speed_mps": 1}),
            Intent("go", "page 1", 0.0),
            Intent("hold", "page 1", 0.0),
            Intent("release", "page 1", 0.0),
        ]
        assert of(*intents) == [
            Choice(BOX, (1.0, 2.0, 3.0, 4.0)),
            Choice(POINT, (5.0, 6.0)),
            Choice(FRONT),
            Choice(SET, (2.0,), "distance_m"),
            Choice(SET, (1.0,), "speed_mps"),
            Choice(GO),
            Choice(HOLD),
            Choice(RELEASE),
        ]
        for choice in of(*intents):
            choice.check()
        assert done == []

    def test_a_stop_is_pressed_again_and_ends_driving(self, of, done):
        assert of(Intent("stop", "page 2", 0.0)) == [Choice(HOLD)]
        assert done == ["STOP pressed by page 2"]

    def test_a_rearm_goes_to_the_driver_and_starts_nothing(self, of, done):
        assert of(Intent("rearm", "page 1", 0.0)) == []
        assert done == ["rearm"]

    def test_order_is_kept(self, of, done):
        of(Intent("rearm", "page 1", 0.0), Intent("stop", "page 1", 0.1))
        assert done == ["rearm", "STOP pressed by page 1"]


class TestFirstWish:
    def test_nobody_is_chosen_before_somebody_is_seen(self):
        first = FirstWish(Choice(FRONT), go=True)
        assert kinds(first.due(None)) == [GO]
        assert first.due(record(people=())) == []
        assert kinds(first.due(record())) == [FRONT]

    def test_again_until_the_lock_has_learned_them(self):
        first = FirstWish(Choice(FRONT), go=False)
        assert kinds(first.due(record())) == [FRONT]
        assert first.due(record(ENROLLING)) == []
        assert kinds(first.due(record(IDLE, event="enrolment_failed"))) == [FRONT]
        assert first.due(record(LOCKED, event="enrolled")) == []
        assert first.due(record(IDLE)) == []  # released on the page: not chosen again

    def test_photos_need_nobody_in_sight_and_are_given_once(self):
        photos = Choice(GALLERY, embeddings=[[1.0]])
        first = FirstWish(photos, go=False)
        assert first.due(None) == [photos]
        assert first.due(record()) == []

    def test_go_is_said_once(self):
        first = FirstWish(None, go=True)
        assert kinds(first.due(None)) == [GO] and first.due(record()) == []

    @pytest.mark.parametrize("kind", [BOX, POINT, FRONT, RELEASE])
    def test_another_person_on_the_page_overrules_the_person_only(self, kind):
        first = FirstWish(Choice(FRONT), go=True)
        first.overrule(kind)
        assert kinds(first.due(record())) == [GO]

    @pytest.mark.parametrize("kind", [GO, HOLD])
    def test_go_and_hold_on_the_page_overrule_go_only(self, kind):
        first = FirstWish(Choice(FRONT), go=True)
        first.overrule(kind)
        assert kinds(first.due(record())) == [FRONT]

    def test_a_setting_overrules_nothing(self):
        first = FirstWish(Choice(FRONT), go=True)
        first.overrule(SET)
        assert kinds(first.due(record())) == [GO, FRONT]


class TestWishes:
    @pytest.fixture
    def wishes(self):
        return Wishes(FirstWish(None, False))

    def test_are_taken_once_in_order(self, wishes):
        wishes.add([Choice(FRONT)], 1.0)
        wishes.add([Choice(GO)], 1.1)
        assert wishes.take(None, 1.2) == ([Choice(FRONT), Choice(GO)], [])
        assert wishes.take(None, 1.3) == ([], [])

    def test_first_wishes_come_last(self):
        wishes = Wishes(FirstWish(None, True))
        wishes.add([Choice(SET, (1.0,), "speed_mps")], 0.0)
        assert kinds(wishes.take(None, 0.0)[0]) == [SET, GO]

    @pytest.mark.parametrize("choice", [Choice(GO), Choice(FRONT), Choice(POINT, (1.0, 1.0))])
    def test_without_frames_a_wish_to_move_or_to_choose_is_dropped(self, wishes, choice):
        wishes.add([choice], 0.0)
        wishes.add([Choice(HOLD), Choice(RELEASE), Choice(SET, (1.0,), "speed_mps")], 0.0)
        choices, dropped = wishes.take(None, FRESH_S + 0.1)
        assert kinds(choices) == [HOLD, RELEASE, SET]
        assert len(dropped) == 1 and "no frame came for 1 s" in dropped[0]

    def test_a_latched_stop_ends_driving(self, wishes):
        wishes.stopped(True, 0.0)
        wishes.stopped(True, 0.1)  # the loop sees it many times before a frame comes
        assert wishes.take(None, 60.0) == ([Choice(HOLD)], [])

    def test_a_latched_stop_on_hold_changes_nothing(self, wishes):
        wishes.stopped(False, 0.0)
        assert wishes.take(None, 0.0) == ([], [])

    def test_no_go_outlives_a_latched_stop(self):
        wishes = Wishes(FirstWish(None, go=True))
        wishes.add([Choice(GO), Choice(FRONT)], 0.0)
        wishes.stopped(False, 0.0)
        assert wishes.take(None, 0.0) == ([Choice(FRONT)], [])

    def test_choices_of_the_page_overrule_the_command_line(self):
        wishes = Wishes(FirstWish(Choice(FRONT), go=False))
        wishes.add([Choice(POINT, (1.0, 2.0))], 0.0)
        assert kinds(wishes.take(record(), 0.0)[0]) == [POINT]
        assert wishes.take(record(), 0.1) == ([], [])
