"""What every augmentation promises: same size, new array, its randomness only from the generator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.augment.colour import ColourJitter
from training.augment.erase import Cutout, RandomErasing, RandomPatch
from training.augment.geometry import DetectorJitter, Flip, PadCrop
from training.augment.policy import AutoPolicy


def crop(height=64, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def other_crop(rng):
    return crop(64, 32, int(rng.integers(100)))


ALWAYS = [
    Flip(probability=1),
    PadCrop(probability=1),
    DetectorJitter(probability=1),
    RandomErasing(probability=1, fill="mean"),
    RandomErasing(probability=1, fill="noise"),
    RandomErasing(probability=1, fill="constant"),
    RandomPatch(other_crop, probability=1),
    Cutout(probability=1),
    ColourJitter(probability=1, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    AutoPolicy(probability=1),
]
named = pytest.mark.parametrize("step", ALWAYS, ids=lambda step: type(step).__name__)


@named
@settings(max_examples=40, deadline=None)
@given(st.integers(8, 70), st.integers(8, 70), st.integers(0, 2**32))
def test_a_step_gives_a_new_image_of_the_same_size(step, height, width, seed):
    image = crop(height, width)
    before = image.copy()
    changed = step.apply(image, np.random.default_rng(seed))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert changed.flags.c_contiguous and not np.shares_memory(changed, image)
    np.testing.assert_array_equal(image, before)


@named
def test_a_step_changes_images_and_depends_on_the_generator_only(step):
    image = crop()
    seeds = range(20)
    once, again = ([step.apply(image, np.random.default_rng(s)) for s in seeds] for _ in range(2))
    for a, b in zip(once, again):
        np.testing.assert_array_equal(a, b)
    assert any((a != image).any() for a in once)
    if not isinstance(step, Flip):  # which has only one outcome
        assert len({a.tobytes() for a in once}) > 5


@named
def test_a_view_with_reversed_channels_is_an_image_like_any_other(step):
    view = crop()[:, :, ::-1]  # what runtime.preprocess.resize_crop returns for RGB
    want = step.apply(np.ascontiguousarray(view), np.random.default_rng(3))
    np.testing.assert_array_equal(step.apply(view, np.random.default_rng(3)), want)


@named
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_probability_zero_changes_nothing(step, seed):
    image = crop()
    same = dataclasses.replace(step, probability=0).apply(image, np.random.default_rng(seed))
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)


@named
def test_the_probability_is_the_share_of_changed_images(step):
    image, rng = crop(), np.random.default_rng(5)

    def share(probability):
        changed = dataclasses.replace(step, probability=probability)
        return np.mean([(changed.apply(image, rng) != image).any() for _ in range(600)])

    # A step may by chance change nothing (a policy draws no operation), so compare with always.
    assert share(0.3) == pytest.approx(0.3 * share(1), abs=0.07)


@named
@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan"), "0.5", True, None])
def test_a_bad_probability_is_refused(step, probability):
    with pytest.raises(ReidEdgeError, match=f"{type(step).__name__} probability.* from 0 to 1"):
        dataclasses.replace(step, probability=probability)


@named
def test_steps_are_frozen(step):
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.probability = 0.1
