"""HorizonRunner on a stand-in for the board's hobot_dnn, and against OnnxRunner.

Shows that the board gets the documented input and that its outputs become the ONNX model's; says
nothing about the BPU's speed or rounding.
"""

import sys

import numpy as np
import pytest

from runtime.detection import iou
from runtime.detectors import KINDS, DetectorSettings, HorizonRunner, NetworkDetector, open_detector
from runtime.detectors.drawing import draw_street
from runtime.detectors.runner import OnnxRunner
from runtime.errors import ReidEdgeError
from runtime.letterbox import Letterbox
from runtime.nv12 import bgr_to_nv12, through_nv12
from runtime.preprocess import preprocess
from tests.runtime.detectors.export_folder import add_compiled, make_record
from tests.runtime.fake_hobot_dnn import install, make_detector_bin
from tests.runtime.fake_model import describe, make_detector_model

SIZE = (128, 192)
PERSON = [[40.0, 20.0, 140.0, 110.0]]
REAL = {
    "yolox": "yolox_nano_416x416.onnx",
    "nanodet": "nanodet_m_416.onnx",
    "fastestdet": "FastestDet.onnx",
}


def export(
    folder, kind="yolox", size=SIZE, model=None, recorded=True, board_input="nv12", **compiled
):
    """A folder with its compiled model."""
    model = model or make_detector_model(kind, size, PERSON, [0.7])
    outputs = [{"name": n, "shape": list(shape)} for n, shape, _ in describe(model)["outputs"]]
    changes = {"outputs": outputs} if recorded else {}
    make_record(folder, kind, size, board_input, model, changes)
    contract = KINDS[kind].preparation.contract(size)
    if board_input == "featuremap":
        compiled.setdefault("tensor_type", "float32")
    add_compiled(folder, make_detector_bin(model, contract, **compiled))
    return folder


def street(height=240, width=320):
    return draw_street(1, (height, width))


def refused(call, *arguments, **options):
    with pytest.raises(ReidEdgeError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(monkeypatch, tmp_path, kind, recorded, channels_last):
    install(monkeypatch)
    model = make_detector_model(kind, SIZE, PERSON, [0.7])
    count = len(describe(model)["outputs"])
    folder = export(
        tmp_path, kind, recorded=recorded, channels_last=channels_last, order=range(count)[::-1]
    )
    if count > 1 and not recorded:
        assert "does not name them" in refused(open_detector, folder)
        return
    with open_detector(folder) as detector:
        assert detector.name == "%s net.bin horizon-bpu" % kind
        found = detector.detect(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, PERSON, atol=2e-3)
    np.testing.assert_allclose(found.scores, [0.7], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_board_gets_nv12_of_the_letterboxed_frame(monkeypatch, tmp_path, kind):
    board = install(monkeypatch)
    frame, how = street(), KINDS[kind].preparation
    with open_detector(export(tmp_path, kind)) as detector:
        board.runs.clear()
        detector.detect(frame)
    ((data, core_id, priority),) = board.runs
    box = Letterbox.fit(frame.shape[:2], SIZE, how.fit, how.rounding)
    canvas = box.apply(frame, how.pad_value, how.resize)
    np.testing.assert_array_equal(data, bgr_to_nv12(canvas).reshape(-1))
    assert (core_id, priority) == (0, 0) and not board.refused
    # The padding is grey in YUV as well: luma of the video range, no colour.
    luma, chroma = data[: SIZE[0] * SIZE[1]].reshape(SIZE), data[SIZE[0] * SIZE[1] :]
    if how.fit == "top_left":
        grey = round(16 + how.pad_value * 219 / 255)
        assert (luma[:, box.resized[1] :] == grey).all() and box.resized[1] < SIZE[1]
        rows = chroma.reshape(SIZE[0] // 2, SIZE[1])
        assert (rows[:, box.resized[1] + 1 :] == 128).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_featuremap_gets_prepared_floats(monkeypatch, tmp_path, layout):
    board = install(monkeypatch)
    frame, how = street(), KINDS["nanodet"].preparation
    folder = export(tmp_path, "nanodet", board_input="featuremap", layout=layout)
    with open_detector(folder) as detector:
        board.runs.clear()
        found = detector.detect(frame)
    assert len(found) == 1
    canvas = Letterbox.fit(frame.shape[:2], SIZE, how.fit, how.rounding).apply(frame, how.pad_value)
    expected = preprocess([canvas], how.contract(SIZE))
    if layout == "NHWC":
        expected = expected.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(board.runs[0][0], expected)


@pytest.mark.parametrize("kind", REAL)
def test_a_compiled_model_finds_what_onnx_runtime_finds(monkeypatch, shared, tmp_path, kind):
    install(monkeypatch)
    path = shared / "detectors" / REAL[kind]
    runner, frame = OnnxRunner(path, threads=1), draw_street(3)
    settings = DetectorSettings(score_threshold=0.3)
    reference = NetworkDetector(runner, kind, settings)
    plain = reference.detect(frame)
    how, size = reference.kind.preparation, runner.input_size
    box = Letterbox.fit(frame.shape[:2], size, how.fit, how.rounding)
    seen = through_nv12(box.apply(frame, how.pad_value, how.resize))
    expected = reference.decode(runner(preprocess([seen], how.contract(size))), box)
    folder = export(
        tmp_path,
        kind,
        size,
        path.read_bytes(),
        channels_last=True,
        order=range(len(describe(path.read_bytes())["outputs"]))[::-1],
    )
    with open_detector(folder, settings=settings) as detector:
        found = detector.detect(frame)
    # The stand-in decodes NV12 with OpenCV's integers, through_nv12 with exact numbers.
    assert len(expected) >= 3 and len(found) == len(expected)
    assert np.diag(iou(found.boxes, expected.boxes)).min() > 0.97
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.03)
    # And what NV12 loses, fine colour, costs little.
    sure = plain.boxes[plain.scores > 0.45]
    assert len(sure) >= 2 and iou(sure, found.boxes).max(axis=1).min() > 0.85


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("kind", ["yolox", "fastestdet"])
def test_integer_outputs_become_floats(monkeypatch, tmp_path, kind, channels_last):
    install(monkeypatch)
    folder = export(tmp_path, kind, channels_last=channels_last, integers=10**6)
    with open_detector(folder) as detector:
        found = detector.detect(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, PERSON, atol=0.05)
    np.testing.assert_allclose(found.scores, [0.7], atol=1e-3)
    bare = export(tmp_path / "bare", kind, integers=10**6, with_scales=False)
    assert "in int32 with 0 scales" in refused(open_detector, bare)


def test_a_compiler_that_renames_outputs(monkeypatch, tmp_path):
    install(monkeypatch)
    names = ["hb_%d" % i for i in range(6)]
    with open_detector(export(tmp_path, "nanodet", names=names, order=range(6)[::-1])) as detector:
        assert len(detector.detect(street())) == 1


def test_outputs_do_not_share_the_boards_memory(monkeypatch, tmp_path):
    install(monkeypatch)
    runner = HorizonRunner(export(tmp_path))
    nv12 = bgr_to_nv12(np.zeros((*SIZE, 3), np.uint8)).reshape(1, -1)
    (first,) = runner(nv12)
    kept = first.copy()
    runner._model._model._memory[0][...] = 7
    np.testing.assert_array_equal(first, kept)


def test_core_and_priority_reach_the_board(monkeypatch, tmp_path):
    board = install(monkeypatch)
    runner = HorizonRunner(export(tmp_path), core_id=2, priority=255)
    NetworkDetector(runner, runner.kind)
    assert [run[1:] for run in board.runs] == [(2, 255)]
    assert "core_id must be 0, 1 or 2" in refused(HorizonRunner, tmp_path, core_id=3)


def test_wrong_input_does_not_reach_the_board(monkeypatch, tmp_path):
    board = install(monkeypatch)
    runner = HorizonRunner(export(tmp_path))
    for batch in (
        np.zeros((1, 3, *SIZE), np.float32),
        np.zeros((1, SIZE[0] * SIZE[1]), np.uint8),
        np.zeros((2, SIZE[0] * SIZE[1] * 3 // 2), np.uint8),
        np.zeros((1, SIZE[0] * SIZE[1] * 3 // 2), np.float32),
    ):
        assert "net.bin takes (1, 36864) of uint8, got" in refused(runner, batch)
    assert not board.runs and not board.refused


def test_the_kind_is_what_was_compiled(monkeypatch, tmp_path):
    install(monkeypatch)
    folder = export(tmp_path)
    open_detector(folder, kind="yolox").close()
    assert "was compiled as a yolox" in refused(open_detector, folder, kind="yolox_decoded")


def test_input_size(monkeypatch, tmp_path):
    install(monkeypatch)
    folder = export(tmp_path)
    open_detector(folder, input_size=SIZE).close()
    said = refused(open_detector, folder, input_size=(64, 64))
    assert "net.bin takes images of 128 x 192 only, not of 64 x 64" in said


def test_models_of_another_export(monkeypatch, tmp_path):
    install(monkeypatch)
    model = make_detector_model("yolox", SIZE)
    other = make_detector_model("yolox", (128, 256))
    contract = KINDS["yolox"].preparation.contract
    folder = export(tmp_path)
    add_compiled(folder, make_detector_bin(other, contract((128, 256))))
    said = refused(open_detector, folder)
    assert "takes nv12 of 128 x 256 but detector.json says nv12 of 128 x 192" in said
    add_compiled(folder, make_detector_bin(model, contract(SIZE), tensor_type="float32"))
    assert "takes float of 128 x 192 but" in refused(open_detector, folder)
    add_compiled(folder, make_detector_bin(model, contract(SIZE), tensor_type="BGR"))
    assert "inputs of type BGR" in refused(open_detector, folder)
    small = make_detector_model("yolox", SIZE, classes=3)
    add_compiled(folder, make_detector_bin(small, contract(SIZE)))
    assert "must have one output out0 of (1, 504, 85), got none" in refused(open_detector, folder)


def test_a_missing_board_or_a_broken_model(monkeypatch, tmp_path):
    folder = export(tmp_path)
    monkeypatch.setitem(sys.modules, "hobot_dnn", None)
    said = refused(open_detector, folder)
    assert "hobot_dnn cannot be imported" in said and "open the detector's ONNX file" in said
    install(monkeypatch, broken=True)
    assert "could not run" in refused(open_detector, folder)
    install(monkeypatch)
    add_compiled(folder, b"\x00not a model")
    assert "cannot load" in refused(open_detector, folder)


def test_without_detector_json(monkeypatch, tmp_path):
    install(monkeypatch)
    folder = export(tmp_path)
    (folder / "detector.json").unlink()
    assert "Expected detector.json beside" in refused(
        open_detector, folder / "model_output" / "net.bin"
    )
    assert "holds no detector.json, so it is no detector" in refused(open_detector, folder)


def test_a_closed_runner(monkeypatch, tmp_path):
    install(monkeypatch)
    runner = HorizonRunner(export(tmp_path))
    runner.close()
    runner.close()
    nv12 = bgr_to_nv12(np.zeros((*SIZE, 3), np.uint8)).reshape(1, -1)
    assert "was closed; open it again" in refused(runner, nv12)
