"""TensorRTBackend over every TensorRT version and both CUDA packages of the fakes."""

import sys
import threading

import numpy as np
import pytest

from runtime.backends import open_backend
from runtime.backends.tensorrt import TensorRTBackend
from runtime.build import main
from runtime.bundle import Bundle, file_sha256
from runtime.engine_stamp import EngineStamp, stamp_path
from runtime.errors import ReidEdgeError
from tests.runtime.fake_bundle import DIM, HEIGHT, WIDTH, make_bundle
from tests.runtime.fake_cuda import FakeDevice, install_cuda
from tests.runtime.fake_model import embed, make_model
from tests.runtime.fake_tensorrt import make_tensorrt

VERSIONS = ["8.0.1", "8.2.1", "8.5.2", "8.6.0", "10.0", "10.13", "11.0"]
PACKAGES = ["cuda.cudart", "pycuda.driver"]


class Rig:
    """A fake board with a built bundle."""

    def __init__(self, monkeypatch, folder, version="8.5.2", package="cuda.cudart", **bundle):
        self.monkeypatch, self.package = monkeypatch, package
        self.device = FakeDevice()
        install_cuda(monkeypatch, package, self.device)
        self.use_tensorrt(version)
        self.bundle = Bundle.open(make_bundle(folder / "bundle", **bundle))
        self.plan = self.bundle.path / "engines" / "int8-gpu.plan"

    def use_tensorrt(self, version, **options):
        self.trt = make_tensorrt(version, self.device, **options)
        self.monkeypatch.setitem(sys.modules, "tensorrt", self.trt)

    def build(self, *arguments):
        assert main([str(self.bundle.path), *arguments]) == 0
        self.trt._calls.clear()
        return self

    def rewrite_plan(self, old, new):
        """Change the plan and make its stamp agree, as if it had been built so."""
        self.plan.write_bytes(self.plan.read_bytes().replace(old, new))
        stamp = EngineStamp.from_json(stamp_path(self.plan).read_text())
        fields = dict(stamp.__dict__, plan_sha256=file_sha256(self.plan))
        stamp_path(self.plan).write_text(EngineStamp(**fields).to_json())


@pytest.fixture
def rig(monkeypatch, tmp_path):
    return Rig(monkeypatch, tmp_path).build()


def images(count, seed=3):
    values = np.random.RandomState(seed).standard_normal((count, 3, HEIGHT, WIDTH))
    return values.astype(np.float32)


def expected(batch):
    return embed(make_model("qdq"), batch, "int8")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("package", PACKAGES)
def test_returns_what_the_network_computes(monkeypatch, tmp_path, version, package):
    rig = Rig(monkeypatch, tmp_path, version, package).build()
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        assert backend.input_shape == (3, HEIGHT, WIDTH)
        assert (backend.min_batch, backend.max_batch) == (1, 16)
        assert backend.name == "tensorrt-gpu-int8"
        for count in (3, 1, 16, 2):
            batch = images(count, seed=count)
            result = backend.run(batch)
            assert result.dtype == np.float32 and result.shape == (count, DIM)
            np.testing.assert_allclose(result, expected(batch), rtol=1e-6)
    by_name = version not in ("8.0.1", "8.2.1")
    assert set(rig.trt._calls) == {"execute_async_v3" if by_name else "execute_v2"}


def test_larger_batches_are_split(rig):
    batch = images(37)
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        np.testing.assert_allclose(backend.run(batch), expected(batch), rtol=1e-6)
    assert len(rig.trt._calls) == 3


def test_smaller_batches_are_padded_and_cut(monkeypatch, tmp_path):
    rig = Rig(monkeypatch, tmp_path, batch=(4, 4, 8)).build()
    batch = images(2)
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        np.testing.assert_allclose(backend.run(batch), expected(batch), rtol=1e-6)


def test_results_do_not_share_memory(rig):
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        first = backend.run(images(1, seed=1))
        kept = first.copy()
        backend.run(images(1, seed=2))
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("package", PACKAGES)
def test_runs_in_another_thread(monkeypatch, tmp_path, package):
    rig = Rig(monkeypatch, tmp_path, package=package).build()
    batch, results = images(2), []
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        thread = threading.Thread(target=lambda: results.append(backend.run(batch)))
        thread.start()
        thread.join()
    np.testing.assert_allclose(results[0], expected(batch), rtol=1e-6)


@pytest.mark.parametrize("package", PACKAGES)
def test_close_frees_everything_once(monkeypatch, tmp_path, package):
    rig = Rig(monkeypatch, tmp_path, package=package).build()
    backend = TensorRTBackend(rig.plan, rig.bundle)
    assert len(rig.device.blocks) == 2
    backend.close()
    backend.close()
    assert not rig.device.blocks and not rig.device.streams
    with pytest.raises(ReidEdgeError, match="closed"):
        backend.run(images(1))


def test_a_bundle_with_a_plan_opens_as_tensorrt(rig):
    with open_backend(rig.bundle) as backend:
        assert backend.name == "tensorrt-gpu-int8"


@pytest.mark.parametrize(
    "batch",
    [
        images(1)[0],
        images(1)[:, :, :-1],
        images(1).astype(np.float64),
        images(1)[:0],
    ],
    ids=["three dimensions", "wrong height", "float64", "empty"],
)
def test_refuses_other_inputs(rig, batch):
    with TensorRTBackend(rig.plan, rig.bundle) as backend, pytest.raises(ReidEdgeError):
        backend.run(batch)


def test_a_plan_of_another_version_is_refused_before_tensorrt_sees_it(rig):
    rig.use_tensorrt("8.6.0")
    with pytest.raises(ReidEdgeError, match=r"TensorRT 8\.5\.2; here is 8\.6\.0.*Run reid-build"):
        TensorRTBackend(rig.plan, rig.bundle)
    assert not rig.device.blocks and not rig.device.streams


def test_a_plan_of_another_gpu_is_refused(rig):
    rig.device.sm = (8, 7)
    with pytest.raises(ReidEdgeError, match=r"SM 7\.2; here is 8\.7"):
        TensorRTBackend(rig.plan, rig.bundle)


def test_another_power_mode_is_said_but_not_refused(rig, monkeypatch, caplog):
    monkeypatch.setattr("runtime.loaded_plan.power_mode", lambda: "MODE_10W")
    with TensorRTBackend(rig.plan, rig.bundle):
        assert "MODE_10W" in caplog.text


def test_a_plan_tensorrt_cannot_load(rig):
    rig.rewrite_plan(b'"version": "8.5.2"', b'"version": "8.5.9"')
    with pytest.raises(ReidEdgeError, match=r"cannot load .*: Version tag does not match"):
        TensorRTBackend(rig.plan, rig.bundle)
    assert not rig.device.streams


def test_no_memory_for_the_context(rig):
    rig.rewrite_plan(b'"kind": "qdq"', b'"kind": "qdq", "no_memory": true')
    with pytest.raises(ReidEdgeError, match=r"cannot make room .*: Out of memory"):
        TensorRTBackend(rig.plan, rig.bundle)


def test_no_memory_for_the_buffers(rig):
    rig.device.fail_allocation = True
    with pytest.raises(ReidEdgeError, match="too little free device memory"):
        TensorRTBackend(rig.plan, rig.bundle)
    assert not rig.device.streams


def test_half_precision_inputs_are_refused(rig):
    rig.rewrite_plan(b'"kind": "qdq"', b'"kind": "qdq", "input_type": "HALF"')
    with pytest.raises(ReidEdgeError, match="got images of type HALF"):
        TensorRTBackend(rig.plan, rig.bundle)


def test_a_plan_that_disagrees_with_the_bundle(rig):
    rig.rewrite_plan(b'"dim": 12', b'"dim": 10')
    with pytest.raises(ReidEdgeError, match=r"returns 10 values but the bundle says .* and 12"):
        TensorRTBackend(rig.plan, rig.bundle)


def test_outputs_are_chosen_by_name(rig):
    rig.rewrite_plan(b'"extra_output": null', b'"extra_output": "logits"')
    with pytest.raises(ReidEdgeError, match=r"one output, got .*logits.*embedding"):
        TensorRTBackend(rig.plan, rig.bundle)
    with pytest.raises(ReidEdgeError, match="one output named 'scores'"):
        TensorRTBackend(rig.plan, rig.bundle, output="scores")
    batch = images(2)
    with TensorRTBackend(rig.plan, rig.bundle, output="embedding") as backend:
        np.testing.assert_allclose(backend.run(batch), expected(batch), rtol=1e-6)


@pytest.mark.parametrize("version", ["8.2.1", "8.5.2"])
def test_a_refused_run_names_tensorrts_reason(monkeypatch, tmp_path, version):
    rig = Rig(monkeypatch, tmp_path, version).build()
    with TensorRTBackend(rig.plan, rig.bundle) as backend:
        backend._plan._engine._header["profile"] = [[1, 3, HEIGHT, WIDTH]] * 3  # a profile misread
        with pytest.raises(ReidEdgeError, match=r"batch of 5: Shape .* is outside the profile"):
            backend.run(images(5))


def test_without_tensorrt(rig, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ReidEdgeError, match="TensorRT cannot be imported"):
        TensorRTBackend(rig.plan, rig.bundle)
