"""The detector around a network: what the network sees and what comes out."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.detectors import DetectorSettings, NetworkDetector
from runtime.detectors.kinds import KINDS
from runtime.errors import ReidEdgeError
from runtime.nv12 import bgr_to_nv12
from tests.runtime.detectors.fake_runner import FakeRunner

SIZE = (128, 192)


def frame_of(height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def placed(image, kind, size):
    """Canvas, scale (x, y) and offset (x, y) by the formulas of the code bases, written out."""
    (height, width), (h, w) = size, image.shape[:2]
    if kind == "fastestdet":
        canvas = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        return canvas, (width / w, height / h), (0, 0)
    ratio = min(height / h, width / w)
    new_w, new_h = round(w * ratio), round(h * ratio)
    x, y = (width - new_w) // 2, (height - new_h) // 2
    if kind.startswith("yolox"):
        new_w, new_h, x, y = int(w * ratio + 1e-9), int(h * ratio + 1e-9), 0, 0
    canvas = np.full((height, width, 3), 0 if kind.startswith("nanodet") else 114, np.uint8)
    canvas[y : y + new_h, x : x + new_w] = cv2.resize(image, (new_w, new_h))
    return canvas, (new_w / w, new_h / h), (x, y)


def scaled(canvas, kind):
    """The canvas as numbers, by each code base's own normalisation."""
    if kind in ("yolov5", "yolov8"):
        values = canvas[..., ::-1] / 255.0
    elif kind == "fastestdet":
        values = canvas / 255.0
    elif kind.startswith("nanodet"):
        values = (canvas - np.array([103.53, 116.28, 123.675])) / [57.375, 57.12, 58.395]
    else:
        values = canvas.astype(float)
    return values.transpose(2, 0, 1)[None]


@pytest.mark.parametrize("shape", [(240, 320), (77, 300), (300, 77), SIZE])
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_sees_what_it_was_trained_on(kind, shape):
    runner = FakeRunner(kind, SIZE)
    detector = NetworkDetector(runner)
    assert detector.kind.name == kind
    image = frame_of(*shape)
    detector.detect(image)
    assert runner.given.dtype == np.float32 and runner.given.shape == (1, 3, *SIZE)
    expected = scaled(placed(image, kind, SIZE)[0], kind)
    np.testing.assert_allclose(runner.given, expected, atol=2e-6 * 255)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.tuples(st.integers(100, 900), st.integers(100, 900)),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
)
def test_a_person_is_found_at_its_place_in_the_frame(kind, shape, x, y):
    in_network = np.array([x * 192 - 50, y * 128 - 45, x * 192 + 50, y * 128 + 45])
    detector = NetworkDetector(FakeRunner(kind, SIZE, [in_network], [0.7]))
    found = detector.detect(np.zeros((*shape, 3), np.uint8))
    _, scale, offset = placed(np.zeros((*shape, 3), np.uint8), kind, SIZE)
    in_frame = (in_network - np.tile(offset, 2)) / np.tile(scale, 2)
    np.testing.assert_allclose(found.boxes, [in_frame], atol=2e-3 / min(scale))
    np.testing.assert_allclose(found.scores, [0.7], atol=1e-5)


def test_frames_may_change_size_and_leave_nothing_behind():
    runner = FakeRunner("yolov8", SIZE, [[40, 20, 140, 110]], [0.9])
    detector = NetworkDetector(runner)
    for shape in ((480, 640), (200, 100), (480, 640), (64, 64)):
        image = frame_of(*shape)
        found = detector.detect(image)
        canvas, scale, offset = placed(image, "yolov8", SIZE)
        np.testing.assert_allclose(runner.given, scaled(canvas, "yolov8"), atol=1e-6)
        box = (np.array([40, 20, 140, 110]) - np.tile(offset, 2)) / np.tile(scale, 2)
        np.testing.assert_allclose(found.boxes, [box], rtol=1e-5)


def test_weak_small_and_double_boxes_go_and_the_best_comes_first():
    boxes = [[10, 10, 60, 110], [12, 10, 62, 110], [100, 10, 150, 110], [160, 10, 190, 20]]
    runner = FakeRunner("yolov5", SIZE, boxes, [0.5, 0.6, 0.7, 0.8])
    image = frame_of(*SIZE)

    def scores(**options):
        return NetworkDetector(runner, None, DetectorSettings(**options)).detect(image).scores

    np.testing.assert_allclose(scores(), [0.8, 0.7, 0.6], rtol=1e-5)
    np.testing.assert_allclose(scores(iou_threshold=0.95), [0.8, 0.7, 0.6, 0.5], rtol=1e-5)
    np.testing.assert_allclose(scores(min_height_px=11), [0.7, 0.6], rtol=1e-5)
    np.testing.assert_allclose(scores(score_threshold=0.65), [0.8, 0.7], rtol=1e-5)
    np.testing.assert_allclose(scores(max_candidates=1), [0.8], rtol=1e-5)
    assert len(scores(score_threshold=1.0)) == 0


def test_the_height_limit_is_in_frame_pixels():
    runner = FakeRunner("yolov8", SIZE, [[10, 10, 60, 60]], [0.9])  # 50 high, 100 in the frame
    detector = NetworkDetector(runner, None, DetectorSettings(min_height_px=99))
    assert len(detector.detect(frame_of(256, 384))) == 1
    assert len(detector.detect(frame_of(128, 192))) == 0


def test_a_person_of_another_class():
    runner = FakeRunner("yolov8", SIZE, [[10, 10, 60, 110]], [0.9], person=2, classes=3)
    image = frame_of(*SIZE)
    assert len(NetworkDetector(runner).detect(image)) == 0
    detector = NetworkDetector(runner, None, DetectorSettings(person_class=2))
    assert len(detector.detect(image)) == 1
    with pytest.raises(ReidEdgeError, match="knows 3 classes, so person_class must be less, got 3"):
        NetworkDetector(runner, None, DetectorSettings(person_class=3))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_are_not_finite_raise(broken):
    image = frame_of(*SIZE)
    runner = FakeRunner("yolov8", SIZE, [[10, 10, 60, 110]], [0.9])
    detector = NetworkDetector(runner)
    runner.outputs[0][0, 4, 100] = broken
    with pytest.raises(ReidEdgeError, match="not finite"):
        detector.detect(image)
    runner.outputs[0][0, 4, 100] = 0
    runner.outputs[0][0, 0, 3] = broken
    with pytest.raises(ReidEdgeError, match="finite boxes"):
        detector.detect(image)


@pytest.mark.parametrize(
    "frame, message",
    [
        (None, "got NoneType"),
        (np.zeros((10, 10), np.uint8), r"shape \(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), r"shape \(10, 10, 4\)"),
        (np.zeros((0, 10, 3), np.uint8), r"shape \(0, 10, 3\)"),
        (np.zeros((10, 10, 3), np.float32), "dtype float32"),
    ],
)
def test_what_is_no_frame_is_refused(frame, message):
    detector = NetworkDetector(FakeRunner("yolov8", SIZE))
    with pytest.raises(ReidEdgeError, match=message):
        detector.detect(frame)


def test_a_horizon_network_gets_nv12_of_the_letterboxed_frame():
    runner = FakeRunner("yolox", SIZE, [[40, 20, 140, 110]], [0.9], input_kind="nv12")
    detector = NetworkDetector(runner)
    image = frame_of(240, 320)
    assert len(detector.detect(image)) == 1
    expected = bgr_to_nv12(placed(image, "yolox", SIZE)[0])
    assert runner.given.dtype == np.uint8
    np.testing.assert_array_equal(runner.given, expected.reshape(1, -1))


def test_the_steps_one_by_one_are_the_whole():
    runner = FakeRunner("yolov8", SIZE, [[40, 20, 140, 110]], [0.9])
    detector = NetworkDetector(runner)
    image = frame_of(240, 320)
    batch, letterbox = detector.prepare(image)
    kept = batch.copy()
    detector.prepare(frame_of(240, 320, seed=1))  # a pipeline prepares the next frame meanwhile
    np.testing.assert_array_equal(batch, kept)
    steps = detector.decode(detector.infer(batch), letterbox)
    np.testing.assert_array_equal(steps.boxes, detector.detect(image).boxes)


def test_closing_closes_the_network():
    runner = FakeRunner("yolov8", SIZE)
    with NetworkDetector(runner) as detector:
        assert detector.name == "yolov8 fake"
    assert runner.closed


@pytest.mark.parametrize(
    "options, message",
    [
        ({"score_threshold": 1.1}, "score_threshold must be 0 to 1, got 1.1"),
        ({"iou_threshold": float("nan")}, "iou_threshold must be 0 to 1, got nan"),
        ({"min_height_px": -1}, "min_height_px must be at least 0"),
        ({"person_class": -1}, "person_class must be at least 0"),
        ({"max_candidates": 0}, "max_candidates must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ReidEdgeError, match=message):
        DetectorSettings(**options)
