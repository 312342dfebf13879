"""The page's messages are read strictly, ours are written as JSON that every browser reads."""

import json
import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from follow_robot.dashboard.messages import (
    KINDS,
    Act,
    BadMessage,
    Got,
    Watch,
    pack,
    parse,
    plain,
    to_json,
    unpack,
)


def message(**fields):
    return json.dumps(fields)


@pytest.mark.parametrize(
    "text, expected",
    [
        (message(type="act", id=1, kind="go"), Act(1, "go")),
        (message(type="act", id=2, kind="stop"), Act(2, "stop")),
        (
            message(type="act", id=3, kind="choose", box=[1, 2.5, 30, 40], point=[5, 6], track=7),
            Act(3, "choose", (1.0, 2.5, 30.0, 40.0), (5.0, 6.0), 7),
        ),
        (
            message(type="act", id=4, kind="choose", box=[1, 2, 3, 4]),
            Act(4, "choose", (1, 2, 3, 4)),
        ),
        (
            message(type="act", id=5, kind="set", values={"distance_m": 1.5}),
            Act(5, "set", values={"distance_m": 1.5}),
        ),
        (message(type="act", id=6, kind="rearm"), Act(6, "rearm")),
        (message(type="act", id=7, kind="rearm", code="x"), Act(7, "rearm", code="x")),
        (message(type="got", seq=9), Got(9)),
        (message(type="watch", on=False), Watch(False)),
    ],
)
def test_honest_messages(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[" * 4000, "JSON"),
        ("[]", "object"),
        ("{}", "type"),
        (message(type="ACT"), "type"),
        (message(type=["act"]), "type"),
        (message(type="act", kind="go"), "id"),
        (message(type="act", id=True, kind="go"), "id"),
        (message(type="act", id=-1, kind="go"), "id"),
        (message(type="act", id=1.0, kind="go"), "id"),
        (message(type="act", id=1, kind="drive"), "kind"),
        (message(type="act", id=1, kind=None), "kind"),
        (message(type="act", id=1, kind={"go": 1}), "kind"),
        (message(type="act", id=1, kind="go", speed=3), "Unknown field speed"),
        (message(type="act", id=1, kind="go", box=[0, 0, 1, 1]), "Unknown field box"),
        (message(type="act", id=1, kind="choose"), "box"),
        (message(type="act", id=1, kind="choose", box=[1, 2, 3]), "4 numbers"),
        (message(type="act", id=1, kind="choose", box=[3, 2, 1, 4]), "left, top"),
        (message(type="act", id=1, kind="choose", box=[1, 2, 3, True]), "numbers"),
        (message(type="act", id=1, kind="choose", box=[1, 2, 3, "4"]), "numbers"),
        (message(type="act", id=1, kind="choose", box=[1, 2, 3, 10**400]), "numbers"),
        ('{"type":"act","id":1,"kind":"choose","box":[1,2,3,NaN]}', "NaN"),
        ('{"type":"act","id":1,"kind":"choose","box":[1,2,3,1e999]}', "numbers"),
        ('{"type":"act","id":1,"kind":"set","values":{"speed_mps":-Infinity}}', "Infinity"),
        (message(type="act", id=1, kind="set"), "values"),
        (message(type="act", id=1, kind="set", values={}), "values"),
        (message(type="act", id=1, kind="set", values={"a": None}), "numbers"),
        (message(type="act", id=1, kind="set", values=[1]), "values"),
        (message(type="act", id=1, kind="rearm", code=5), "code"),
        (message(type="got"), "seq"),
        (message(type="watch", on=1), "on"),
    ],
)
def test_others_are_refused_with_a_sentence(text, says):
    with pytest.raises(BadMessage, match=says) as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_a_refusal_carries_the_number_of_its_message():
    with pytest.raises(BadMessage) as error:
        parse(message(type="act", id=17, kind="choose", box=[1]))
    assert error.value.id == 17


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["type", "id", "kind", "box", "values", "code", "seq", "on", "?"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
LIKELY = st.fixed_dictionaries(
    {"type": st.sampled_from(["act", "got", "watch"]), "id": st.integers(0, 9) | JSON},
    optional={
        "kind": st.sampled_from(KINDS) | JSON,
        "box": st.lists(st.floats() | st.integers(), min_size=4, max_size=4) | JSON,
        "point": JSON,
        "track": JSON,
        "values": JSON,
        "code": JSON,
        "seq": JSON,
        "on": JSON,
    },
)


@settings(max_examples=200, deadline=None)
@given(st.text() | JSON.map(json.dumps) | LIKELY.map(json.dumps))
def test_whatever_comes_is_a_message_or_a_refusal(text):
    try:
        read = parse(text)
    except BadMessage:
        return
    assert isinstance(read, (Act, Got, Watch))
    if isinstance(read, Act):
        assert read.kind in KINDS
        for group in (read.box, read.point, (read.values or {}).values()):
            assert all(isinstance(v, float) and math.isfinite(v) for v in group or ())


class Pair(NamedTuple):
    first: float
    second: object


def test_plain_makes_json_of_what_the_application_has():
    given_ = {
        "nan": math.nan,
        "minus": -math.inf,
        "long": 1 / 3,
        "np": np.float32(0.5),
        "int": np.int64(3),
        "array": np.array([[1, 2]]),
        "pair": Pair(0.1, None),
        "tuple": (1, True, "x"),
        5: object,
    }
    made = json.loads(to_json(given_))
    assert made.pop("5").startswith("<class")
    assert made == {
        "nan": None,
        "minus": None,
        "long": 0.3333,
        "np": 0.5,
        "int": 3,
        "array": [[1, 2]],
        "pair": {"first": 0.1, "second": None},
        "tuple": [1, True, "x"],
    }


@given(JSON)
def test_plain_is_always_strict_json(value):
    json.loads(to_json(value), parse_constant=lambda name: pytest.fail(name))
    assert plain(plain(value)) == plain(value)


@given(st.text(), st.binary())
def test_pictures_are_packed_with_their_header(text, jpeg):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    assert unpack(pack(json.dumps({"t": text}, ensure_ascii=False), jpeg)) == ({"t": text}, jpeg)
