"""Where two pieces of plain data differ."""

import math
from typing import Any, Iterator, NamedTuple


class Difference(NamedTuple):
    """Two values that should be one.

    Attributes:
        field: Dotted path of the value, such as ``lock.similarity`` or ``people.0.box.2``.
        recorded, replayed: Both values.
    """

    field: str
    recorded: Any
    replayed: Any


class Absent:
    """In place of a value that one of the two does not have."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


def differences(
    recorded: Any, replayed: Any, tolerance: float = 0.0, field: str = ""
) -> Iterator[Difference]:
    """Each value that differs, in the order of the recorded data.

    Args:
        recorded, replayed: Dictionaries, lists or tuples, numbers, text, truth values, None.
        tolerance: Numbers this close, absolutely or relative to the larger, count as equal. With 0
            they must be the same number; NaN is the same as NaN.
        field: Path of what is compared.
    """
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        for name in [*recorded, *(n for n in replayed if n not in recorded)]:
            yield from differences(
                recorded.get(name, ABSENT),
                replayed.get(name, ABSENT),
                tolerance,
                "%s.%s" % (field, name) if field else name,
            )
    elif isinstance(recorded, (list, tuple)) and isinstance(replayed, (list, tuple)):
        for index in range(max(len(recorded), len(replayed))):
            yield from differences(
                recorded[index] if index < len(recorded) else ABSENT,
                replayed[index] if index < len(replayed) else ABSENT,
                tolerance,
                "%s.%d" % (field, index),
            )
    elif not _same(recorded, replayed, tolerance):
        yield Difference(field, recorded, replayed)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if not (_is_number(a) and _is_number(b)):
        return type(a) is type(b) and a == b
    if a == b or (a != a and b != b):
        return True
    try:
        return tolerance > 0 and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
