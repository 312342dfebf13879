"""Detection networks as ONNX files: small ones with known boxes, and files that are none."""

import numpy as np
import pytest

from runtime.detectors import NetworkDetector, OnnxRunner, open_detector
from runtime.errors import ReidEdgeError
from tests.runtime.detectors.heads import HEADS

SIZE = (128, 192)
PERSON = [[40.0, 20.0, 140.0, 110.0]]


def save(path, outputs, shape=(1, 3, *SIZE), elem="FLOAT", inputs=1):
    """An ONNX file that puts out ``outputs`` plus 0 times the sum of its image."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, getattr(onnx.TensorProto, elem)
    images = [helper.make_tensor_value_info("image%d" % i, kind, shape) for i in range(inputs)]
    zero = helper.make_tensor("zero", kind, [], [0.0])
    nodes = [
        helper.make_node("ReduceSum", ["image0"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
    ]
    constants, infos = [zero], []
    for index, output in enumerate(outputs):
        dtype = np.float16 if elem == "FLOAT16" else np.float32
        constants.append(onnx.numpy_helper.from_array(output.astype(dtype), "grid%d" % index))
        nodes.append(helper.make_node("Add", ["grid%d" % index, "nothing"], ["out%d" % index]))
        infos.append(helper.make_tensor_value_info("out%d" % index, kind, output.shape))
    graph = helper.make_graph(nodes, "detector", images, infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_from_its_file_to_its_box(tmp_path, kind):
    file = save(tmp_path / "net.onnx", HEADS[kind](np.array(PERSON), [0.7], SIZE))
    with open_detector(file, threads=1) as detector:
        assert detector.name == "%s net.onnx onnxruntime-cpu" % kind
        found = detector.detect(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, PERSON, atol=2e-3)
    np.testing.assert_allclose(found.scores, [0.7], atol=1e-5)


def test_half_precision(tmp_path):
    outputs = HEADS["yolov8"](np.array(PERSON), [0.75], SIZE)
    file = save(tmp_path / "net.onnx", outputs, elem="FLOAT16")
    runner = OnnxRunner(str(file), threads=1)
    assert runner(np.zeros((1, 3, *SIZE), np.float32))[0].dtype == np.float32
    found = NetworkDetector(runner).detect(np.zeros((*SIZE, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, PERSON, atol=0.1)


def test_a_network_of_open_size_needs_one(tmp_path):
    outputs = HEADS["yolov8"](np.array(PERSON), [0.7], SIZE)
    file = save(tmp_path / "net.onnx", outputs, shape=("batch", 3, "height", "width"))
    with pytest.raises(ReidEdgeError, match=r"net.onnx leaves height and width open; give"):
        open_detector(file)
    detector = open_detector(file, input_size=SIZE, threads=1)
    assert len(detector.detect(np.zeros((50, 60, 3), np.uint8))) == 1
    with pytest.raises(ReidEdgeError, match="no known detector"):
        open_detector(file, input_size=(256, 256))


def test_files_that_are_no_detectors(tmp_path):
    outputs = HEADS["yolov8"](np.array(PERSON), [0.7], SIZE)
    file = save(tmp_path / "net.onnx", outputs)
    with pytest.raises(ReidEdgeError, match="128 x 192 only, not of 64 x 64"):
        open_detector(file, input_size=(64, 64))
    with pytest.raises(ReidEdgeError, match="no yolox: expected one output"):
        open_detector(file, kind="yolox")
    save(file, outputs, shape=(4, 3, *SIZE))
    with pytest.raises(ReidEdgeError, match="exported for batches of 4"):
        open_detector(file)
    save(file, outputs, shape=(1, 1, *SIZE))
    with pytest.raises(ReidEdgeError, match=r"takes one image \(1, 3, height, width\)"):
        open_detector(file)
    save(file, outputs, inputs=2)
    with pytest.raises(ReidEdgeError, match=r"but net.onnx takes image0"):
        open_detector(file)
    save(file, [np.zeros((1, 300, 6))])
    with pytest.raises(ReidEdgeError, match=r"signature of no known detector.*yolov5: one output"):
        open_detector(file)


def test_a_file_that_fails_while_it_runs(tmp_path):
    runner = OnnxRunner(save(tmp_path / "net.onnx", [np.zeros((1, 84, 504))]), threads=1)
    with pytest.raises(ReidEdgeError, match=r"cannot run an input of \(1, 3, 5, 5\)"):
        runner(np.zeros((1, 3, 5, 5), np.float32))


def test_missing_and_corrupt_files(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"missing.onnx is not a file; check the path"):
        open_detector(tmp_path / "missing.onnx")
    with pytest.raises(ReidEdgeError, match=r"holds no detector.json, so it is no detector"):
        open_detector(tmp_path)
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(b"not a network" * 100)
    with pytest.raises(ReidEdgeError, match=r"cannot open .*corrupt.onnx"):
        open_detector(corrupt)
    with pytest.raises(ReidEdgeError, match="cannot open the model"):
        OnnxRunner(b"not a network")


def test_without_onnxruntime_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "runtime.backends.onnxruntime", None)
    with pytest.raises(ReidEdgeError, match="install onnxruntime to run an ONNX detector"):
        open_detector(tmp_path / "net.onnx")
