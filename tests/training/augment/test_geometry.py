"""Flip, shift and detector boxes against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.augment.geometry import DetectorJitter, Flip, PadCrop
from training.augment.parameters import MEAN_COLOUR


def crop(height=64, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_flip_mirrors_columns_exactly_and_twice_is_nothing():
    image, flip, rng = crop(11, 7), Flip(probability=1), np.random.default_rng(0)
    mirrored = flip.apply(image, rng)
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    np.testing.assert_array_equal(flip.apply(mirrored, rng), image)


def test_flip_decides_as_it_applies():
    image, flip = crop(), Flip(probability=0.5)
    for seed in range(20):
        decided = flip.decide(np.random.default_rng(seed))
        applied = flip.apply(image, np.random.default_rng(seed))
        np.testing.assert_array_equal(applied, image[:, ::-1] if decided else image)


def shifts_of(image, changed, reach, colour):
    """All (down, right) for which ``changed`` is the padded image cut at that place."""
    padded = np.empty((image.shape[0] + 2 * reach, image.shape[1] + 2 * reach, 3), np.uint8)
    padded[:] = colour
    padded[reach : reach + image.shape[0], reach : reach + image.shape[1]] = image
    return [
        (reach - y, reach - x)
        for y in range(2 * reach + 1)
        for x in range(2 * reach + 1)
        if (padded[y : y + image.shape[0], x : x + image.shape[1]] == changed).all()
    ]


@pytest.mark.parametrize("height, width, reach", [(256, 128, 10), (128, 64, 5), (384, 128, 15)])
def test_padding_is_scaled_by_the_height(height, width, reach):
    image, rng = crop(height, width), np.random.default_rng(0)
    image[image == 0] = 1  # so that black marks padding
    shifts = []
    for _ in range(300):
        black = (PadCrop().apply(image, rng) == 0).all(axis=2)
        shifts.append((black.all(axis=1).sum(), black.all(axis=0).sum()))
    assert np.max(shifts, axis=0).tolist() == [reach, reach]


@pytest.mark.parametrize("fill, colour", [("zero", (0, 0, 0)), ("mean", MEAN_COLOUR)])
def test_a_shift_is_padding_cut_at_a_random_place(fill, colour):
    image, rng = crop(32, 16), np.random.default_rng(1)
    step = PadCrop(pixels=24, fill=fill)  # 24 * 32 / 256 = 3
    found = [shifts_of(image, step.apply(image, rng), 3, colour) for _ in range(600)]
    assert all(len(shifts) == 1 for shifts in found)
    counts = {}
    for (shift,) in found:
        counts[shift] = counts.get(shift, 0) + 1
    assert len(counts) == 49  # every place, each about 12 times
    assert max(counts.values()) < 30


def test_padding_never_exceeds_half_of_the_width():
    image = np.ones((256, 16, 3), np.uint8)
    for seed in range(50):
        changed = PadCrop(pixels=64).apply(image, np.random.default_rng(seed))
        assert changed[:, 4:12].any()


def test_the_mean_colour_is_imagenets():
    assert MEAN_COLOUR == (124, 116, 104)


@settings(max_examples=200, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 2**32))
def test_a_detectors_box_always_overlaps_the_crop_at_the_limits(height, width, seed):
    extreme = DetectorJitter(
        probability=1, shift=0.35, scale=0.5, truncate_probability=1, truncate=0.5
    )
    image = crop(height, width)
    assert extreme.apply(image, np.random.default_rng(seed)).shape == image.shape


def test_detector_jitter_shows_the_crop_at_another_scale():
    # A horizontal ramp from 0 to 252: the span seen is the width of the box.
    image = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 128, axis=0).repeat(3, 2)
    step = DetectorJitter(probability=1, shift=0, scale=0.3, truncate_probability=0)
    spans = []
    for seed in range(60):
        row = step.apply(image, np.random.default_rng(seed))[64, :, 0].astype(int)
        assert (np.diff(row) >= 0).all()
        spans.append((row[-1] - row[0]) / 252)
    assert min(spans) == pytest.approx(0.7, abs=0.06) and max(spans) == pytest.approx(1, abs=0.02)


def test_no_jitter_leaves_the_crop_alone():
    step = DetectorJitter(probability=1, shift=0, scale=0, truncate_probability=0)
    np.testing.assert_array_equal(step.apply(crop(), np.random.default_rng(0)), crop())


@pytest.mark.parametrize(
    "step, bad",
    [
        (PadCrop, {"pixels": -1}),
        (PadCrop, {"pixels": 65}),
        (PadCrop, {"fill": "noise"}),
        (PadCrop, {"mean": (0, 0, 256)}),
        (PadCrop, {"mean": (0.5, 0.5, 0.5)}),
        (DetectorJitter, {"shift": 0.4}),
        (DetectorJitter, {"scale": 0.6}),
        (DetectorJitter, {"truncate": -0.1}),
        (DetectorJitter, {"truncate_probability": 2}),
    ],
)
def test_bad_settings_are_refused_by_name(step, bad):
    with pytest.raises(ReidEdgeError, match=f"{step.__name__} {next(iter(bad))} "):
        step(**bad)
