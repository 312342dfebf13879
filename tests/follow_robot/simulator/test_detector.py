"""The simulated detector: as many faults as stated, and nothing of the truth beside its boxes."""

import numpy as np
import pytest

from follow_robot.simulator.detector import DetectorFaults, SimDetector
from follow_robot.simulator.rendering import Picture, Shown
from runtime.errors import ReidEdgeError

SILENT = {"miss": 0.0, "phantoms": 0.0, "merge": 0.0}
BOX = (100.0, 40.0, 160.0, 220.0)


def picture(*people, image=None):
    shown = [
        Shown("p%d" % i, box, box if share > 0 else None, share, 2.0, 0.0)
        for i, (box, share) in enumerate(people)
    ]
    return Picture(np.zeros((240, 320, 3), np.uint8) if image is None else image, shown)


def many(detector, count, *people):
    return [detector.look(picture(*people)) for _ in range(count)]


def test_without_faults_it_finds_everybody_exactly():
    detector = SimDetector(
        0, DetectorFaults(edge_sigma=0.0, seen_share=0.0, height_px=0.0, **SILENT)
    )
    found = detector.look(picture((BOX, 1.0), ((200.0, 60.0, 250.0, 200.0), 0.8)))
    assert sorted(found.boxes.tolist()) == [list(BOX), [200.0, 60.0, 250.0, 200.0]]


def test_edges_are_off_as_much_as_stated():
    faults = DetectorFaults(edge_sigma=0.02, persistence=0.6, **SILENT)
    boxes = np.array([d.boxes[0] for d in many(SimDetector(1, faults), 3000, (BOX, 1.0))])
    errors = (boxes - BOX) / 180
    assert errors.std(axis=0) == pytest.approx(0.02, rel=0.1)
    assert np.abs(errors.mean(axis=0)).max() < 0.002
    following = (errors[1:] * errors[:-1]).mean() / (errors**2).mean()
    assert following == pytest.approx(0.6, abs=0.06)  # what is wrong now was wrong before


def test_it_misses_and_imagines_as_often_as_stated():
    faults = DetectorFaults(miss=0.1, phantoms=0.2, merge=0.0)
    found = many(SimDetector(2, faults), 3000, (BOX, 1.0))
    sure = [sum(d.scores > 0.6) for d in found]
    assert np.mean(sure) == pytest.approx(0.9, abs=0.02)
    phantoms = [sum(d.scores < 0.5) for d in found]
    assert np.mean(phantoms) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    "share, low, high", [(0.0, 0, 0), (0.05, 0, 0.15), (0.2, 0.4, 0.6), (0.6, 0.99, 1)]
)
def test_who_is_hidden_is_found_less(share, low, high):
    faults = DetectorFaults(**SILENT)
    rate = np.mean([len(d) for d in many(SimDetector(3, faults), 800, (BOX, share))])
    assert low <= rate <= high


def test_who_is_small_is_found_less():
    faults = DetectorFaults(height_px=22.0, **SILENT)
    small = (100.0, 100.0, 108.0, 122.0)
    rate = np.mean([len(d) for d in many(SimDetector(4, faults), 800, (small, 1.0))])
    assert rate == pytest.approx(0.5, abs=0.07)


def test_scores_fall_with_what_can_be_seen():
    detector = SimDetector(5, DetectorFaults(**SILENT))
    clear = np.mean([d.scores[0] for d in many(detector, 200, (BOX, 1.0))])
    half = np.mean([d.scores[0] for d in many(detector, 200, (BOX, 0.5)) if len(d)])
    assert clear > half + 0.15


def test_two_who_overlap_may_come_as_one():
    faults = DetectorFaults(edge_sigma=0.0, miss=0.0, phantoms=0.0, merge_iou=0.5, merge=0.5)
    other = (110.0, 45.0, 168.0, 225.0)
    found = many(SimDetector(6, faults), 600, (BOX, 1.0), (other, 1.0))
    merged = [d for d in found if len(d) == 1]
    assert len(merged) / len(found) == pytest.approx(0.5, abs=0.07)
    assert merged[0].boxes[0].tolist() == [100.0, 40.0, 168.0, 225.0]
    apart = (200.0, 40.0, 260.0, 220.0)
    assert all(len(d) == 2 for d in many(SimDetector(6, faults), 200, (BOX, 1.0), (apart, 1.0)))


def test_the_order_of_boxes_says_nothing_about_who_is_who():
    faults = DetectorFaults(edge_sigma=0.0, **SILENT)
    right = (200.0, 40.0, 260.0, 220.0)
    found = many(SimDetector(7, faults), 400, (BOX, 1.0), (right, 1.0))
    assert np.mean([d.boxes[0][0] < 150 for d in found]) == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_has_the_same_faults_and_the_same_picture_the_same_boxes():
    def boxes(seed):
        return [d.boxes.tolist() for d in many(SimDetector(seed), 20, (BOX, 1.0))]

    assert boxes(8) == boxes(8) != boxes(9)
    detector, one = SimDetector(8), picture((BOX, 1.0))
    assert detector.look(one) is detector.look(one)


def test_boxes_stay_inside_the_frame():
    faults = DetectorFaults(edge_sigma=0.1, **SILENT)
    edge = (0.0, 0.0, 60.0, 240.0)
    for found in many(SimDetector(9, faults), 200, (edge, 1.0)):
        assert (found.boxes >= 0).all() and (found.boxes[:, [1, 3]] <= 240).all()


def test_the_live_one_knows_only_the_pictures_of_its_camera():
    detector = SimDetector(10, DetectorFaults(edge_sigma=0.0, **SILENT))
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (240, 320, 3)).astype(np.uint8)
    detector.remember(picture((BOX, 1.0), image=image))
    assert detector.detect(image.copy()).boxes.tolist() == [list(BOX)]
    image[0, 0, 0] ^= 1
    with pytest.raises(ReidEdgeError, match="pictures of the simulated camera"):
        detector.detect(image)


@pytest.mark.parametrize("wrong", [{"miss": 1.5}, {"merge": -0.1}, {"phantoms": -1}])
def test_impossible_faults_are_refused(wrong):
    with pytest.raises(ReidEdgeError):
        DetectorFaults(**wrong)
