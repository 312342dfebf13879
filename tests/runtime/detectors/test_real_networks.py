"""The real networks on real frames, against recorded detections and annotated persons."""

import cv2
import numpy as np
import pytest

from runtime.detectors import DetectorSettings, open_detector
from runtime.preprocess import read_image
from tests.runtime.detectors.ground_truth import count_hits, read_boxes

FRAMES = {"ETH-Sunnyday": 200, "TUD-Stadtmitte": 179}
FILES = {
    "yolox": "yolox_nano_416x416.onnx",
    "nanodet": "nanodet_m_416.onnx",
    "fastestdet": "FastestDet.onnx",
}


@pytest.fixture(autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def frames(shared, sequence, step=1):
    for number in range(1, FRAMES[sequence] + 1, step):
        name = "%06d.jpg" % number
        yield number, read_image(shared / "video" / sequence / "img1" / name)


@pytest.mark.parametrize("sequence", FRAMES)
def test_yolox_nano_gives_the_recorded_detections(shared, sequence):
    recorded = read_boxes(shared / "video" / sequence / "det" / "yolox_nano.txt", True)
    detector = open_detector(shared / "detectors" / FILES["yolox"], threads=1)
    assert detector.kind.name == "yolox"
    for number, image in frames(shared, sequence, step=9):
        found = detector.detect(image)  # the defaults are what was recorded: 0.1 and 0.6
        boxes, scores = recorded[number]
        assert len(found) == len(boxes)
        # Recorded to 0.01 px (left, top, width, height) and to 0.0001; in falling order of score.
        np.testing.assert_allclose(found.boxes, boxes, atol=0.02)
        np.testing.assert_allclose(found.scores, scores, atol=1e-4)


# Thresholds at which the figures of the shared detectors' README come out, all frames, overlap 0.5.
# Its precision of NanoDet-m on ETH-Sunnyday (.647) does not, with any placement, channel order or
# threshold: it is, to the digit, what det/yolox_nano.txt gives at 0.35. Ours there is pinned instead.
MEASURED = {
    ("yolox", "ETH-Sunnyday"): (0.35, 0.6, 0.956, 0.650),
    ("yolox", "TUD-Stadtmitte"): (0.35, 0.6, 0.845, 0.933),
    ("nanodet", "ETH-Sunnyday"): (0.35, 0.6, 0.956, 0.593),
    ("nanodet", "TUD-Stadtmitte"): (0.35, 0.6, 0.811, 0.755),
    ("fastestdet", "ETH-Sunnyday"): (0.5, 0.5, 0.799, 0.508),
    ("fastestdet", "TUD-Stadtmitte"): (0.5, 0.5, 0.791, 0.750),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind, sequence", MEASURED)
def test_recall_and_precision_are_the_published_ones(shared, kind, sequence):
    threshold, overlap, recall, precision = MEASURED[kind, sequence]
    truth = read_boxes(shared / "video" / sequence / "gt" / "gt.txt")
    options = DetectorSettings(score_threshold=threshold, iou_threshold=overlap)
    detector = open_detector(shared / "detectors" / FILES[kind], settings=options, threads=1)
    assert detector.kind.name == kind
    hits = people = boxes = 0
    for number, image in frames(shared, sequence):
        found = detector.detect(image)
        persons = truth.get(number, np.empty((0, 4)))
        hits += count_hits(persons, found.boxes)
        people, boxes = people + len(persons), boxes + len(found)
    assert hits / people == pytest.approx(recall, abs=0.01)
    assert hits / boxes == pytest.approx(precision, abs=0.01)


@pytest.mark.parametrize("kind", FILES)
def test_every_frame_size_finds_the_same_persons(shared, kind):
    _, image = next(frames(shared, "TUD-Stadtmitte"))
    detector = open_detector(
        shared / "detectors" / FILES[kind],
        settings=DetectorSettings(score_threshold=0.6),
        threads=1,
    )
    plain = detector.detect(image)
    assert len(plain) >= 4
    larger = detector.detect(cv2.resize(image, (1280, 960), interpolation=cv2.INTER_CUBIC))
    # The four surest, at twice the place, again within a few pixels of 1280.
    for box in plain.boxes[:4]:
        assert np.abs(larger.boxes / 2 - box).max(axis=1).min() < 8
