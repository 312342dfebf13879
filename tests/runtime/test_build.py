"""reid-build from the command line, over every TensorRT version of the fake."""

import argparse
import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backends.tensorrt import TensorRTBackend
from runtime.build import MIN_COSINE, main, parse_batch, self_test
from runtime.bundle import Bundle, file_sha256
from runtime.engine_stamp import EngineStamp
from runtime.errors import ReidEdgeError, VerificationError
from runtime.plan_builder import choose_role
from tests.runtime.fake_bundle import CACHE, HEIGHT, WIDTH, make_bundle
from tests.runtime.fake_cuda import FakeDevice, install_cuda
from tests.runtime.fake_model import make_model
from tests.runtime.fake_tensorrt import make_tensorrt

VERSIONS = ["8.0.1", "8.2.1", "8.5.2", "8.6.0", "10.0", "10.13", "11.0"]
WITH_DLA = ["8.0.1", "8.2.1", "8.5.2", "8.6.0", "10.0"]


class Board:
    """A fake board and the command run on it."""

    def __init__(self, monkeypatch, capsys, folder):
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder
        self.device = FakeDevice()
        install_cuda(monkeypatch, "pycuda.driver", self.device)
        self.use("8.5.2")

    def use(self, version, **options):
        self.trt = make_tensorrt(version, self.device, **options)
        self.monkeypatch.setitem(sys.modules, "tensorrt", self.trt)

    def bundle(self, **options):
        return make_bundle(self.folder / "bundle", **options)

    def run(self, *arguments):
        """Exit code, standard output and standard error of ``reid-build``."""
        code = main([str(argument) for argument in arguments])
        captured = self.capsys.readouterr()
        # Whatever happened: no device memory, stream or context may be left.
        assert not self.device.blocks and not self.device.streams and not self.device.pushed
        return code, captured.out, captured.err

    def refused(self, path, *arguments, code=2):
        """The one sentence of a refusal that left nothing behind."""
        before = sorted(p.relative_to(path) for p in path.rglob("*"))
        got, out, err = self.run(path, *arguments)
        assert got == code, err
        assert out == ""
        assert sorted(p.relative_to(path) for p in path.rglob("*")) == before
        (sentence,) = [line for line in err.splitlines() if line.startswith("reid-build: ")]
        return sentence


@pytest.fixture
def board(monkeypatch, capsys, tmp_path):
    return Board(monkeypatch, capsys, tmp_path)


def stamp_of(path, name):
    return EngineStamp.from_json((path / "engines" / (name + ".json")).read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_builds_tests_and_stamps_int8(board, version):
    board.use(version)
    path = board.bundle()
    code, out, err = board.run(path, "--json")
    assert code == 0, err
    report = json.loads(out)
    plan = path / "engines" / "int8-gpu.plan"
    assert report["plan"] == str(plan) and report["size_bytes"] == plan.stat().st_size
    assert report["self_test"]["min_cosine"] == pytest.approx(1, abs=1e-5)
    assert report["self_test"]["inputs"] == 5
    assert report["reformat_layers"] == (None if version == "8.0.1" else 2)
    stamp = stamp_of(path, "int8-gpu")
    assert report["stamp"] == stamp.__dict__
    assert (stamp.tensorrt, stamp.sm, stamp.precision) == (version, "7.2", "int8")
    assert stamp.batch == {"min": 1, "opt": 4, "max": 16}
    assert stamp.onnx_sha256 == file_sha256(path / "model.int8.onnx")
    assert stamp.plan_sha256 == file_sha256(plan)
    names = sorted(p.name for p in plan.parent.iterdir())
    assert names == ["int8-gpu.json", "int8-gpu.plan", names[2]] and names[2].endswith(".cache")


@pytest.mark.parametrize("version", VERSIONS[:-1])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_precisions_by_flag(board, version, precision):
    board.use(version)
    path = board.bundle()
    assert board.run(path, "--precision", precision)[0] == 0
    flags = {"fp32": set(), "fp16": {"FP16"}, "int8": {"FP16", "INT8"}}[precision]
    assert board.trt._last_config._flags == flags
    model = "model.int8.onnx" if precision == "int8" else "model.fp32.onnx"
    assert stamp_of(path, precision + "-gpu").onnx_file == model


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_11_takes_precisions_from_the_model(board, precision):
    board.use("11.0")
    models = {
        "model.fp32": make_model("float"),
        "model.fp16": make_model("fp16"),
        "model.int8": make_model("qdq"),
    }
    path = board.bundle(models=models)
    code, out, _ = board.run(path, "--precision", precision)
    assert code == 0
    assert stamp_of(path, precision + "-gpu").onnx_file == "model.%s.onnx" % precision
    assert ("unquantized in fp32" in out) == (precision == "int8")


def test_tensorrt_11_without_an_fp16_model(board):
    board.use("11.0")
    path = board.bundle()
    said = board.refused(path, "--precision", "fp16")
    assert "TensorRT 11.0 takes precisions from the model" in said and "no fp16 model" in said


@pytest.mark.parametrize("version", WITH_DLA)
@pytest.mark.parametrize("device", ["dla0", "dla1"])
def test_int8_on_the_dla_takes_the_calibration_cache(board, version, device):
    board.use(version)
    path = board.bundle()
    code, out, err = board.run(path, "--device", device, "--batch", "4,4,4")
    assert code == 0, err
    config = board.trt._last_config
    assert config.DLA_core == int(device[-1])
    assert config._flags == {"INT8", "FP16", "GPU_FALLBACK"}
    stamp = stamp_of(path, "int8-" + device)
    assert stamp.onnx_file == "model.fp32.onnx" and stamp.device == device
    assert stamp.batch == {"min": 4, "opt": 4, "max": 4}
    assert "3 of 5 layers run on the DLA" in out
    with TensorRTBackend(
        path / "engines" / ("int8-%s.plan" % device), Bundle.open(path)
    ) as backend:
        assert backend.name == "tensorrt-%s-int8" % device
        assert len(backend.run(np.zeros((1, 3, HEIGHT, WIDTH), np.float32))) == 1


def test_fp16_on_the_dla_needs_no_cache_and_defaults_to_the_smallest_batch(board):
    path = board.bundle(cache=None, batch=(2, 4, 8))
    assert board.run(path, "--device", "dla0", "--precision", "fp16")[0] == 0
    assert stamp_of(path, "fp16-dla0").batch == {"min": 2, "opt": 2, "max": 2}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--device", "dla0", "--batch", "1,4,4"], "one batch size only"),
        (["--device", "dla0", "--precision", "fp32"], "fp16 or int8 only"),
        (["--workspace", "0"], "at least 1 MiB"),
        (["--batch", "1,4"], "MIN,OPT,MAX"),
        (["--batch", "4,2,8"], "1 <= min <= opt <= max"),
    ],
)
def test_impossible_requests(board, arguments, said):
    assert said in board.refused(board.bundle(), *arguments)


def test_a_board_without_dla(board):
    board.use("8.5.2", dla_cores=0)
    assert "this board has 0 DLA cores" in board.refused(board.bundle(), "--device", "dla0")


def test_int8_on_a_dla_without_calibrators(board):
    board.use("11.0")
    assert "no calibration cache" in board.refused(board.bundle(), "--device", "dla0")


def test_a_bundle_without_a_calibration_cache(board):
    assert "no calibration.cache" in board.refused(board.bundle(cache=None), "--device", "dla0")


def test_a_calibration_cache_of_another_kind(board):
    path = board.bundle(cache=CACHE.replace(b"Entropy", b"MinMax"))
    assert "EntropyCalibration2" in board.refused(path, "--device", "dla0")


def test_a_calibration_cache_tensorrt_rejects(board, monkeypatch):
    """Were the header not rewritten, TensorRT would ask for images, which must be an error."""
    monkeypatch.setattr("runtime.tensorrt_api.cache_for_version", lambda cache, version: cache)
    board.use("8.2.1")
    assert "did not accept the calibration cache" in board.refused(
        board.bundle(), "--device", "dla0"
    )


def test_without_tensorrt(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    said = board.refused(board.bundle())
    assert "TensorRT cannot be imported" in said and "--system-site-packages" in said


def test_without_a_cuda_package(board, monkeypatch):
    install_cuda(monkeypatch, None, board.device)
    assert "pip install cuda-python" in board.refused(board.bundle())


def test_a_plan_that_computes_something_else_is_deleted(board):
    board.use("8.5.2", broken=("int8",))
    path = board.bundle()
    said = board.refused(path, code=3)
    assert "failed its self-test" in said and "the plan was deleted" in said
    assert not (path / "engines").exists()
    assert board.run(path, "--precision", "fp16")[0] == 0


def test_a_failed_build_keeps_the_older_plan(board):
    path = board.bundle()
    assert board.run(path)[0] == 0
    plan = path / "engines" / "int8-gpu.plan"
    before = plan.read_bytes()
    board.use("8.5.2", broken=("int8",))
    board.refused(path, "--force", code=3)
    assert plan.read_bytes() == before


@pytest.mark.parametrize("missing", ["embedding_int8", "inputs"])
def test_a_golden_file_without_what_is_needed(board, missing):
    arrays = {
        "inputs": np.zeros((2, 3, HEIGHT, WIDTH), np.float32),
        "embedding_fp32": np.ones((2, 12), np.float32),
        "embedding_int8": np.ones((2, 12), np.float32),
    }
    del arrays[missing]
    assert missing in board.refused(board.bundle(golden=arrays))


def test_a_tampered_bundle(board):
    path = board.bundle()
    (path / "model.int8.onnx").write_bytes(make_model("qdq", seed=1))
    assert "SHA-256 differs" in board.refused(path, code=3)


def test_no_bundle_there(board, tmp_path):
    assert "is not a bundle" in board.refused(tmp_path)


def test_a_cpu_bundle_serves_floats_only(board):
    path = board.bundle(target="cpu")
    assert "exported for cpu" in board.refused(path)
    assert board.run(path, "--precision", "fp16")[0] == 0


def test_an_unparsable_model_shows_the_parsers_reason(board):
    models = {"model.fp32": make_model(), "model.int8": b"{not json"}
    said = board.refused(board.bundle(models=models))
    assert "cannot parse" in said and "node 7: No importer registered for op: Nonsense" in said


def test_a_failed_build_shows_tensorrts_reason(board):
    """A float model where the Q/DQ one should be: INT8 without scales cannot be built."""
    models = {"model.fp32": make_model(), "model.int8": make_model("float")}
    said = board.refused(board.bundle(models=models))
    assert "TensorRT 8.5.2 could not build model.int8.onnx for gpu" in said
    assert "INT8 needs a calibrator" in said


def test_a_model_of_fixed_batch(board):
    models = {"model.fp32": make_model(), "model.int8": make_model("qdq", batch=2)}
    path = board.bundle(models=models)
    assert "fixed batch size 2" in board.refused(path)
    assert board.run(path, "--batch", "2,2,2")[0] == 0


def test_a_fitting_plan_is_built_again_only_with_force(board):
    path = board.bundle()
    assert board.run(path)[0] == 0
    assert "pass --force" in board.refused(path)
    assert board.run(path, "--force")[0] == 0


def test_a_plan_of_another_version_is_replaced_without_force(board):
    path = board.bundle()
    assert board.run(path)[0] == 0
    board.use("8.6.0")
    assert board.run(path)[0] == 0
    assert stamp_of(path, "int8-gpu").tensorrt == "8.6.0"
    # one timing cache per device and version
    assert len(list((path / "engines").glob("*.cache"))) == 2


def test_the_timing_cache_is_kept_and_reused(board, tmp_path):
    path, cache = board.bundle(), tmp_path / "timings.bin"
    assert board.run(path, "--timing-cache", str(cache))[0] == 0
    assert cache.read_bytes() == b"timings 8.5.2 Xavier\n"
    assert board.run(path, "--timing-cache", str(cache), "--force")[0] == 0
    assert board.trt._last_config._cache._data == cache.read_bytes()


def test_a_timing_cache_from_elsewhere_is_refused(board, tmp_path):
    cache = tmp_path / "timings.bin"
    cache.write_bytes(b"timings 8.4.0 Orin\n")
    said = board.refused(board.bundle(), "--timing-cache", str(cache))
    assert "another device or TensorRT version" in said
    assert cache.read_bytes() == b"timings 8.4.0 Orin\n"


def test_a_timing_cache_that_cannot_be_saved_is_said(board, tmp_path):
    code, out, _ = board.run(board.bundle(), "--timing-cache", str(tmp_path / "no" / "t.bin"))
    assert code == 0 and "was not saved" in out


def test_a_full_disk_leaves_nothing(board, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    path = board.bundle()
    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device; no plan was kept" in board.refused(path)


def test_an_interrupt_leaves_nothing(board, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    path = board.bundle()
    monkeypatch.setattr("runtime.build.self_test", interrupt)
    assert "interrupted" in board.refused(path, code=130)


def test_workspace_reaches_tensorrt(board):
    assert board.run(board.bundle(), "--workspace", "64")[0] == 0
    assert board.trt._last_config._pools == {"WORKSPACE": 64 << 20}


def test_the_printed_report(board):
    code, out, err = board.run(board.bundle())
    assert code == 0
    for word in ("plan ", "self-test", "reformats       2", "SM 7.2", "power mode"):
        assert word in out
    assert "takes minutes" in err


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "reid-build market_rga_xavier --precision fp16" in capsys.readouterr().out


@pytest.mark.parametrize(
    "precision, device, flags, role",
    [
        ("int8", "gpu", True, "model.int8"),
        ("int8", "gpu", False, "model.int8"),
        ("int8", "dla0", True, "model.fp32"),
        ("fp16", "dla1", True, "model.fp32"),
        ("fp16", "gpu", True, "model.fp32"),
        ("fp16", "gpu", False, "model.fp16"),
        ("fp32", "gpu", False, "model.fp32"),
    ],
)
def test_choose_role(precision, device, flags, role):
    assert choose_role(precision, device, flags) == role


@given(st.lists(st.integers(1, 64), min_size=3, max_size=3))
def test_parse_batch(sizes):
    text = ",".join(map(str, sizes))
    if sizes == sorted(sizes):
        assert list(parse_batch(text).values()) == sizes
    else:
        with pytest.raises(ReidEdgeError):
            parse_batch(text)


class _Noisy:
    """A backend whose embeddings have a known cosine to the golden ones."""

    def __init__(self, golden, cosine):
        self.golden, self.cosine = golden, cosine

    def run(self, batch):
        side = np.roll(self.golden, 1, axis=1)  # orthogonal: golden rows are unit vectors
        return 7 * (self.cosine * self.golden + np.sqrt(1 - self.cosine**2) * side)


@pytest.mark.parametrize("precision", sorted(MIN_COSINE))
@pytest.mark.parametrize("offset, passes", [(2e-4, True), (-2e-4, False), (np.nan, False)])
def test_self_test_thresholds(tmp_path, precision, offset, passes):
    golden = np.eye(12, dtype=np.float32)[[0, 3]]
    path = tmp_path / "golden.npz"
    np.savez(
        str(path),
        inputs=np.zeros((2, 3, HEIGHT, WIDTH), np.float32),
        embedding_fp32=golden,
        embedding_int8=golden,
    )
    backend = _Noisy(golden, MIN_COSINE[precision] + offset)
    if passes:
        result = self_test(backend, path, precision)
        assert result["min_cosine"] == pytest.approx(MIN_COSINE[precision] + offset, abs=1e-6)
    else:
        with pytest.raises(VerificationError, match="failed its self-test"):
            self_test(backend, path, precision)


def test_a_real_onnx_file_end_to_end(board, tmp_path):
    """The fake's parser also takes ONNX, so the bytes of a real model travel the whole way."""
    onnx = pytest.importorskip("onnx", reason="onnx makes the model of this test")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime computes for the fake")
    helper, tensor_type = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.RandomState(0).standard_normal((3, 12)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", tensor_type, ["n", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("embedding", tensor_type, ["n", 12])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    inputs = np.random.RandomState(1).standard_normal((3, 3, HEIGHT, WIDTH)).astype(np.float32)
    golden = {"inputs": inputs, "embedding_fp32": inputs.mean(axis=(2, 3)) @ weights}
    path = board.bundle(
        models={"model.fp32": model.SerializeToString()}, golden=golden, precision="fp16"
    )
    code, out, err = board.run(path, "--json")
    assert code == 0, err
    assert json.loads(out)["self_test"]["min_cosine"] > 0.99999


def test_resolve_options_leaves_the_manifest_alone(board):
    from runtime.build import resolve_options

    bundle = Bundle.open(board.bundle())
    arguments = argparse.Namespace(
        precision="best",
        device="dla0",
        batch=None,
        workspace=1,
        timing_cache=None,
        force=False,
        verbose=False,
    )
    assert resolve_options(bundle, arguments).batch == {"min": 1, "opt": 1, "max": 1}
    assert bundle.manifest.batch == {"min": 1, "opt": 4, "max": 16}
