"""Conditions of --fail-if: what they mean, and that nothing else can be said in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.conditions import compared, read_condition
from benchmarks.metric_paths import Scope
from runtime.errors import ReidEdgeError

HERE, THERE = Scope("a", "cpu", "market1501"), Scope("b", "xavier", "market1501")
FIGURES = {"int8.mAP_drop": 0.6, "int8.mAP": 80.0, "int8-dla0.x": 1.0, "int8@tensorrt.x": 2.0}


def holds(text, figures=None):
    return bool(read_condition(text).holds_in({HERE: figures or FIGURES}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int8.mAP_drop > 0.5", True),
        ("int8.mAP_drop>.7", False),
        ("int8.mAP_drop >= 0.6", True),
        ("0.5 < int8.mAP_drop", True),
        ("int8.mAP_drop < -1e-3", False),
        ("int8.mAP == 80", True),
        ("int8.mAP != 80", False),
        ("int8.mAP <= 79.9 or int8.mAP_drop > 0.5", True),
        ("int8.mAP <= 79.9 and int8.mAP_drop > 0.5", False),
        # "and" binds tighter than "or"
        ("int8.mAP > 1 or int8.mAP > 99 and int8.mAP > 99", True),
        ("(int8.mAP > 1 or int8.mAP > 99) and int8.mAP > 99", False),
        ("((int8.mAP > 1))", True),
        ("int8.mAP > int8.mAP_drop", True),
        ("int8-dla0.x < int8@tensorrt.x", True),
        ("1 < 2", True),
    ],
)
def test_what_they_mean(text, expected):
    assert holds(text) is expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_against_python(data):
    names = {"v.a": 1.5, "v.b": -2.0, "v.c": 1.5}
    value = st.one_of(st.sampled_from(sorted(names)), st.sampled_from(["1.5", "-2", "+0", "3e1"]))
    sign = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    comparison = st.builds(lambda a, s, b: "%s %s %s" % (a, s, b), value, sign, value)
    text = data.draw(
        st.recursive(
            comparison,
            lambda inner: st.builds(
                lambda a, word, b, group: ("(%s) %s (%s)" if group else "%s %s %s") % (a, word, b),
                inner,
                st.sampled_from(["and", "or"]),
                inner,
                st.booleans(),
            ),
            max_leaves=6,
        )
    )
    python = text
    for name, number in names.items():
        python = python.replace(name, "(%r)" % number)
    assert holds(text, names) == eval(python)  # the generated text only


@pytest.mark.parametrize(
    "text",
    [
        "", "int8.mAP", "int8.mAP >", "> 1", "int8.mAP > 1 and", "int8.mAP > 1 2", "(int8.mAP > 1",
        "int8.mAP > 1)", "int8.mAP => 1", "int8.mAP = 1", "1 < int8.mAP < 2", "int8..mAP > 1",
        "__import__('os').system('x') > 1", "int8.mAP > 1; 2", "int8.mAP > 0x10", "not int8.mAP > 1",
        "and > 1", "int8.mAP > 1.2.3", "int8.mAP + 1 > 2", "(" * 60 + "1 < 2" + ")" * 60,
    ],
)  # fmt: skip
def test_anything_else_is_refused_where_it_is(text):
    with pytest.raises(ReidEdgeError, match="cannot be read at") as caught:
        read_condition(text)
    assert "\n" not in str(caught.value)


def test_it_holds_where_it_holds_in_any_bundle():
    scopes = {HERE: {"int8.mAP_drop": 0.1}, THERE: {"int8.mAP_drop": 0.9}}
    condition = read_condition("int8.mAP_drop > 0.5")
    assert condition.holds_in(scopes) == [THERE]
    assert condition.paths == ("int8.mAP_drop",)
    # Figures of two bundles are not mixed.
    scopes = {HERE: {"x.a": 1.0}, THERE: {"x.b": 1.0}}
    with pytest.raises(ReidEdgeError, match=r"speaks of x\.a, x\.b, which no bundle has together"):
        read_condition("x.a > 0 and x.b > 0").holds_in(scopes)


def test_an_unknown_figure_lists_what_there_is():
    with pytest.raises(ReidEdgeError) as caught:
        read_condition("int8.mAp_drop > 0.5").holds_in({HERE: {**FIGURES, "int8.b8t1.x": 1.0}})
    message = str(caught.value)
    assert "speaks of int8.mAp_drop, which was not measured" in message
    assert "int8.mAP, int8.mAP_drop" in message and "b8t1" not in message
    with pytest.raises(ReidEdgeError, match="there are: no figures"):
        read_condition("int8.mAP > 1").holds_in({})


def test_two_runs():
    before = {HERE: {"int8.mAP": 80.0, "int8.p": 0.0, "gone.x": 1.0}, THERE: {"int8.mAP": 1.0}}
    after = {HERE: {"int8.mAP": 78.0, "int8.p": 3.0, "new.x": 1.0}}
    found = compared(before, after)
    assert list(found) == [HERE]
    assert found[HERE] == {
        "int8.mAP": 78.0, "int8.p": 3.0, "new.x": 1.0, "before.int8.mAP": 80.0, "before.int8.p": 0.0,
        "before.gone.x": 1.0, "change.int8.mAP": -2.0, "change.int8.p": 3.0,
        "ratio.int8.mAP": 78 / 80,
    }  # fmt: skip
    assert read_condition("change.int8.mAP < -1 and ratio.int8.mAP < 1").holds_in(found) == [HERE]
