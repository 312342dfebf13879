"""Who is in control of the car, and the second step of a re-arm."""

from hypothesis import given
from hypothesis import strategies as st

from follow_robot.dashboard.control import Control


def test_the_first_page_that_acts_is_in_control_and_others_are_refused():
    control = Control()
    assert control.controller is None
    assert control.claim("a") and control.claim("a")
    assert not control.claim("b")
    assert control.controller == "a"


def test_control_is_taken_over_only_on_purpose():
    control = Control()
    control.claim("a")
    control.take("b")
    assert control.claim("b") and not control.claim("a")


def test_control_is_free_again_when_its_page_is_gone():
    control = Control()
    control.claim("a")
    control.leave("b")  # somebody else going changes nothing
    assert control.controller == "a"
    control.leave("a")
    assert control.controller is None and control.claim("b")


def test_a_rearm_is_confirmed_once_by_the_page_it_was_offered_to_in_time():
    control = Control(confirm_s=10.0)
    control.offer("a", "code", 0.0)
    assert not control.confirm("b", "code", 1.0)
    assert control.confirm("a", "code", 10.0)
    assert not control.confirm("a", "code", 10.0), "works once"
    control.offer("a", "code", 20.0)
    assert not control.confirm("a", "code", 30.1), "too late"
    control.offer("a", "code", 40.0)
    assert not control.confirm("a", "other", 41.0)
    assert not control.confirm("a", "code", 41.0), "a wrong code ends the offer"


def test_stop_and_take_over_void_every_offered_rearm():
    control = Control()
    control.offer("a", "code", 0.0)
    control.withdraw()
    assert not control.confirm("a", "code", 1.0)
    control.claim("a")
    control.offer("a", "code", 2.0)
    control.take("b")
    assert not control.confirm("a", "code", 3.0)


@given(st.lists(st.tuples(st.sampled_from(["claim", "take", "leave"]), st.sampled_from("abc"))))
def test_at_most_one_page_may_act_whatever_happens(steps):
    control = Control()
    for step, page in steps:
        getattr(control, step)(page)
        allowed = [p for p in "abc" if control.controller in (None, p)]
        assert control.controller is None or allowed == [control.controller]
        if step == "take":
            assert control.controller == page
        if step == "leave":
            assert control.controller != page
