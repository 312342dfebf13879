"""The bernoulli2 operator table: which operators have a BPU or CPU kernel, and within which limits.

The table itself is ``operators.json``, one row per operator and one per limit, each with its source.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional, Union

FILE = Path(__file__).with_name("operators.json")
SCHEMA_VERSION = 1

Value = Union[int, float, str]


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        op: ONNX operator type.
        on: ``"BPU"``, ``"CPU"``, ``"folded"`` (gone before compilation) or ``"none"`` (no kernel).
        source: Key of ``Table.sources``.
        quantization: BPU operators: ``"active"``, or ``"passive"`` where the scale is the input's.
        note: What the row does not say.
    """

    op: str
    on: str
    source: str
    quantization: str = ""
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """A condition on one quantity of a node, or of the model; every value of it must satisfy all.

    Attributes:
        quantity: What is limited, a name of ``quantities.QUANTITIES``.
        source: Key of ``Table.sources``.
        op: Operator type, ``"*"`` for all BPU operators, empty for the model.
        device: Whose kernel it is: ``"BPU"`` or ``"CPU"``.
        when: Name of ``conditions.CONDITIONS``; the limit holds only then. Empty: always.
        allowed: Keys ``min``, ``max`` (inclusive), ``below``, ``in``, ``power_of_two``.
        exempt: Operators that ``"*"`` leaves out.
        note: How the source was read.
        fix: What the user can do, of the limits of a whole model.
    """

    quantity: str
    source: str
    op: str = ""
    device: str = "BPU"
    when: str = ""
    allowed: Mapping[str, Any] = None  # type: ignore[assignment]
    exempt: tuple[str, ...] = ()
    note: str = ""
    fix: str = ""

    def admits(self, value: Value) -> bool:
        """Whether one value of the quantity keeps the limit."""
        allowed = self.allowed
        if "in" in allowed and value not in allowed["in"]:
            return False
        if isinstance(value, str):
            return "in" in allowed
        if allowed.get("power_of_two"):
            return value > 0 and math.log2(value).is_integer()
        return (
            value >= allowed.get("min", -math.inf)
            and value <= allowed.get("max", math.inf)
            and value < allowed.get("below", math.inf)
        )

    def describe(self) -> str:
        """The allowed values, for people: ``"1 to 7"``, ``"at most 2048"``, ``"2 or 4"``."""
        allowed = self.allowed
        if "in" in allowed:
            return " or ".join(str(v) for v in allowed["in"])
        if allowed.get("power_of_two"):
            return "a power of two"
        if "below" in allowed:
            return "below %s" % allowed["below"]
        if "min" in allowed and "max" in allowed:
            return "%s to %s" % (allowed["min"], allowed["max"])
        return "at most %s" % allowed["max"] if "max" in allowed else "at least %s" % allowed["min"]


@dataclass(frozen=True)
class MatMulPattern:
    """Operand shapes of a MatMul that the BPU runs.

    Attributes:
        left, right: Dimensions joined by ``x``: digits, or letters that stand for one size each.
        operands: ``"feature"`` or ``"constant"`` for either operand.
        least: Smallest value of the letters A and B.
        source: Key of ``Table.sources``.
    """

    left: str
    right: str
    operands: tuple[str, str]
    least: int
    source: str

    def matches(self, left: Sequence[int], right: Sequence[int], operands: tuple[str, str]) -> bool:
        """Whether two operands of these shapes have the pattern."""
        if operands != self.operands:
            return False
        sizes: dict[str, int] = {}
        for pattern, shape in ((self.left, left), (self.right, right)):
            letters = pattern.split("x")
            if len(letters) != len(shape):
                return False
            for letter, size in zip(letters, shape):
                if letter.isdigit():
                    if int(letter) != size:
                        return False
                elif sizes.setdefault(letter, size) != size:
                    return False
        return all(sizes.get(letter, self.least) >= self.least for letter in "AB")

    def __str__(self) -> str:
        return "%s @ %s (%s, %s)" % (self.left, self.right, *self.operands)


@dataclass(frozen=True)
class Table:
    """The whole file.

    Attributes:
        march: The toolchain's name of the BPU.
        operators: Operator type -> row.
        limits: Of nodes.
        model: Limits of the model as a whole.
        matmul: A MatMul must have one of these patterns.
        sources: Key -> document.
    """

    march: str
    operators: Mapping[str, Operator]
    limits: tuple[Limit, ...]
    model: tuple[Limit, ...]
    matmul: tuple[MatMulPattern, ...]
    sources: Mapping[str, str]

    def limits_of(self, op: str, device: str) -> list[Limit]:
        """The limits of one operator's kernel, general ones first."""
        return [
            limit
            for limit in self.limits
            if limit.device == device
            and (limit.op == op or (limit.op == "*" and op not in limit.exempt))
        ]


@lru_cache(maxsize=1)
def operator_table() -> Table:
    """The shipped table."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError("operators.json has schema %s" % data["schema_version"])
    return Table(
        march=data["march"],
        operators={row["op"]: Operator(**row) for row in data["operators"]},
        limits=tuple(_limit(row) for row in data["limits"]),
        model=tuple(_limit(row) for row in data["model"]),
        matmul=tuple(
            MatMulPattern(**{**row, "operands": tuple(row["operands"])})
            for row in data["matmul_patterns"]
        ),
        sources=data["sources"],
    )


def _limit(row: dict[str, Any]) -> Limit:
    allowed = {k: row[k] for k in ("min", "max", "below", "in", "power_of_two") if k in row}
    known = {"quantity", "source", "op", "device", "when", "note", "fix"}
    unknown = set(row) - known - set(allowed) - {"except"}
    if unknown or not allowed:
        raise ValueError("operators.json: bad row %s" % row)
    rest: dict[str, Optional[Any]] = {k: v for k, v in row.items() if k in known}
    return Limit(**rest, allowed=allowed, exempt=tuple(row.get("except", ())))  # type: ignore[arg-type]
