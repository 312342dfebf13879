"""What every backend promises, the ONNX Runtime backend, and the choice between backends."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backends import open_backend
from runtime.backends.base import Backend
from runtime.bundle import ENGINES_DIR, Bundle
from runtime.errors import ReidEdgeError
from tests.runtime.fake_bundle import HEIGHT, WIDTH, make_bundle

ROOT = Path(__file__).resolve().parents[2]
DIM = 6
WEIGHT = np.linspace(-1, 1, DIM * 3).reshape(DIM, 3).astype(np.float32)


def images(count, seed=0):
    generator = np.random.RandomState(seed)
    return generator.standard_normal((count, 3, HEIGHT, WIDTH)).astype(np.float32)


def expected(batch):
    """The tiny network by its definition: 1x1 convolution, ReLU, global average."""
    convolved = np.einsum("oc,nchw->nohw", WEIGHT, batch, optimize=True)
    return np.maximum(convolved, 0).mean(axis=(2, 3))


def tiny_onnx(batch="N", inputs=1, outputs=1, scale=1.0):
    """The tiny network as a serialised ONNX model; needs onnx."""
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    float32 = onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("Conv", ["images", "w"], ["c"]),
        onnx.helper.make_node("Relu", ["c"], ["r"]),
        onnx.helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        onnx.helper.make_node("Flatten", ["g"], ["embedding"]),
        onnx.helper.make_node("Identity", ["embedding"], ["other"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value(name, float32, [batch, 3, HEIGHT, WIDTH]) for name in ("images", "more")[:inputs]],
        [value(name, float32, [batch, DIM]) for name in ("embedding", "other")[:outputs]],
        [onnx.numpy_helper.from_array(WEIGHT[:, :, None, None] * np.float32(scale), "w")],
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=7).SerializeToString()


class Echo(Backend):
    """Returns the first pixel of each image and remembers the batch sizes it was asked for."""

    name = "echo"
    input_shape = (3, 2, 2)

    def __init__(self, max_batch, min_batch=1):
        self.min_batch, self.max_batch = min_batch, max_batch
        self.asked = []
        self.closed = False

    def _run(self, batch):
        assert batch.flags.c_contiguous
        self.asked.append(len(batch))
        return batch[:, :1, 0, 0].copy()

    def close(self):
        self.closed = True


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.none() | st.integers(0, 6))
def test_batches_are_split_and_padded_to_the_engines_sizes_and_stay_in_order(count, least, more):
    most = None if more is None else least + more
    backend = Echo(most, least)
    batch = np.arange(count * 12, dtype=np.float32).reshape(count, 3, 2, 2)
    np.testing.assert_array_equal(backend.run(batch)[:, 0], batch[:, 0, 0, 0])
    assert all(least <= size <= (most or max(least, count)) for size in backend.asked)
    assert len(backend.asked) == -(-count // (most or count))


@pytest.mark.parametrize(
    "batch, message",
    [
        (np.zeros((3, 2, 2), np.float32), r"expects \(N, 3, 2, 2\) with N >= 1, got \(3, 2, 2\)"),
        (np.zeros((1, 2, 2, 3), np.float32), r"got \(1, 2, 2, 3\)"),
        (np.zeros((0, 3, 2, 2), np.float32), r"got \(0, 3, 2, 2\)"),
        (np.zeros((1, 3, 2, 2), np.float64), "expects float32 input, got float64"),
        (np.zeros((1, 3, 2, 2), np.uint8), "got uint8"),
    ],
)
def test_wrong_input_is_refused_before_the_engine_sees_it(batch, message):
    backend = Echo(None)
    with pytest.raises(ReidEdgeError, match=message):
        backend.run(batch)
    assert backend.asked == []


def test_a_view_of_a_larger_array_reaches_the_engine_contiguous():
    wide = np.arange(2 * 3 * 2 * 4, dtype=np.float32).reshape(2, 3, 2, 4)
    assert Echo(None).run(wide[:, :, :, ::2]).tolist() == [[0], [24]]


def test_with_closes_the_backend_even_after_an_error():
    with pytest.raises(RuntimeError), Echo(None) as backend:
        raise RuntimeError
    assert backend.closed


def test_onnxruntime_runs_the_network():
    from runtime.backends.onnxruntime import OnnxRuntimeBackend

    with OnnxRuntimeBackend(tiny_onnx(), (3, HEIGHT, WIDTH), threads=1) as backend:
        assert (backend.name, backend.input_shape) == ("onnxruntime-cpu", (3, HEIGHT, WIDTH))
        assert backend.max_batch is None
        for count in (1, 7):
            got = backend.run(images(count))
            assert got.shape == (count, DIM) and got.dtype == np.float32
            np.testing.assert_allclose(got, expected(images(count)), rtol=1e-5, atol=1e-6)


def test_onnxruntime_with_a_fixed_batch_pads_and_splits():
    from runtime.backends.onnxruntime import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(tiny_onnx(batch=4), threads=1)
    assert (backend.min_batch, backend.max_batch) == (4, 4)
    for count in (1, 4, 6, 8):
        got = backend.run(images(count))
        np.testing.assert_allclose(got, expected(images(count)), rtol=1e-5, atol=1e-6)


def test_onnxruntime_refuses_a_model_that_is_no_reid_network(tmp_path):
    from runtime.backends.onnxruntime import OnnxRuntimeBackend

    with pytest.raises(ReidEdgeError, match=r"one NCHW input and one output, got 1 .* 2 outputs"):
        OnnxRuntimeBackend(tiny_onnx(outputs=2), threads=1)
    with pytest.raises(ReidEdgeError, match="got 2 inputs"):
        OnnxRuntimeBackend(tiny_onnx(inputs=2), threads=1)
    with pytest.raises(ReidEdgeError, match=r"but the contract says \(3, 256, 128\)"):
        OnnxRuntimeBackend(tiny_onnx(), (3, 256, 128), threads=1)


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x08\x07\x12"])
def test_onnxruntime_names_a_file_it_cannot_open(tmp_path, content):
    pytest.importorskip("onnxruntime")
    from runtime.backends.onnxruntime import make_session

    model = tmp_path / "broken.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(ReidEdgeError, match=r"cannot open .*broken.onnx: ") as caught:
        make_session(model)
    assert "\n" not in str(caught.value)


def real_bundle(path, **options):
    """A bundle whose fp32 model is the tiny network and whose int8 model doubles it."""
    models = {"model.fp32": tiny_onnx(), "model.int8": tiny_onnx(scale=2.0)}
    return Bundle.open(make_bundle(path, models=models, dim=DIM, **options))


def test_default_is_the_bundles_own_precision(tmp_path):
    bundle = real_bundle(tmp_path / "b", target="cpu")
    batch = images(3)
    np.testing.assert_allclose(
        open_backend(bundle, threads=1).run(batch), 2 * expected(batch), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        open_backend(bundle, precision="fp32", threads=1).run(batch),
        expected(batch),
        rtol=1e-5,
        atol=1e-6,
    )


def test_choice_is_logged_and_a_slow_one_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="runtime.backends"):
        open_backend(real_bundle(tmp_path / "cpu", target="cpu"), threads=1)
        assert [r.levelname for r in caplog.records] == ["INFO"]
        assert "model.int8.onnx" in caplog.text
        caplog.clear()
        open_backend(real_bundle(tmp_path / "xavier"), threads=1)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "about fp32 speed" in warning and "--target cpu" in warning


@pytest.mark.parametrize(
    "options, message",
    [
        ({"backend": "cuda"}, "one of auto, tensorrt, horizon, onnxruntime, got 'cuda'"),
        ({"backend": "onnxruntime", "precision": "int4"}, "has no model.int4"),
        ({"precision": "fp16"}, r"has no model.fp16; it holds .*model.fp32"),  # and no substitute
        ({"backend": "tensorrt"}, r"no TensorRT plan for int8 \(found none\); run reid-build"),
    ],
)
def test_what_the_bundle_cannot_serve_is_refused(tmp_path, options, message):
    pytest.importorskip("onnxruntime")
    bundle = Bundle.open(make_bundle(tmp_path / "b"))
    with pytest.raises(ReidEdgeError, match=message):
        open_backend(bundle, **options)


def test_a_plan_of_another_precision_is_not_silently_replaced(tmp_path):
    bundle = Bundle.open(make_bundle(tmp_path / "b"))
    (bundle.path / ENGINES_DIR).mkdir()
    (bundle.path / ENGINES_DIR / "fp16-gpu.plan").write_bytes(b"plan")
    with pytest.raises(ReidEdgeError, match=r"for int8 \(found fp16-gpu.plan\)"):
        open_backend(bundle)


def test_missing_onnxruntime_is_one_sentence(tmp_path, monkeypatch):
    bundle = Bundle.open(make_bundle(tmp_path / "b"))
    monkeypatch.delitem(sys.modules, "runtime.backends.onnxruntime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    with pytest.raises(
        ReidEdgeError, match=r"needs ONNX Runtime.*cannot be imported.*run reid-build"
    ):
        open_backend(bundle)


def test_the_device_side_loads_no_backend_before_it_is_needed():
    script = (
        "import sys, runtime.embedder, runtime.build\n"
        "heavy = {'onnxruntime', 'tensorrt', 'pycuda', 'cuda', 'torch', 'onnx', 'onnxsim'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=str(ROOT), stdout=subprocess.PIPE, check=True
    )
    assert result.stdout.decode().strip() == "[]"
