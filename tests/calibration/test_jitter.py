"""Detector jitter: bounds, edges, determinism."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.jitter import Jitter, cut_box, jitter_crops, jittered_box
from runtime.errors import ReidEdgeError

STILL = Jitter(shift=0, scale=0, truncate_probability=0)


def crops(count=5, height=128, width=64):
    return list(np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_boxes_stay_within_the_stated_bounds(width, height, seed):
    jitter = Jitter()
    box = jittered_box(width, height, jitter, np.random.default_rng(seed))
    left, top, right, bottom = box
    assert right > left and bottom > top
    reach = jitter.shift + jitter.scale / 2
    for low, high, size in ((left, right, width), (top, bottom, height)):
        assert -reach * size - 1 <= low and high <= (1 + reach) * size + 1
    smallest = (1 - jitter.scale) * (1 - jitter.truncate)
    assert right - left >= smallest * width - 1 and bottom - top >= smallest * height - 1
    image = np.zeros((height, width, 3), np.uint8)
    assert cut_box(image, box).shape == (bottom - top, right - left, 3)


@settings(max_examples=100, deadline=None)
@given(*[st.integers(-20, 9)] * 2, *[st.integers(10, 40)] * 2)
def test_pixels_beyond_the_crop_repeat_its_border(left, top, right, bottom):
    image = crops(1, 24, 16)[0]
    got = cut_box(image, (left, top, right, bottom))
    rows = np.clip(np.arange(top, bottom), 0, 23)
    columns = np.clip(np.arange(left, right), 0, 15)
    np.testing.assert_array_equal(got, image[rows][:, columns])


def test_no_jitter_leaves_crops_alone():
    for before, after in zip(crops(), jitter_crops(crops(), STILL, seed=0)):
        np.testing.assert_array_equal(before, after)


def test_a_crop_depends_on_the_seed_and_its_number_only():
    whole = jitter_crops(crops(), Jitter(), seed=7)
    parts = jitter_crops(crops()[:2], Jitter(), 7) + jitter_crops(crops()[2:], Jitter(), 7, first=2)
    for a, b in zip(whole, parts):
        np.testing.assert_array_equal(a, b)
    other = jitter_crops(crops(), Jitter(), seed=8)
    assert any(a.shape != b.shape or (a != b).any() for a, b in zip(whole, other))


def test_truncation_happens_as_often_as_asked_mostly_at_the_bottom():
    jitter = Jitter(shift=0, scale=0, truncate_probability=0.4, truncate=0.5)
    rng = np.random.default_rng(0)
    boxes = np.array([jittered_box(10_000, 10_000, jitter, rng) for _ in range(3000)])
    cut = boxes != [0, 0, 10_000, 10_000]
    shares = cut.mean(axis=0)
    assert shares == pytest.approx([0.1, 0.0, 0.1, 0.2], abs=0.03)
    assert cut.sum(axis=1).max() == 1


@pytest.mark.parametrize(
    "bad", [{"shift": -0.1}, {"scale": 0.6}, {"truncate": 2}, {"truncate_probability": 1.5}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ReidEdgeError, match=next(iter(bad))):
        Jitter(**bad)
