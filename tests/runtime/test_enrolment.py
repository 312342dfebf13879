"""Learning the chosen person from crops of one track."""

import numpy as np
import pytest

from runtime.enrolment import Enrolment
from runtime.lock_types import LockSettings, Person
from runtime.memory import SceneMean

S = LockSettings(enrol_samples=4, enrol_timeout_s=5.0, enrol_gap_s=0.7, reject_hits=3)
SCENE = SceneMean()  # without a prior and without people nothing is taken away


def look(degrees):
    turn = np.radians(degrees)
    return np.array([np.cos(turn), np.sin(turn), 0], np.float32)


def seen(degrees=None, **extra):
    return Person(1, (0, 0, 40, 100), None if degrees is None else look(degrees), **extra)


def test_enough_good_crops_and_their_views():
    enrolment = Enrolment(0.0)
    views = [("rear", 1), ("rear", 1), ("side", 1), ("rear", 2)]
    done = [enrolment.take(seen(n, bucket=view), SCENE, n / 10, S) for n, view in enumerate(views)]
    assert done == [False, False, False, True]
    assert [bucket for _, bucket in enrolment.samples] == views
    for n, (embedding, _) in enumerate(enrolment.samples):
        np.testing.assert_array_equal(embedding, look(n))


@pytest.mark.parametrize(
    "extra",
    [
        {"quality": 0.59},  # too poor to be learned from
        {"behind": True, "overlap": 0.15},  # shows somebody else too
        {"behind": True, "overlap": 0.6},
    ],
)
def test_poor_and_covered_crops_are_left_out(extra):
    enrolment = Enrolment(0.0)
    assert not enrolment.take(seen(0, **extra), SCENE, 0.0, S) and not enrolment.samples
    assert not enrolment.take(seen(None), SCENE, 0.0, S) and not enrolment.samples


@pytest.mark.parametrize(
    "extra", [{"quality": 0.6}, {"behind": True, "overlap": 0.14}, {"overlap": 0.9}]
)
def test_good_ones_are_taken(extra):
    enrolment = Enrolment(0.0)
    enrolment.take(seen(0, **extra), SCENE, 0.0, S)
    assert len(enrolment.samples) == 1


def test_it_fails_when_it_takes_too_long():
    enrolment = Enrolment(10.0)
    for step in range(1, 11):  # good crops, but never enough
        enrolment.take(seen(0), SCENE, 10.0 + step / 2, LockSettings(enrol_samples=99))
    assert not enrolment.failed(15.0, S) and enrolment.failed(15.01, S)


def test_it_fails_when_no_good_crop_came_for_a_while():
    enrolment = Enrolment(10.0)
    assert not enrolment.failed(10.7, S) and enrolment.failed(10.71, S)
    enrolment.take(seen(0), SCENE, 10.7, S)
    enrolment.take(seen(0, quality=0.5), SCENE, 11.3, S)  # not a good one
    assert not enrolment.failed(11.39, S) and enrolment.failed(11.41, S)


def test_it_fails_when_the_track_shows_somebody_else():
    enrolment = Enrolment(0.0)
    enrolment.take(seen(0), SCENE, 0.0, S)
    # cos 84 deg = 0.105 is as little as crops of one person may have in common (enrol_keep).
    enrolment.take(seen(84), SCENE, 0.1, S)
    assert len(enrolment.samples) == 2
    for step in range(3):
        assert not enrolment.failed(0.2, S)
        enrolment.take(seen(-85 - step), SCENE, 0.2, S)  # cos 85 deg = 0.087 to the nearest
    assert enrolment.failed(0.2, S) and len(enrolment.samples) == 2


def test_crops_are_compared_without_what_the_scene_has_in_common():
    scene = SceneMean(np.array([[0.0, 0, 1]]))
    one, other = np.array([0.3, 0, 0.954]), np.array([-0.3, 0, 0.954])
    assert one @ other > 0.8  # alike only in what everybody here has
    enrolment = Enrolment(0.0)
    for embedding in (one, other):
        enrolment.take(seen(0)._replace(embedding=embedding), scene, 0.0, S)
    assert len(enrolment.samples) == 1
