"""Pictures: scaling, encoding, and never more than two on the way."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from follow_robot.dashboard.hub import Published
from follow_robot.dashboard.stream import Flow, encode_jpeg, picture_of
from runtime.errors import ReidEdgeError


def decode(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((480, 640, 3), (480, 640, 3)),
        ((720, 1280, 3), (360, 640, 3)),
        ((1080, 1920, 3), (360, 640, 3)),
        ((240, 320, 3), (240, 320, 3)),
        ((2, 1281, 3), (1, 640, 3)),
        ((480, 640), (480, 640)),
    ],
)
def test_wide_frames_are_scaled_down_and_others_are_not(shape, expected):
    image = np.full(shape, 200, np.uint8)
    shown = decode(encode_jpeg(image, 640, 80))
    assert shown.shape == expected
    assert abs(float(shown.mean()) - 200) < 2


def test_colours_and_sides_stay_what_they_are():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50] = (0, 0, 255)  # red on the left, BGR
    shown = decode(encode_jpeg(image, 640, 90)).astype(int)
    assert shown[50, 20, 2] > 230 and shown[50, 20, 0] < 30
    assert shown[50, 80].max() < 30


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        "picture",
    ],
)
def test_what_is_no_picture_is_said_on_the_page_and_stops_nothing(image):
    with pytest.raises(ReidEdgeError, match="uint8 images"):
        encode_jpeg(image, 640, 80)
    picture = picture_of(Published(1, 0.0, image, {"fps": 3}), 640, 80)
    assert picture.jpeg == b"" and "uint8 images" in picture.problem
    assert json.loads(picture.status) == {"fps": 3}


def test_a_status_that_is_no_json_is_said_too():
    loop = {}
    loop["me"] = loop
    picture = picture_of(Published(1, 0.0, None, loop), 640, 80)
    assert picture.status == "{}" and "status" in picture.problem and picture.jpeg == b""


def test_a_page_that_does_not_answer_gets_no_more():
    flow = Flow(window=2)
    assert flow.wants(1)
    flow.sent(1)
    assert not flow.wants(1), "the same one again"
    flow.sent(2)
    assert not flow.wants(3) and not flow.ready
    flow.got()
    assert flow.wants(9), "the newest, not the next"


@given(st.lists(st.booleans(), max_size=60))
def test_never_more_than_the_window_is_under_way(steps):
    flow, seq, under_way = Flow(window=2), 0, 0
    for publish in steps:
        if publish:
            seq += 1
            if flow.wants(seq):
                flow.sent(seq)
                under_way += 1
        else:
            flow.got()
            under_way = max(0, under_way - 1)
        assert under_way <= 2 and flow.ready == (under_way < 2)
