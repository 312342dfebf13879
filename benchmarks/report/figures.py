"""Figures as text: fixed decimals, so that a column's points stand below each other."""

from __future__ import annotations

import math
from typing import Optional

MISSING = "–"
MINUS = "−"


def number(value: Optional[float], decimals: int = 2, sign: bool = False) -> str:
    """Such as "12.30", "−0.12" or, with ``sign``, "+0.12"; "–" for None, "NaN" for NaN.

    What rounds to zero has no sign.
    """
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else (MINUS if value < 0 else "") + "∞"
    text = "%.*f" % (decimals, abs(value))
    if not float(text):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def span(low: Optional[float], high: Optional[float], decimals: int = 2, sign: bool = False) -> str:
    """An interval: "0.12 to 0.34"; empty where it is not known."""
    if low is None or high is None:
        return ""
    return "%s to %s" % (number(low, decimals, sign), number(high, decimals, sign))


def percent(share: Optional[float], decimals: int = 2) -> str:
    """A share of 0..1 in percent, without the sign: 0.001 is "0.10"."""
    return number(None if share is None else 100.0 * share, decimals)


def count(value: Optional[int]) -> str:
    """Such as "12,936"."""
    return MISSING if value is None else f"{value:,}"


def plural(value: int, one: str, many: str = "") -> str:
    """ "1 query", "1,120 queries"."""
    return "%s %s" % (count(value), one if value == 1 else many or one + "s")


def finite(*values: Optional[float]) -> bool:
    """Whether all are there and none is NaN or infinite."""
    return all(value is not None and math.isfinite(value) for value in values)
