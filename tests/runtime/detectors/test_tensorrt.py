"""TensorRTRunner over TensorRT versions and CUDA packages of the fakes, and against OnnxRunner."""

import sys
import threading

import numpy as np
import pytest

from runtime.build import main
from runtime.bundle import file_sha256
from runtime.detectors import KINDS, TensorRTRunner, open_detector
from runtime.detectors.drawing import draw_street
from runtime.engine_stamp import EngineStamp, stamp_path
from runtime.errors import ReidEdgeError
from tests.runtime.fake_bundle import make_bundle
from tests.runtime.fake_cuda import FakeDevice, install_cuda
from tests.runtime.fake_model import make_detector_model
from tests.runtime.fake_tensorrt import make_tensorrt

VERSIONS = ["8.0.1", "8.2.1", "8.5.2", "8.6.0", "10.0", "10.13", "11.0"]
PACKAGES = ["cuda.cudart", "pycuda.driver"]
SIZE = (128, 192)
PERSON = [[40.0, 20.0, 140.0, 110.0]]


class Rig:
    """A fake board on which a detector's plan is built."""

    def __init__(self, monkeypatch, folder, version="8.5.2", package="cuda.cudart", **options):
        self.monkeypatch, self.folder = monkeypatch, folder
        self.device = FakeDevice()
        install_cuda(monkeypatch, package, self.device)
        self.use_tensorrt(version, **options)

    def use_tensorrt(self, version, **options):
        self.trt = make_tensorrt(version, self.device, **options)
        self.monkeypatch.setitem(sys.modules, "tensorrt", self.trt)

    def build(self, head="yolox", precision="fp32", **options):
        """Path of the plan of a detector that sees ``PERSON`` everywhere."""
        path = self.folder / "net.onnx"
        path.write_bytes(make_detector_model(head, SIZE, PERSON, [0.7], **options))
        return self.build_file(path, precision)

    def build_file(self, path, precision="fp32"):
        assert main(["--detector", str(path), "--precision", precision, "--force"]) == 0
        self.trt._calls.clear()
        return path.with_name("%s-%s-gpu.plan" % (path.stem, precision))

    def rewrite_plan(self, plan, old, new, **stamped):
        """Change the plan, or its stamp, and make them agree, as if it had been built so."""
        plan.write_bytes(plan.read_bytes().replace(old, new))
        stamp = EngineStamp.from_json(stamp_path(plan).read_text())
        fields = dict(stamp.__dict__, plan_sha256=file_sha256(plan), **stamped)
        stamp_path(plan).write_text(EngineStamp(**fields).to_json())
        return plan

    def released(self):
        return not (self.device.blocks or self.device.streams or self.device.pushed)


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path)


def black():
    return np.zeros((*SIZE, 3), np.uint8)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("package", PACKAGES)
def test_every_version_finds_the_person(monkeypatch, tmp_path, version, package):
    rig = Rig(monkeypatch, tmp_path, version, package)
    with open_detector(rig.build()) as detector:
        assert detector.name == "yolox net-fp32-gpu.plan tensorrt-gpu-fp32"
        found = detector.detect(black())
    np.testing.assert_allclose(found.boxes, PERSON, atol=2e-3)
    np.testing.assert_allclose(found.scores, [0.7], atol=1e-5)
    by_name = version not in ("8.0.1", "8.2.1")
    assert set(rig.trt._calls) == {"execute_async_v3" if by_name else "execute_v2"}
    assert rig.released()


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_its_outputs_in_the_models_order(monkeypatch, tmp_path, kind, batch):
    rig = Rig(monkeypatch, tmp_path, reorder_outputs=True)
    with open_detector(rig.build(kind, batch=batch)) as detector:
        assert detector.kind.name == kind
        found = detector.detect(black())
    np.testing.assert_allclose(found.boxes, PERSON, atol=2e-3)


@pytest.mark.parametrize("name", ["yolox_nano_416x416", "nanodet_m_416", "FastestDet"])
@pytest.mark.parametrize("version", ["8.2.1", "8.5.2"])
def test_a_plan_finds_what_onnx_runtime_finds(rig, shared, tmp_path, name, version):
    rig.use_tensorrt(version, reorder_outputs=True)
    path = tmp_path / (name + ".onnx")
    path.symlink_to(shared / "detectors" / path.name)
    frame = draw_street(3)
    with open_detector(path, threads=1) as reference:
        expected = reference.detect(frame)
    assert len(expected) >= 3
    with open_detector(rig.build_file(path)) as detector:
        found = detector.detect(frame)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_outputs_do_not_share_memory(rig):
    with_runner = TensorRTRunner(rig.build())
    first = with_runner(np.zeros((1, 3, *SIZE), np.float32))
    kept = [output.copy() for output in first]
    with_runner._plan._engine._model = make_detector_model("yolox", SIZE, PERSON, [0.2])
    second = with_runner(np.ones((1, 3, *SIZE), np.float32))
    with_runner.close()
    for output, copy, other in zip(first, kept, second):
        np.testing.assert_array_equal(output, copy)
        assert output.dtype == np.float32 and not np.array_equal(output, other)


@pytest.mark.parametrize("package", PACKAGES)
def test_runs_in_another_thread(monkeypatch, tmp_path, package):
    rig = Rig(monkeypatch, tmp_path, package=package)
    results = []
    with open_detector(rig.build()) as detector:
        thread = threading.Thread(target=lambda: results.append(detector.detect(black())))
        thread.start()
        thread.join()
    assert len(results[0]) == 1 and rig.released()


def test_half_precision_inputs_and_outputs(rig, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx makes the model of this test")
    from tests.runtime.detectors.heads import HEADS
    from tests.runtime.detectors.test_runner import save

    assert onnx
    path = save(
        tmp_path / "half.onnx", HEADS["yolov8"](np.array(PERSON), [0.75], SIZE), elem="FLOAT16"
    )
    with open_detector(rig.build_file(path)) as detector:
        found = detector.detect(black())
    np.testing.assert_allclose(found.boxes, PERSON, atol=0.1)


def test_a_plan_of_another_version_or_device_is_refused(rig):
    plan = rig.build()
    rig.use_tensorrt("8.6.0")
    with pytest.raises(ReidEdgeError, match=r"TensorRT 8\.5\.2; here is 8\.6\.0.*Run reid-build"):
        open_detector(plan)
    rig.use_tensorrt("8.5.2")
    rig.device.sm = (8, 7)
    with pytest.raises(ReidEdgeError, match=r"SM 7\.2; here is 8\.7"):
        open_detector(plan)
    assert rig.released()


def test_a_plan_without_its_stamp_or_changed_is_refused(rig):
    plan = rig.build()
    engine = plan.rename(plan.with_suffix(".engine"))
    open_detector(engine).close()  # as other tools name it
    engine.write_bytes(engine.read_bytes() + b" ")
    with pytest.raises(ReidEdgeError, match=r"does not fit here: It was built with plan SHA-256"):
        open_detector(engine)
    stamp_path(engine).unlink()
    with pytest.raises(ReidEdgeError, match=r"with its stamp net-fp32-gpu.json beside it"):
        open_detector(engine)
    engine.unlink()
    with pytest.raises(ReidEdgeError, match=r"net-fp32-gpu.engine is not a file; check the path"):
        open_detector(engine)


def test_a_plan_of_a_changed_model_is_refused(rig):
    plan = rig.build()
    plan.with_name("net.onnx").write_bytes(b"another")
    with pytest.raises(
        ReidEdgeError,
        match=r"not of the present net.onnx: .*reid-build --detector .*net.onnx again",
    ):
        open_detector(plan)
    assert rig.released()


def test_without_tensorrt(rig, monkeypatch):
    plan = rig.build()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ReidEdgeError, match="TensorRT cannot be imported"):
        open_detector(plan)


def test_a_bundles_plan_is_no_detector(rig, tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    assert main([str(bundle)]) == 0
    with pytest.raises(ReidEdgeError, match=r"outputs \(embedding\), .* names none; build"):
        open_detector(bundle / "engines" / "int8-gpu.plan")
    assert rig.released()


@pytest.mark.parametrize(
    "old, new, said",
    [
        (
            b'"input": [1, 3, 128, 192]',
            b'"input": [1, 1, 128, 192]',
            "but net-fp32-gpu.plan takes im",
        ),
        (b'"input": [1, 3, 128, 192]', b'"input": [4, 3, 128, 192]', r"takes images \(4, 3"),
        (b'"kind": "float"', b'"kind": "float", "input_type": "INT8"', "images of type INT8"),
        (b'"kind": "float"', b'"kind": "float", "output_batch": 300', r"out0 of .* \(300, 504, 85"),
        (b'"kind": "float"', b'"kind": "float", "no_memory": true', "cannot make room"),
    ],
)
def test_plans_that_do_not_take_one_image_of_floats(rig, old, new, said):
    plan = rig.rewrite_plan(rig.build(), old, new)
    rig.trt.DataType.INT8 = type(rig.trt.DataType.FLOAT)(9, "INT8")
    with pytest.raises(ReidEdgeError, match=said):
        open_detector(plan)
    assert rig.released()


def test_a_stamp_that_names_other_outputs(rig):
    plan = rig.rewrite_plan(rig.build(), b"", b"", outputs=["boxes"])
    with pytest.raises(ReidEdgeError, match=r"outputs \(out0\), but that of .* names boxes"):
        open_detector(plan)


def test_what_is_no_known_detector_frees_the_board(rig):
    plan = rig.build()
    with pytest.raises(ReidEdgeError, match="no nanodet: expected three outputs"):
        open_detector(plan, kind="nanodet")
    assert rig.released()


def test_input_size(rig):
    plan = rig.build()
    open_detector(plan, input_size=SIZE).close()
    with pytest.raises(ReidEdgeError, match="128 x 192 only, not of 64 x 64; leave the input size"):
        open_detector(plan, input_size=(64, 64))
    assert rig.released()
    with TensorRTRunnerClosing(plan) as runner, pytest.raises(
        ReidEdgeError, match=r"cannot run an input of \(1, 3, 5, 5\): it takes \(1, 3, 128, 192\)"
    ):
        runner(np.zeros((1, 3, 5, 5), np.float32))


class TensorRTRunnerClosing(TensorRTRunner):
    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        self.close()  # a second call does nothing
        with pytest.raises(ReidEdgeError, match="was closed; open it again"):
            self(np.zeros((1, 3, *SIZE), np.float32))
