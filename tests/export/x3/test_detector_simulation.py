"""How far the simulated board and the float network agree about people."""

from __future__ import annotations

import numpy as np
import pytest

from export.x3.detector_simulation import agreement

BOX = [0.0, 0.0, 10.0, 20.0]


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("expected", "found", "recall", "precision"),
    [
        ([boxes(BOX)], [boxes(BOX)], 1.0, 1.0),
        ([boxes(BOX)], [boxes()], 0.0, None),
        ([boxes()], [boxes(BOX)], None, 0.0),
        ([boxes()], [boxes()], None, None),
        ([boxes(BOX)], [boxes([0, 0, 10, 9])], 0.0, 0.0),  # overlaps by 0.45
        ([boxes(BOX)], [boxes(BOX, BOX)], 1.0, 0.5),  # one box is one person
        ([boxes(BOX, [20, 0, 30, 20])], [boxes([21, 0, 31, 20])], 0.5, 1.0),
        ([boxes(BOX), boxes()], [boxes(), boxes(BOX)], 0.0, 0.0),  # in another frame
    ],
)
def test_agreement(expected, found, recall, precision):
    assert agreement(expected, found) == {"recall": recall, "precision": precision}


def test_each_box_goes_to_the_person_it_fits_best():
    people = boxes([0, 0, 10, 20], [3, 0, 13, 20])
    found = boxes([3, 0, 13, 20], [0, 0, 10, 20])
    assert agreement([people], [found]) == {"recall": 1.0, "precision": 1.0}
