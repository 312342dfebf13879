"""OpenCV's people detector as the default, and the choice between detectors."""

import logging

import numpy as np
import pytest

from runtime.detection import iou
from runtime.detectors import DetectorSettings, HogDetector, NetworkDetector, open_detector
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image
from tests.runtime.detectors.fake_runner import FakeRunner
from tests.runtime.detectors.ground_truth import read_boxes


def test_no_model_is_the_hog_detector_and_says_so_once(caplog):
    with caplog.at_level(logging.WARNING):
        detector = open_detector()
        for _ in range(2):
            detector.detect(np.zeros((130, 66, 3), np.uint8))
    assert isinstance(detector, HogDetector) and detector.name == "hog opencv-cpu"
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "slow default" in caplog.text and "fastestdet" in caplog.text


def test_asked_for_by_name_it_needs_no_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert isinstance(open_detector(kind="hog"), HogDetector)
    assert not caplog.records


def test_model_and_kind_must_go_together():
    runner = FakeRunner("yolov8", (128, 192))
    assert isinstance(open_detector(runner), NetworkDetector)
    with pytest.raises(ReidEdgeError, match="'yolov8' needs a model file"):
        open_detector(kind="yolov8")
    with pytest.raises(ReidEdgeError, match="'hog' takes no model"):
        open_detector("x.onnx", kind="hog")
    with pytest.raises(ReidEdgeError, match=r"got the checkpoint yolov8n.pt; export it to ONNX"):
        open_detector("yolov8n.pt")
    for name in ("net.plan", "net.engine", "net.bin"):
        with pytest.raises(ReidEdgeError, match=r"%s is not a file; check the path" % name):
            open_detector(name)


@pytest.mark.parametrize("shape", [(1, 1), (127, 300), (300, 63), (240, 320), (700, 2000)])
def test_an_empty_picture_of_any_size_has_no_persons(shape):
    assert len(HogDetector().detect(np.full((*shape, 3), 90, np.uint8))) == 0


def test_what_is_no_frame_is_refused():
    with pytest.raises(ReidEdgeError, match="got NoneType"):
        HogDetector().detect(None)


def test_real_people_are_found_where_they_are(shared):
    folder = shared / "video" / "ETH-Sunnyday"
    truth = read_boxes(folder / "gt" / "gt.txt")
    detector = HogDetector(DetectorSettings(score_threshold=0.5, iou_threshold=0.5))
    hits = people = boxes = 0
    for index in (1, 50, 100, 150, 200):
        found = detector.detect(read_image(folder / "img1" / ("%06d.jpg" % index)))
        assert (np.diff(found.scores) <= 0).all() and (found.scores <= 1).all()
        overlaps = iou(truth[index], found.boxes) >= 0.5
        hits, people = hits + overlaps.any(axis=1).sum(), people + len(overlaps)
        boxes += len(found)
    assert hits / people >= 0.5 and hits / boxes >= 0.6


def test_a_large_frame_is_reduced_and_its_boxes_are_not(shared):
    file = shared / "video" / "TUD-Stadtmitte" / "img1" / "000001.jpg"
    image = read_image(file)
    twice = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    settings = DetectorSettings(score_threshold=0.6)
    small, large = (HogDetector(settings).detect(i) for i in (image, twice))
    assert len(small) == len(large) >= 2
    np.testing.assert_allclose(large.boxes, 2 * small.boxes, atol=0.01)
    tall = HogDetector(DetectorSettings(score_threshold=0.6, min_height_px=200)).detect(image)
    assert len(tall) == (small.heights >= 200).sum() < len(small)
