"""Networks are told apart by what they put out."""

import numpy as np
import pytest

from runtime.detectors.kinds import KINDS, recognise
from runtime.errors import ReidEdgeError
from tests.runtime.detectors.heads import HEADS

PERSON = [[40.0, 20.0, 140.0, 110.0]]


@pytest.mark.parametrize("classes", [1, 80, 17])
@pytest.mark.parametrize("size", [(640, 640), (416, 416), (352, 352), (128, 192)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognised_and_no_other_fits(kind, size, classes):
    for boxes, scores in ((np.empty((0, 4)), []), (np.array(PERSON), [0.7])):
        outputs = HEADS[kind](boxes, scores, size, classes=classes)
        found = recognise(outputs, size, "x.onnx")
        assert found.name == kind and found.classes(outputs, size) == classes
    shapes = [name for name, k in KINDS.items() if k.classes(outputs, size) is not None]
    assert set(shapes) == ({kind} if "yolox" not in kind else {"yolox", "yolox_decoded"})


@pytest.mark.parametrize(
    "kind, shapes",
    [
        ("yolov5", [(1, 25200, 85)]),
        ("yolov5", [(1, 25200, 85), (1, 3, 80, 80, 85), (1, 3, 40, 40, 85), (1, 3, 20, 20, 85)]),
        ("yolov5", [(1, 25500, 6)]),  # four strides, one class
        ("yolov8", [(1, 84, 8400)]),
        ("yolov8", [(1, 5, 8400)]),
        ("yolov8", [(1, 84, 8500)]),  # four strides
        ("yolox", [(1, 8400, 85)]),
        ("nanodet_plus", [(1, 8500, 112)]),
        ("fastestdet", [(1, 85, 40, 40)]),
    ],
)
def test_shapes_that_the_code_bases_document(kind, shapes):
    assert recognise([np.zeros(shape) for shape in shapes], (640, 640), "x.onnx").name == kind


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 300, 6)],  # with non-maximum suppression built in
        [(1, 84, 8399)],
        [(2, 84, 8400)],
        [(1, 25200, 5)],  # no classes
        [(1, 1000)],
        [(1, 116, 8400), (1, 32, 160, 160)],  # segmentation
        [(1, 6400, 80), (1, 1600, 80), (1, 400, 80), (1, 6400, 30), (1, 1600, 30), (1, 400, 30)],
        [(1, 6400, 80), (1, 6400, 32), (1, 1600, 80), (1, 1600, 32), (1, 400, 80), (1, 400, 32)],
        [(1, 85, 20, 20)],
    ],
)
def test_an_unknown_signature_says_what_it_is_and_which_are_known(shapes):
    with pytest.raises(ReidEdgeError) as caught:
        recognise([np.zeros(shape) for shape in shapes], (640, 640), "x.onnx")
    message = str(caught.value)
    assert "x.onnx" in message and "640 x 640" in message and str(shapes[0]) in message
    assert all(kind in message for kind in KINDS)


def test_a_named_kind_is_checked():
    outputs = [np.zeros((1, 84, 8400))]
    assert recognise(outputs, (640, 640), "x.onnx", "yolov8").name == "yolov8"
    with pytest.raises(ReidEdgeError, match=r"no yolox: expected .*, got outputs \(1, 84, 8400\)"):
        recognise(outputs, (640, 640), "x.onnx", "yolox")
    with pytest.raises(ReidEdgeError, match=r"one of yolov5, yolov8, .* got 'yolov99'"):
        recognise(outputs, (640, 640), "x.onnx", "yolov99")


def test_a_name_settles_what_values_leave_open():
    raw = HEADS["yolox"](np.array(PERSON), [0.7], (416, 416))
    assert recognise(raw, (416, 416), "x.onnx").name == "yolox"
    assert recognise(raw, (416, 416), "x.onnx", "yolox_decoded").name == "yolox_decoded"
