"""Colour changes against their formulas in float."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.augment.colour import ColourJitter, adjust, turn_hue

LUMA = np.array([0.299, 0.587, 0.114])
FACTORS = st.floats(0, 2)


def crop(height=24, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=100, deadline=None)
@given(FACTORS, FACTORS, FACTORS, st.integers(0, 2**16))
def test_adjust_is_brightness_then_contrast_then_saturation(bright, contrast, saturation, seed):
    image = crop(seed=seed)
    want = image * bright
    want = contrast * want + (1 - contrast) * (want @ LUMA).mean()
    want = saturation * want + (1 - saturation) * (want @ LUMA)[..., None]
    got = adjust(image, bright, contrast, saturation)
    # 1 for OpenCV's rounding, the rest for the luma, which OpenCV rounds per pixel.
    assert np.abs(got - np.clip(want, 0, 255)).max() <= 2


def test_factors_of_one_change_nothing_and_zero_is_black_grey_and_colourless():
    image = crop()
    np.testing.assert_array_equal(adjust(image), image)
    assert not adjust(image, brightness=0).any()
    flat = adjust(image, contrast=0)
    assert np.ptp(flat) == 0 and flat[0, 0, 0] == pytest.approx((image @ LUMA).mean(), abs=1)
    grey = adjust(image, saturation=0)
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(grey[..., 0], image @ LUMA, atol=1)


@pytest.mark.parametrize("turn", [-0.5, -0.2, -0.01, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_turns_by_a_share_of_the_circle(turn):
    image = crop()
    got = turn_hue(image, turn)
    for pixel, turned in zip(image.reshape(-1, 3)[:200], got.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        want = np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)) * 255
        # Hue is rounded to 1/256 twice: 6 of the 255 values of a sextant, and the rest rounds.
        assert np.abs(turned - want).max() <= 7
        assert turned.max() == pytest.approx(pixel.max(), abs=1)


def test_a_third_of_a_turn_makes_red_green():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    assert np.abs(turn_hue(red, 1 / 3)[0, 0].astype(int) - (0, 200, 0)).max() <= 3


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**32))
def test_brightness_stays_within_its_limit(limit, seed):
    image = np.full((8, 8, 3), 100, np.uint8)
    step = ColourJitter(probability=1, brightness=limit, contrast=0, saturation=0, hue=0)
    got = step.apply(image, np.random.default_rng(seed)).astype(int)
    assert np.ptp(got) == 0
    assert 100 * (1 - limit) - 1 <= got[0, 0, 0] <= 100 * (1 + limit) + 1


def test_factors_are_uniform_within_the_limits():
    image = np.full((8, 8, 3), 100, np.uint8)
    step = ColourJitter(probability=1, brightness=0.5, contrast=0)
    rng = np.random.default_rng(0)
    values = [step.apply(image, rng)[0, 0, 0] for _ in range(2000)]
    assert np.quantile(values, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx(
        [50, 75, 100, 125, 150], abs=3
    )


def test_all_limits_zero_change_nothing():
    step = ColourJitter(probability=1, brightness=0, contrast=0, saturation=0, hue=0)
    np.testing.assert_array_equal(step.apply(crop(), np.random.default_rng(0)), crop())


@pytest.mark.parametrize(
    "bad", [{"brightness": -0.1}, {"contrast": 1.1}, {"saturation": "0.1"}, {"hue": 0.6}]
)
def test_bad_settings_are_refused_by_name(bad):
    with pytest.raises(ReidEdgeError, match=f"ColourJitter {next(iter(bad))} "):
        ColourJitter(**bad)
