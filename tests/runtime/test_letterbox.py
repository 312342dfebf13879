"""The letterbox, against the formulas of the code bases whose networks need it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ReidEdgeError
from runtime.letterbox import FITS, ROUNDINGS, Letterbox

FRAMES = [(480, 640), (720, 1280), (1080, 1920), (432, 768), (640, 480), (600, 800), (99, 333)]
NETWORKS = [(640, 640), (416, 416), (320, 320), (384, 640), (352, 352)]
sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))


def noise(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("frame", FRAMES)
def test_centred_is_where_yolov5_puts_it(frame, network):
    ratio = min(network[0] / frame[0], network[1] / frame[1])
    height, width = round(frame[0] * ratio), round(frame[1] * ratio)
    top = round((network[0] - height) / 2 - 0.1)
    left = round((network[1] - width) / 2 - 0.1)
    box = Letterbox.fit(frame, network, "centred", "nearest")
    assert (box.resized, box.top, box.left) == ((height, width), top, left)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("frame", FRAMES)
def test_top_left_is_where_yolox_puts_it(frame, network):
    ratio = min(network[0] / frame[0], network[1] / frame[1])
    # YOLOX truncates a float product; 1e-9 undoes its errors, such as 233.99999999999997.
    height, width = int(frame[0] * ratio + 1e-9), int(frame[1] * ratio + 1e-9)
    box = Letterbox.fit(frame, network, "top_left", "down")
    assert (box.resized, box.top, box.left) == ((height, width), 0, 0)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.sampled_from(FITS), st.sampled_from(ROUNDINGS))
def test_the_frame_lies_inside_and_fills_one_side(frame, network, fit, rounding):
    box = Letterbox.fit(frame, network, fit, rounding)
    right = network[1] - box.left - box.resized[1]
    below = network[0] - box.top - box.resized[0]
    assert min(box.left, box.top, right, below) >= 0 and min(box.resized) >= 1
    assert box.resized[0] == network[0] or box.resized[1] == network[1]
    if fit == "stretch":
        assert box.resized == network
    if fit == "top_left":
        assert box.left == box.top == 0
    if fit == "centred":
        assert 0 <= right - box.left <= 1 and 0 <= below - box.top <= 1


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.sampled_from(FITS), st.integers(0, 2**31))
def test_boxes_come_back_where_they_were(frame, network, fit, seed):
    box = Letterbox.fit(frame, network, fit)
    boxes = np.random.RandomState(seed).uniform(-50, 950, (5, 4)).astype(np.float32)
    # One unit in the last place of a network coordinate is 6e-5, seen through the reduction.
    factor = max(frame[0] / box.resized[0], frame[1] / box.resized[1])
    np.testing.assert_allclose(
        box.to_frame(box.to_network(boxes)), boxes, rtol=1e-5, atol=4e-4 * max(factor, 1)
    )


@pytest.mark.parametrize("fit", FITS)
def test_the_frames_corners_are_the_corners_of_what_is_drawn(fit):
    box = Letterbox.fit((431, 767), (416, 416), fit)
    whole = np.float32([[0, 0, 767, 431]])
    height, width = box.resized
    drawn = [[box.left, box.top, box.left + width, box.top + height]]
    np.testing.assert_allclose(box.to_network(whole), drawn, rtol=1e-6)
    np.testing.assert_allclose(box.to_frame(drawn), whole, rtol=1e-6)


@pytest.mark.parametrize("frame", FRAMES)
def test_pixels_are_those_of_resize_and_border(frame):
    image = noise(*frame)
    box = Letterbox.fit(frame, (416, 416))
    height, width = box.resized
    inside = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    below, right = 416 - box.top - height, 416 - box.left - width
    expected = cv2.copyMakeBorder(
        inside, box.top, below, box.left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    np.testing.assert_array_equal(box.apply(image), expected)


def test_a_frame_of_the_networks_size_is_not_touched():
    image = noise(64, 96)
    np.testing.assert_array_equal(Letterbox.fit((64, 96), (64, 96)).apply(image), image)


@pytest.mark.parametrize("frame", [(64, 96), (50, 120), (100, 30)])
def test_a_canvas_is_drawn_over_in_place(frame):
    box = Letterbox.fit(frame, (64, 96))
    first = box.apply(noise(*frame, seed=1), pad_value=7)
    fresh = box.apply(noise(*frame, seed=2), pad_value=7)
    again = box.apply(noise(*frame, seed=2), pad_value=7, canvas=first)
    assert again is first
    np.testing.assert_array_equal(again, fresh)


def test_something_drawn_is_found_where_boxes_say():
    image = np.zeros((480, 640, 3), np.uint8)
    image[120:240, 160:200] = 255
    box = Letterbox.fit((480, 640), (320, 320))  # halves: every edge falls between two pixels
    canvas = box.apply(image, pad_value=0)
    rows, columns = np.nonzero(canvas[..., 0])
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert box.to_network([[160, 120, 200, 240]]).tolist() == [seen]


def test_a_non_contiguous_frame_is_drawn_like_its_copy():
    wide = noise(100, 200)[:, 20:120]
    box = Letterbox.fit((100, 100), (64, 64))
    np.testing.assert_array_equal(box.apply(wide), box.apply(wide.copy()))


def test_mistakes_are_named():
    with pytest.raises(ReidEdgeError, match="at least one pixel"):
        Letterbox.fit((0, 10), (64, 64))
    with pytest.raises(ReidEdgeError, match="stretch, top_left, centred"):
        Letterbox.fit((10, 10), (64, 64), "middle")
    with pytest.raises(ReidEdgeError, match="nearest, down"):
        Letterbox.fit((10, 10), (64, 64), "centred", "up")
    with pytest.raises(ReidEdgeError, match=r"frames of \(10, 10\), got \(20, 10\)"):
        Letterbox.fit((10, 10), (64, 64)).apply(noise(20, 10))
