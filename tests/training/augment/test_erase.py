"""Erased and pasted rectangles: place, area, aspect and pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from training.augment.erase import Cutout, RandomErasing, RandomPatch
from training.augment.parameters import MEAN_COLOUR
from training.augment.rectangle import random_rectangle


def box_of(mask):
    """Smallest (left, top, right, bottom) around the true pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def inside(shape, box):
    mask = np.zeros(shape, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


SHARES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda pair: tuple(sorted(pair)))


@settings(max_examples=300, deadline=None)
@given(st.integers(8, 400), st.integers(8, 400), SHARES, st.integers(0, 2**32))
def test_rectangles_lie_inside_and_have_the_area(height, width, area, seed):
    rng = np.random.default_rng(seed)
    left, top, right, bottom = random_rectangle(height, width, area, (0.3, 1 / 0.3), rng)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    tall, wide = bottom - top, right - left
    # Each side is rounded to whole pixels, and is at least one.
    assert (tall - 0.5) * (wide - 0.5) <= area[1] * height * width * (1 + 1e-9) or 1 in (tall, wide)
    assert (tall + 0.5) * (wide + 0.5) >= area[0] * height * width * (1 - 1e-9)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.1, 10), st.integers(0, 2**32))
def test_rectangles_have_the_aspect_if_it_fits(aspect, seed):
    rng = np.random.default_rng(seed)
    left, top, right, bottom = random_rectangle(1000, 1000, (0.05, 0.05), (aspect, aspect), rng)
    assert (bottom - top) / (right - left) == pytest.approx(aspect, rel=0.02)


def test_an_aspect_that_cannot_fit_becomes_the_nearest_that_does():
    # Half of a 100 x 50 image as a square has sides of 50: just fits. Flatter ones do not.
    rng = np.random.default_rng(0)
    left, top, right, bottom = random_rectangle(100, 50, (0.5, 0.5), (0.1, 0.2), rng)
    assert (right - left, bottom - top) == (50, 50)


def test_area_and_place_are_uniform():
    rng = np.random.default_rng(0)
    boxes = np.array(
        [random_rectangle(256, 128, (0.02, 0.4), (0.3, 3.3), rng) for _ in range(4000)]
    )
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top) / (256 * 128)
    quartiles = np.quantile(areas, [0.25, 0.5, 0.75])
    assert quartiles == pytest.approx([0.115, 0.21, 0.305], abs=0.01)
    for low, high, size in ((left, right, 128), (top, bottom, 256)):
        room = size - (high - low)
        places = (low / np.maximum(room, 1))[room > 20]
        assert np.quantile(places, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)


@pytest.mark.parametrize("fill", ["mean", "constant"])
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_erasing_fills_one_rectangle_with_the_colour(fill, seed):
    image = np.full((128, 64, 3), 1, np.uint8)
    step = RandomErasing(probability=1, fill=fill, mean=(10, 20, 30), constant=(40, 50, 60))
    erased = step.apply(image, np.random.default_rng(seed))
    mask = (erased != 1).all(axis=2)
    box = box_of(mask)
    np.testing.assert_array_equal(mask, inside(mask.shape, box))
    assert (erased[mask] == ((10, 20, 30) if fill == "mean" else (40, 50, 60))).all()
    assert (erased[~mask] == 1).all()
    assert 0.015 <= mask.mean() <= 0.42


def test_noise_is_uniform_over_the_values_and_only_inside():
    image = np.full((256, 128, 3), 77, np.uint8)
    step = RandomErasing(probability=1, area=(0.3, 0.3), fill="noise")
    erased = step.apply(image, np.random.default_rng(0))
    box = box_of((erased != 77).any(axis=2))
    noise = erased[inside((256, 128), box)]
    assert len(noise) == pytest.approx(0.3 * 256 * 128, rel=0.02)
    expected = noise.size / 256
    chi_square = ((np.bincount(noise.ravel(), minlength=256) - expected) ** 2 / expected).sum()
    assert chi_square < 255 + 5 * np.sqrt(2 * 255)
    assert len(np.unique(noise, axis=0)) > 0.9 * len(noise)  # channels differ


@pytest.mark.parametrize("fill, colour", [("mean", MEAN_COLOUR), ("zero", (0, 0, 0))])
def test_cutout_is_a_square_around_any_pixel(fill, colour):
    image = np.full((64, 32, 3), 200, np.uint8)
    step = Cutout(probability=1, side=0.25, fill=fill)  # 8 pixels
    covered, full = np.zeros((64, 32), int), 0
    for seed in range(400):
        cut = step.apply(image, np.random.default_rng(seed))
        mask = (cut != 200).all(axis=2)
        left, top, right, bottom = box_of(mask)
        np.testing.assert_array_equal(mask, inside(mask.shape, (left, top, right, bottom)))
        assert (cut[mask] == colour).all()
        assert 4 <= right - left <= 8 and 4 <= bottom - top <= 8
        assert right - left == 8 or left == 0 or right == 32
        assert bottom - top == 8 or top == 0 or bottom == 64
        covered += mask
        full += mask.sum() == 64
    assert covered.min() > 0  # corners too
    assert full / 400 == pytest.approx((25 / 32) * (57 / 64), abs=0.07)


def from_one(other):
    return lambda rng: other


def test_a_patch_is_an_exact_piece_of_the_other_crop():
    # Each pixel of the other crop says where it is; red marks it as pasted.
    other = np.zeros((64, 32, 3), np.uint8)
    other[..., 0] = 255
    other[..., 1], other[..., 2] = np.mgrid[:64, :32]
    image = np.zeros((64, 32, 3), np.uint8)
    flips = 0
    for seed in range(200):
        step = RandomPatch(from_one(other), probability=1, rotate_probability=0)
        pasted = step.apply(image, np.random.default_rng(seed))
        mask = pasted[..., 0] == 255
        left, top, right, bottom = box_of(mask)
        np.testing.assert_array_equal(mask, inside(mask.shape, (left, top, right, bottom)))
        assert 0.008 <= mask.mean() <= 0.52
        patch = pasted[top:bottom, left:right].astype(int)
        flipped = patch.shape[1] > 1 and patch[0, 0, 2] > patch[0, -1, 2]
        flips += flipped
        patch = patch[:, ::-1] if flipped else patch
        y, x = patch[0, 0, 1:]
        np.testing.assert_array_equal(patch, other[y : y + len(patch), x : x + patch.shape[1]])
        assert (pasted[~mask] == 0).all()
    assert 70 < flips < 130


def test_a_rotated_patch_holds_the_other_crops_pixels_and_no_black_corners():
    other = np.random.default_rng(0).integers(200, 256, (64, 32, 3), np.uint8)
    image = np.zeros((64, 32, 3), np.uint8)
    step = RandomPatch(from_one(other), probability=1, rotate_probability=1, rotate_deg=45)
    for seed in range(100):
        pasted = step.apply(image, np.random.default_rng(seed))
        mask = (pasted >= 200).all(axis=2)
        np.testing.assert_array_equal(mask, inside(mask.shape, box_of(mask)))
        assert (pasted[~mask] == 0).all()


def test_a_patch_is_turned_about_its_centre_by_at_most_the_angle():
    # A vertical edge in the other crop leans by the angle after the cut.
    other = np.zeros((200, 100, 3), np.uint8)
    other[:, 50:] = 255
    step = RandomPatch(
        from_one(other), 1, (1, 1), rotate_probability=1, rotate_deg=20, flip_probability=0
    )
    slopes = []
    for seed in range(100):
        edge = (step.apply(other, np.random.default_rng(seed))[..., 0] < 128).sum(axis=1)
        assert edge[99:101].mean() == pytest.approx(50, abs=1)
        slopes.append((edge[120] - edge[80]) / 40)
    angles = np.degrees(np.arctan(slopes))
    assert 17 < angles.max() < 21.5 and -21.5 < angles.min() < -17


def test_a_turned_patch_is_cut_around_a_place_inside_the_other_crop():
    # Slopes along both axes survive interpolation: a pixel's value is where it came from.
    other = np.zeros((240, 120, 3), np.uint8)
    other[..., 0] = 255
    other[..., 1], other[..., 2] = np.mgrid[:240, :120]
    image, step = (
        np.zeros_like(other),
        RandomPatch(
            from_one(other), 1, (0.1, 0.2), (1, 3), rotate_probability=1, flip_probability=0
        ),
    )
    centres = []
    for seed in range(200):
        pasted = step.apply(image, np.random.default_rng(seed))
        left, top, right, bottom = box_of(pasted[..., 0] == 255)
        patch = pasted[top:bottom, left:right, 1:].astype(float)
        tall, wide = patch.shape[:2]
        # The mean of the four middle pixels, whatever the parity of the sides.
        rows, columns = ((tall - 1) // 2, tall // 2), ((wide - 1) // 2, wide // 2)
        y, x = patch[np.ix_(rows, columns)].mean(axis=(0, 1))
        assert (tall - 1) / 2 - 1 <= y <= 240 - (tall + 1) / 2 + 1
        assert (wide - 1) / 2 - 1 <= x <= 120 - (wide + 1) / 2 + 1
        # Beside the centre the source moves by one pixel per pixel, along the turned axes.
        step_down = patch[rows[1] + 10, columns[1]] - patch[rows[1] - 10, columns[1]]
        assert np.hypot(*step_down) == pytest.approx(20, abs=1.5)
        centres.append((y, x))
    assert (np.ptp(centres, axis=0) > (80, 40)).all()


def test_the_source_draws_from_the_images_generator_and_only_when_needed():
    calls = []

    def source(rng):
        calls.append(int(rng.integers(1_000_000)))
        return np.full((20, 10, 3), 9, np.uint8)  # another size: stretched

    image = np.zeros((64, 32, 3), np.uint8)
    for _ in range(2):
        for seed in range(50):
            pasted = RandomPatch(source, 0.5).apply(image, np.random.default_rng(seed))
            assert set(np.unique(pasted)) <= {0, 9}
    assert calls[: len(calls) // 2] == calls[len(calls) // 2 :]
    assert 30 < len(calls) < 70 and len(set(calls)) > 10


@pytest.mark.parametrize(
    "step, bad",
    [
        (RandomErasing, {"area": (0.4, 0.02)}),
        (RandomErasing, {"area": (0, 0.4)}),
        (RandomErasing, {"area": (0.02, 1.2)}),
        (RandomErasing, {"area": 0.2}),
        (RandomErasing, {"area": (0.1, 0.2, 0.3)}),
        (RandomErasing, {"area": (0.1, "0.2")}),
        (RandomErasing, {"aspect": (0, 2)}),
        (RandomErasing, {"fill": "zero"}),
        (RandomErasing, {"mean": (1, 2)}),
        (RandomErasing, {"constant": (True, 0, 0)}),
        (Cutout, {"side": 0}),
        (Cutout, {"fill": "noise"}),
        (Cutout, {"mean": [1, 2, 3]}),
        (RandomPatch, {"source": None}),
        (RandomPatch, {"source": from_one(None), "rotate_deg": 200}),
        (RandomPatch, {"source": from_one(None), "flip_probability": -1}),
        (RandomPatch, {"source": from_one(None), "rotate_probability": 1.5}),
        (RandomPatch, {"source": from_one(None), "area": (0.5, 0.1)}),
        (RandomPatch, {"source": from_one(None), "aspect": (0.1, 100)}),
    ],
)
def test_bad_settings_are_refused_by_name(step, bad):
    with pytest.raises(ReidEdgeError, match=f"{step.__name__} {list(bad)[-1]} "):
        step(**bad)
