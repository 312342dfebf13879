"""Policies: each operation at known magnitudes, the shipped table, and what is drawn from it."""

from __future__ import annotations

import re
from collections import Counter

import cv2
import numpy as np
import pytest

from runtime.errors import ReidEdgeError
from training.augment import operations
from training.augment.operations import OPERATIONS
from training.augment.policy import REID_POLICIES, AutoPolicy


def crop(height=64, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height=65, width=33):
    """An image without hard edges, for comparisons after interpolation."""
    return cv2.GaussianBlur(crop(height, width), (0, 0), 6)


NEUTRAL = {
    name: 8 if name == "posterize" else 256 if name == "solarize" else 0 for name in OPERATIONS
}


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("autocontrast", "equalize")])
def test_the_neutral_magnitude_changes_nothing(name):
    np.testing.assert_array_equal(OPERATIONS[name].apply(crop(), NEUTRAL[name]), crop())


@pytest.mark.parametrize("sign", [1, -1])
def test_translate_moves_whole_pixels_and_repeats_the_border(sign):
    image = crop(50, 20)
    columns = np.clip(np.arange(20) - sign * 3, 0, 19)
    np.testing.assert_array_equal(operations.translate_x(image, sign * 0.15), image[:, columns])
    rows = np.clip(np.arange(50) - sign * 5, 0, 49)
    np.testing.assert_array_equal(operations.translate_y(image, sign * 0.1), image[rows])


def moved(image, source_x, source_y):
    """``image`` sampled at source positions, bilinear, border repeated; in NumPy."""
    height, width = image.shape[:2]
    x, y = np.clip(source_x, 0, width - 1), np.clip(source_y, 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    return top * (1 - fy) + (image[y1, x0] * (1 - fx) + image[y1, x1] * fx) * fy


@pytest.mark.parametrize("magnitude", [0.2, -0.1])
def test_shear_and_rotate_move_pixels_about_the_centre(magnitude):
    image = smooth()
    y, x = np.mgrid[:65, :33].astype(float)
    dx, dy = x - 16, y - 32
    angle = np.radians(magnitude * 100)
    turned = (
        16 + np.cos(angle) * dx - np.sin(angle) * dy,
        32 + np.sin(angle) * dx + np.cos(angle) * dy,
    )
    for got, source in (
        (operations.shear_x(image, magnitude), (x - magnitude * dy, y)),
        (operations.shear_y(image, magnitude), (x, y - magnitude * dx)),
        (operations.rotate(image, magnitude * 100), turned),
    ):
        np.testing.assert_array_equal(got[32, 16], image[32, 16])
        assert np.abs(got - moved(image, *source)).max() <= 2


def test_rotate_is_anticlockwise_for_the_viewer():
    image = np.zeros((33, 33, 3), np.uint8)
    image[16, 24:] = 255  # an arm to the right
    up = operations.rotate(image, 45)
    assert up[8, 24].max() > 50 and up[24, 24].max() == 0


def test_autocontrast_stretches_each_channel_to_the_full_range():
    image = (crop() // 4 + np.array([20, 80, 150])).astype(np.uint8)  # channels 64 wide
    got = operations.autocontrast(image)
    low, high = image.min((0, 1)).astype(float), image.max((0, 1)).astype(float)
    np.testing.assert_array_equal(got.min((0, 1)), [0, 0, 0])
    np.testing.assert_array_equal(got.max((0, 1)), [255, 255, 255])
    assert np.abs(got - (image - low) * 255 / (high - low)).max() <= 1


def test_autocontrast_leaves_a_flat_channel_alone():
    image = crop()
    image[..., 1] = 90
    assert (operations.autocontrast(image)[..., 1] == 90).all()


def test_equalize_makes_values_equally_frequent():
    image = (crop(128, 64) ** 0.5 * 4).astype(np.uint8)
    got = operations.equalize(image)
    for channel in range(3):
        values = np.sort(got[..., channel].ravel())
        even = np.linspace(0, 255, values.size)
        assert np.abs(values - even).mean() < 8
        # Order is kept: darker pixels stay darker or equal.
        order = np.argsort(image[..., channel], axis=None, kind="stable")
        assert (np.diff(got[..., channel].ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_keeps_the_highest_bits(bits):
    got = operations.posterize(crop(), bits)
    np.testing.assert_array_equal(got, crop() // 2 ** (8 - bits) * 2 ** (8 - bits))


@pytest.mark.parametrize("threshold", [0, 100, 200.4, 256])
def test_solarize_inverts_values_from_the_threshold_on(threshold):
    image = crop()
    want = np.where(image >= round(threshold), 255 - image, image)
    np.testing.assert_array_equal(operations.solarize(image, threshold), want)


@pytest.mark.parametrize("magnitude", [-1, -0.4, 0.9])
def test_sharpness_scales_the_distance_from_the_blurred_image(magnitude):
    image = crop()
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    blurred = cv2.filter2D(image.astype(float), -1, kernel)
    want = np.clip(blurred + (1 + magnitude) * (image - blurred), 0, 255)
    assert np.abs(operations.sharpness(image, magnitude) - want).max() <= 1


def test_brightness_contrast_and_colour_scale_by_one_plus_the_magnitude():
    image = crop() // 4 + 90  # far from both ends
    luma = image @ np.array([0.299, 0.587, 0.114])
    for sign in (0.3, -0.3):
        bright = operations.brightness(image, sign)
        assert np.abs(bright - image * (1 + sign)).max() <= 1
        contrast = operations.contrast(image, sign) - luma.mean()
        assert np.abs(contrast - (image - luma.mean()) * (1 + sign)).max() <= 2
        colour = operations.colour(image, sign) - luma[..., None]
        assert np.abs(colour - (image - luma[..., None]) * (1 + sign)).max() <= 2


def test_the_documented_limits_are_the_tables():
    rows = re.findall(
        r"^\| ``(\w+)`` \|.*\| ([\d.]+)(?: to ([\d.]+))? \| (yes|no) \|$", operations.__doc__, re.M
    )
    documented = {n: (float(low), float(high or low), s == "yes") for n, low, high, s in rows}
    assert documented == {n: (o.lowest, o.highest, o.signed) for n, o in OPERATIONS.items()}


def test_the_shipped_policy_uses_every_operation_and_is_mild():
    changes = [change for policy in REID_POLICIES for change in policy]
    assert {name for name, _, _ in changes} == set(OPERATIONS)
    assert all(len(policy) == 2 for policy in REID_POLICIES)
    limits = {
        "rotate": 15,
        "shear_x": 0.15,
        "shear_y": 0.15,
        "translate_x": 0.15,
        "translate_y": 0.15,
    }
    for name, _, (_, high) in changes:
        assert high <= limits.get(name, OPERATIONS[name].highest)
    assert min(low for name, _, (low, _) in changes if name == "solarize") >= 192
    assert min(low for name, _, (low, _) in changes if name == "posterize") >= 4


def test_operations_are_drawn_with_their_probability_magnitude_and_sign(monkeypatch):
    seen = []

    def recording(name):
        def apply(image, magnitude):
            seen.append((name, magnitude))
            return image.copy()

        return apply

    for name, operation in OPERATIONS.items():
        monkeypatch.setitem(OPERATIONS, name, operation._replace(apply=recording(name)))
    step = AutoPolicy(
        1.0,
        (
            (("rotate", 0.5, (2, 10)), ("posterize", 0.25, (4, 7))),
            (("solarize", 1.0, (200, 240)),),
        ),
    )
    rng = np.random.default_rng(0)
    for _ in range(4000):
        step.apply(crop(8, 8), rng)
    counts = Counter(name for name, _ in seen)
    shares = [counts[name] / 4000 for name in ("rotate", "posterize", "solarize")]
    assert shares == pytest.approx([0.25, 0.125, 0.5], abs=0.03)
    magnitudes = {n: np.array([m for name, m in seen if name == n]) for n in counts}
    assert np.mean(magnitudes["rotate"] > 0) == pytest.approx(0.5, abs=0.06)
    for name, low, high in (("rotate", 2, 10), ("posterize", 4, 7), ("solarize", 200, 240)):
        sizes = np.abs(magnitudes[name])
        assert low <= sizes.min() and sizes.max() <= high
        assert np.median(sizes) == pytest.approx((low + high) / 2, rel=0.08)
    assert (magnitudes["posterize"] > 0).all() and (magnitudes["solarize"] > 0).all()


@pytest.mark.parametrize(
    "policies, words",
    [
        ((), "list of lists"),
        (((),), "list of lists"),
        ("rotate", "list of lists"),
        (((("rotate", 0.5),),), "name, probability"),
        (((("spin", 0.5, (0, 1)),),), "operation must be one of shear_x.*'spin'"),
        (((("rotate", 1.5, (0, 1)),),), "probability of rotate"),
        (((("rotate", 0.5, (0, 46)),),), "magnitude of rotate.*0 to 45"),
        (((("rotate", 0.5, (5, 1)),),), "magnitude of rotate"),
        (((("rotate", 0.5, 5),),), "magnitude of rotate"),
        (((("equalize", 0.5, (0, 1)),),), "magnitude of equalize"),
        (((("posterize", 0.5, (0, 4)),),), "magnitude of posterize.*1 to 8"),
    ],
)
def test_bad_policies_are_refused_by_name(policies, words):
    with pytest.raises(ReidEdgeError, match=f"AutoPolicy.*{words}"):
        AutoPolicy(policies=policies)
