"""The batches of a fine-tuning run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image
from tests.training.drawn_people import CONTRACT
from training.data import open_training_set
from training.qat_data import Batches
from training.qat_settings import QatSettings


def batches_of(people, **given) -> Batches:
    settings = QatSettings(Path("w.pth"), people, Path("out"), **given)
    return Batches(open_training_set(people), CONTRACT, settings)


@pytest.mark.parametrize(
    ("given", "batch", "steps"),
    [
        ({}, 32, 1),
        ({"batch": 8}, 8, 4),
        ({"batch": 8, "crops": 9}, 8, 2),
        ({"batch": 64}, 32, 1),
        ({"labels": True}, 32, 1),
        ({"labels": True, "persons": 4, "images": 2}, 8, 4),
        ({"labels": True, "persons": 2, "images": 2, "crops": 10}, 4, 3),
    ],
)
def test_sizes_are_those_asked_for_and_never_more_than_there_are(people, given, batch, steps):
    made = batches_of(people, **given)
    assert (made.batch, made.steps) == (batch, steps)
    shapes = [(tuple(pixels.shape), len(labels)) for pixels, labels in made(0)]
    assert shapes == [((batch, 3, 64, 32), batch)] * steps


def test_labels_come_in_persons_times_images(people):
    (_, labels), *_ = batches_of(people, labels=True, persons=3, images=2)(1)
    assert sorted(np.unique(labels, return_counts=True)[1]) == [2, 2, 2]


def test_calibration_crops_are_as_the_network_will_see_them(people):
    crops = open_training_set(people).crops
    found = batches_of(people, seed=4).calibration(5, seed=4)
    expected = preprocess([read_image(crop.path) for crop in crops], CONTRACT)
    nearest = [int(np.abs(expected - image).max((1, 2, 3)).argmin()) for image in found]
    assert len(set(nearest)) == 5
    assert found == pytest.approx(expected[nearest], abs=1e-5)


def test_more_people_than_there_are_is_an_error_with_the_option(people):
    with pytest.raises(
        ReidEdgeError, match=r"--persons 9 needs .* has 8 .*; pass --persons 8 or l"
    ):
        batches_of(people, labels=True, persons=9)
