"""What a user could take instead: ONNX Runtime's own quantization, other providers, other files."""

import numpy as np
import pytest

from benchmarks import alternatives
from benchmarks.alternatives import (
    ProviderBackend,
    QuantizeJob,
    provider_variants,
    user_alternatives,
)
from benchmarks.variants import plan_variants
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image
from tests.benchmarks.tiny_onnx import linear_model
from tests.benchmarks.tiny_run import DIM, HEIGHT, WIDTH, weights, write_bundle, write_market

CPU = "CPUExecutionProvider"


@pytest.fixture
def bundle(tmp_path):
    return Bundle.open(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def crops(tmp_path):
    """Training crops: the folder's name says what they are."""
    market = write_market(tmp_path / "market", people=3, crops=4)
    (market / "bounding_box_test").rename(market / "bounding_box_train")
    return market / "bounding_box_train"


def job(bundle, crops, tmp_path, count=8):
    return QuantizeJob(str(bundle.path), str(crops), count, 0, str(tmp_path / "cache"))


def test_onnxruntimes_static_quantization(bundle, crops, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    found = job(bundle, crops, tmp_path).run()
    assert [(v.name, v.precision) for v in found] == [
        ("ort_static", "int8"), ("ort_static_channel", "int8"),
    ]  # fmt: skip
    images = [read_image(path) for path in sorted(crops.iterdir())[:6]]
    pixels = preprocess(images, bundle.manifest.input)
    exact = pixels.reshape(6, -1) @ weights()
    for variant in found:
        assert b"QuantizeLinear" in open(variant.model, "rb").read()
        with variant.open(bundle, 1) as backend:
            got = backend.run(pixels)
        cosines = np.sum(got * exact, axis=1) / np.linalg.norm(got, axis=1)
        cosines /= np.linalg.norm(exact, axis=1)
        assert 0.99 < cosines.min() < 0.999999, "rounded, but not broken"
        assert "calibrated on 8 crops of bounding_box_train" in variant.notes[0]
    # The second time nothing is quantized; other crops are another model.
    monkeypatch.setattr(alternatives, "_quantize_static", lambda *_: pytest.fail("again"))
    assert job(bundle, crops, tmp_path).run() == found
    with pytest.raises(pytest.fail.Exception):
        job(bundle, crops, tmp_path, count=9).run()
    assert len(list((tmp_path / "cache" / "models").iterdir())) == 2


def test_a_network_that_the_tool_refuses_is_one_sentence(crops, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    bundle = Bundle.open(write_bundle(tmp_path / "bundle"))
    from onnxruntime import quantization

    def refuse(*_, **__):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(quantization, "quantize_static", refuse)
    with pytest.raises(ReidEdgeError, match=r"static quantization failed on .*: first line$"):
        job(bundle, crops, tmp_path).run()
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_crops_of_the_test_set_are_refused(bundle, tmp_path):
    market = write_market(tmp_path / "m", people=2, crops=4)
    with pytest.raises(ReidEdgeError, match="holds test crops"):
        job(bundle, market / "bounding_box_test", tmp_path).run()


def test_files_of_the_user(bundle, tmp_path):
    larger = Bundle.open(write_bundle(tmp_path / "larger", height=32, width=16))
    path = tmp_path / "original.onnx"
    path.write_bytes(linear_model(weights(seed=3), HEIGHT, WIDTH))
    ((number, variant),) = user_alternatives(["rga_original=%s" % path], [bundle])
    assert (number, variant.name, variant.precision) == (0, "rga_original", "fp32")
    assert variant.alternative == "original.onnx, given by the user" and variant.timed
    pixels = np.ones((2, 3, HEIGHT, WIDTH), np.float32)
    with variant.open(bundle, 1) as backend:
        np.testing.assert_allclose(
            backend.run(pixels), pixels.reshape(2, -1) @ weights(seed=3), rtol=1e-3, atol=1e-3
        )
    # It is put beside the first bundle that it fits.
    assert user_alternatives(["a=%s" % path], [larger, bundle])[0][0] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["x"], "NAME=FILE.onnx with a new name .* got 'x'"),
        (["=f.onnx"], "NAME=FILE.onnx"),
        (["../x=f.onnx"], "NAME=FILE.onnx"),
        (["x=none.onnx"], r"--alternative x: there is no file none\.onnx"),
    ],
)
def test_alternatives_that_cannot_be_read(bundle, given, said):
    with pytest.raises(ReidEdgeError, match=said):
        user_alternatives(given, [bundle])


def test_a_name_twice_and_a_file_that_fits_nothing(bundle, tmp_path):
    good = tmp_path / "good.onnx"
    good.write_bytes(linear_model(weights(), HEIGHT, WIDTH))
    with pytest.raises(ReidEdgeError, match="with a new name"):
        user_alternatives(["a=%s" % good, "a=%s" % good], [bundle])
    larger = tmp_path / "larger.onnx"
    larger.write_bytes(linear_model(np.ones((3 * 32 * 16, DIM), np.float32), 32, 16))
    longer = tmp_path / "longer.onnx"
    longer.write_bytes(linear_model(np.ones((3 * HEIGHT * WIDTH, 7), np.float32), HEIGHT, WIDTH))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    for path, said in (
        (larger, r"takes inputs of \(3, 32, 16\)"),
        (longer, "it returns 7 values and bundle bundle 24"),
        (broken, "ONNX Runtime .* cannot open"),
    ):
        with pytest.raises(ReidEdgeError, match="fits none of the bundles .*" + said):
            user_alternatives(["a=%s" % path], [bundle])


def test_other_providers_of_onnxruntime(bundle, tmp_path):
    variants = plan_variants(bundle)
    found = provider_variants(variants, [CPU, "AzureExecutionProvider", "DnnlExecutionProvider"])
    assert [(v.name, v.label, v.provider) for v in found] == [
        ("fp32_dnnl", "onnxruntime-dnnl", "DnnlExecutionProvider"),
        ("int8_dnnl", "onnxruntime-dnnl", "DnnlExecutionProvider"),
    ]
    assert found[0].numerics != variants[0].numerics
    xavier = Bundle.open(write_bundle(tmp_path / "x", target="xavier"))
    simulated = [v for v in plan_variants(xavier) if not v.timed]
    assert simulated and provider_variants(simulated, ["DnnlExecutionProvider"]) == []
    with pytest.warns(UserWarning), pytest.raises(
        ReidEdgeError, match=r"Dnnl.* cannot use it here"
    ):
        found[0].open(bundle, 1)  # it is not built into what is installed here


def test_the_backend_of_another_provider(bundle):
    path, shape = bundle.find("model.fp32"), bundle.manifest.input.shape
    pixels = np.random.RandomState(0).standard_normal((3, *shape)).astype(np.float32)
    with ProviderBackend(path, shape, CPU, threads=1) as backend:
        got = backend.run(pixels)
        assert backend.name == "onnxruntime-cpu"
    with plan_variants(bundle)[0].open(bundle, 1) as usual:
        np.testing.assert_allclose(got, usual.run(pixels), rtol=1e-4, atol=1e-4)
    with pytest.raises(ReidEdgeError, match=r"takes inputs of \(3, 16, 8\), but the contract"):
        ProviderBackend(path, (3, 8, 8), CPU)
    with pytest.raises(ReidEdgeError, match="cannot open"):
        ProviderBackend(bundle.path / "manifest.json", shape, CPU)
