"""The drawn street of the self-test."""

import numpy as np
import pytest

from runtime.detector_build import PICTURES
from runtime.detectors import open_detector
from runtime.detectors.drawing import draw_street


def test_the_same_seed_gives_the_same_picture():
    picture = draw_street(5, (120, 200))
    assert picture.shape == (120, 200, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, draw_street(5, (120, 200)))
    assert np.abs(picture.astype(int) - draw_street(6, (120, 200))).mean() > 10


@pytest.mark.parametrize("name", ["yolox_nano_416x416", "nanodet_m_416", "FastestDet"])
def test_detectors_see_the_people(shared, name):
    """Else a comparison on the picture would compare noise."""
    with open_detector(shared / "detectors" / (name + ".onnx"), threads=1) as detector:
        for seed in range(PICTURES):
            scores = detector.detect(draw_street(seed)).scores
            assert len(scores) >= 4 and 0.4 < scores[3] <= scores[0] < 0.95
