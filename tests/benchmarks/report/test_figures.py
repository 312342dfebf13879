"""Numbers as text."""

import math

import pytest

from benchmarks.report.figures import count, finite, number, percent, plural, span


@pytest.mark.parametrize(
    ("value", "decimals", "sign", "text"),
    [
        (12.345, 2, False, "12.35"),
        (-0.126, 2, False, "−0.13"),
        (0.126, 2, True, "+0.13"),
        (-0.001, 2, True, "0.00"),  # no sign where nothing is seen
        (0.0, 2, True, "0.00"),
        (1234.5, 0, False, "1234"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "NaN"),
        (-math.inf, 2, False, "−∞"),
    ],
)
def test_number(value, decimals, sign, text):
    assert number(value, decimals, sign) == text


def test_intervals_shares_and_counts():
    assert span(-0.5, 1.25) == "−0.50 to 1.25"
    assert span(None, 1.0) == ""
    assert percent(0.001) == "0.10" and percent(None) == "–"
    assert count(12936) == "12,936" and count(None) == "–"
    assert plural(1, "query", "queries") == "1 query"
    assert plural(1120, "query", "queries") == "1,120 queries" and plural(2, "core") == "2 cores"
    assert finite(1.0, 0) and not finite(1.0, None) and not finite(math.nan)
