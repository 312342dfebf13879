"""The operator table as data: complete, consistent, and the arithmetic of its rows."""

from __future__ import annotations

import json

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.x3.conditions import CONDITIONS
from export.x3.operators import FILE, Limit, MatMulPattern, operator_table
from export.x3.quantities import QUANTITIES

ROWS = json.loads(FILE.read_text(encoding="utf-8"))
LATER = {"Celu", "Einsum", "GreaterOrEqual", "LessOrEqual", "GridSample"}  # than opset 11


def test_every_operator_of_onnx_11_has_a_row_unless_the_vendor_left_it_out():
    schemas = onnx.defs.get_all_schemas_with_history()
    known = {s.name for s in schemas if s.domain in ("", "ai.onnx") and s.since_version <= 11}
    listed = set(operator_table().operators)
    assert known - listed == {"NonMaxSuppression", "MaxUnpool"}
    assert listed - known == {*LATER, "Function"}


def test_rows_are_unique_and_refer_to_what_exists():
    names = [row["op"] for row in ROWS["operators"]]
    assert len(names) == len(set(names)) == 160
    limits = [(r["op"], r["device"], r["quantity"], r.get("when")) for r in ROWS["limits"]]
    assert len(limits) == len(set(limits))
    for row in ROWS["limits"]:
        assert row["quantity"] in QUANTITIES, row
        assert row.get("when", "") in {"", *CONDITIONS}, row
        assert row["op"] == "*" or row["op"] in names, row
    for row in ROWS["operators"] + ROWS["limits"] + ROWS["model"] + ROWS["matmul_patterns"]:
        assert row["source"] in ROWS["sources"], row
    used = {row["quantity"] for row in ROWS["limits"]}
    assert used == set(QUANTITIES)
    assert {row["when"] for row in ROWS["limits"] if "when" in row} == set(CONDITIONS)


def test_bpu_limits_belong_to_bpu_operators_and_all_of_those_say_how_they_quantize():
    table = operator_table()
    for limit in table.limits:
        if limit.device == "BPU" and limit.op != "*":
            assert table.operators[limit.op].on == "BPU", limit
    for row in table.operators.values():
        assert (row.quantization in ("active", "passive")) == (row.on == "BPU"), row


@pytest.mark.parametrize(
    ("op", "on"),
    [
        ("Conv", "BPU"), ("MatMul", "BPU"), ("Softmax", "CPU"), ("Reshape", "CPU"), ("Sub", "CPU"),
        ("InstanceNormalization", "CPU"), ("QuantizeLinear", "CPU"), ("QLinearConv", "none"),
        ("Einsum", "none"), ("Shape", "folded"), ("Dropout", "folded"),
    ],
)  # fmt: skip
def test_places_as_in_the_manual(op, on):
    assert operator_table().operators[op].on == on


@pytest.mark.parametrize(
    ("allowed", "good", "bad", "text"),
    [
        ({"min": 1, "max": 7}, [1, 7], [0, 8], "1 to 7"),
        ({"max": 2048}, [-3, 2048], [2049], "at most 2048"),
        ({"min": 0}, [0, 9], [-1], "at least 0"),
        ({"below": 2048}, [2047.9], [2048], "below 2048"),
        ({"in": [2, 4]}, [2, 4], [3, "2"], "2 or 4"),
        ({"in": ["NOTSET"]}, ["NOTSET"], ["SAME_UPPER"], "NOTSET"),
        ({"power_of_two": True}, [1, 2, 64, 0.5], [0, 3, -2, 1.5], "a power of two"),
    ],
)
def test_limits_admit_and_describe(allowed, good, bad, text):
    limit = Limit("quantity", "OPS", allowed=allowed)
    assert all(map(limit.admits, good)) and not any(map(limit.admits, bad))
    assert limit.describe() == text


def test_a_word_never_keeps_a_numeric_limit():
    assert not Limit("q", "OPS", allowed={"max": 5}).admits("1x2")


sizes = st.integers(1, 5)


@given(a=sizes, b=sizes, m=sizes, k=sizes, n=sizes)
def test_matmul_patterns_bind_letters_to_sizes(a, b, m, k, n):
    both = ("feature", "feature")
    pattern = MatMulPattern("1xBxMxK", "1x1xKxN", both, 1, "OPS")
    assert pattern.matches((1, b, m, k), (1, 1, k, n), both)
    assert pattern.matches((1, b, m, k), (1, a, k, n), both) == (a == 1)
    assert pattern.matches((a, b, m, k), (1, 1, k, n), both) == (a == 1)
    assert not pattern.matches((1, b, m, k), (1, 1, k + 1, n), both)
    assert not pattern.matches((b, m, k), (k, n), both)
    assert not pattern.matches((1, b, m, k), (1, 1, k, n), ("feature", "constant"))


@given(a=sizes, b=sizes)
def test_matmul_patterns_with_a_least_size(a, b):
    operands = ("feature", "constant")
    pattern = MatMulPattern("AxBxMxK", "KxN", operands, 2, "OPS")
    assert pattern.matches((a, b, 3, 4), (4, 5), operands) == (a > 1 and b > 1)
