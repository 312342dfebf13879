"""Wishes on their way: the newest of each kind, in order, and the safe ones always."""

from hypothesis import given
from hypothesis import strategies as st

from follow_robot.dashboard.intents import SAFE, Intent, Intents

KINDS = ("go", "hold", "stop", "rearm", "release", "choose_front")
ADDED = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab"), st.integers(0, 9)))


@given(ADDED, st.integers(0, 9))
def test_taken_is_the_last_of_each_kind_in_the_order_it_was_wished(added, oldest):
    intents = Intents()
    wished = [Intent(kind, page, time_s) for kind, page, time_s in added]
    for intent in wished:
        intents.add(intent)
    expected = []
    for index, intent in enumerate(wished):
        again = any(later.kind == intent.kind for later in wished[index + 1 :])
        if not again and (intent.kind in SAFE or intent.time_s >= oldest):
            expected.append(intent)
    assert intents.take(oldest) == expected
    assert intents.take(0) == []


@given(ADDED)
def test_what_is_dropped_is_never_a_wish_to_stop(added):
    intents = Intents()
    for kind, page, time_s in added:
        intents.add(Intent(kind, page, time_s))
    intents.drop(lambda intent: intent.client == "a")
    kept = intents.take(0)
    assert all(i.client == "b" or i.kind in SAFE for i in kept)
    assert {i.kind for i in kept} >= {kind for kind, _, _ in added if kind in SAFE}


def test_values_of_several_parameters_add_up():
    intents = Intents()
    intents.add(Intent("set", "a", 0.0, values={"x": 1.0, "y": 2.0}))
    intents.add(Intent("set", "a", 1.0, values={"x": 3.0}))
    assert intents.take(0.5) == [Intent("set", "a", 1.0, values={"x": 3.0, "y": 2.0})]
