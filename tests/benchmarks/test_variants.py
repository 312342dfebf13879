"""What of a bundle is run, by which backend, and what is only simulated."""

import sys
from types import ModuleType

import numpy as np
import pytest

from benchmarks import variants
from benchmarks.results import (
    MEASURED,
    SIMULATED_FP16,
    SIMULATED_X3,
    SIMULATED_X3_NV12,
    SIMULATED_XAVIER,
)
from benchmarks.variants import bundle_sha256, golden_inputs, plan_variants, prepare_of
from runtime.bundle import Bundle, file_sha256
from runtime.errors import ReidEdgeError
from runtime.nv12 import preprocess_nv12, through_nv12
from runtime.preprocess import preprocess
from tests.benchmarks.tiny_run import DIM, HEIGHT, WIDTH, write_bundle


def bundle(tmp_path, **options):
    return Bundle.open(write_bundle(tmp_path / "bundle", **options))


def planned(found):
    return [(v.name, v.how, v.timed) for v in found]


def test_a_bundle_for_this_cpu(tmp_path):
    opened = bundle(tmp_path)
    found = plan_variants(opened)
    assert planned(found) == [("fp32", MEASURED, True), ("int8", MEASURED, True)]
    assert found[1].model_sha256 == file_sha256(opened.find("model.int8"))
    assert {v.label for v in found} == {"onnxruntime-cpu"}
    pixels = np.ones((2, 3, HEIGHT, WIDTH), np.float32)
    with found[0].open(opened, 1) as fp32, found[1].open(opened, 1) as int8:
        assert fp32.run(pixels).shape == (2, DIM)
        assert not np.allclose(fp32.run(pixels), int8.run(pixels))


def test_a_bundle_for_a_xavier_off_the_board(tmp_path, monkeypatch):
    opened = bundle(tmp_path, target="xavier")
    monkeypatch.setattr(variants, "_has", lambda module: module in ("onnx", "onnxruntime"))
    assert planned(plan_variants(opened)) == [
        ("fp32", MEASURED, True),
        ("fp16", SIMULATED_FP16, False),
        ("int8", SIMULATED_XAVIER, False),
    ]
    monkeypatch.setattr(variants, "_has", lambda module: module == "onnxruntime")
    assert [v.name for v in plan_variants(opened)] == ["fp32", "int8"], "no onnx, no fp16"
    with pytest.raises(ReidEdgeError, match=r"fp16 is simulated, which needs the package onnx"):
        plan_variants(opened, precisions=["fp16"])
    int8 = plan_variants(opened, precisions=["int8"])[0]
    assert int8.as_written and "TensorRT" in int8.notes[0]


def test_a_bundle_for_an_x3_off_the_board(tmp_path):
    opened = bundle(tmp_path, target="x3", nv12=True)
    found = plan_variants(opened)
    assert planned(found) == [
        ("fp32", MEASURED, True),
        ("int8", SIMULATED_X3, False),
        ("int8_nv12", SIMULATED_X3_NV12, False),
    ]
    assert found[1].numerics != found[2].numerics
    crop = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert found[1].view(opened.manifest.input) is None
    seen = found[2].view(opened.manifest.input)(crop)
    # The crop has the network's size already; its colours are RGB only after preprocessing.
    np.testing.assert_array_equal(seen, through_nv12(crop))
    plain = bundle(tmp_path, target="x3")
    assert [v.name for v in plan_variants(plain)] == ["fp32", "int8"]


def test_plans_on_a_board(tmp_path, monkeypatch):
    opened = bundle(tmp_path, target="xavier")
    engines = opened.path / "engines"
    engines.mkdir()
    for name in ("int8-dla0.plan", "int8-gpu.plan", "fp16-gpu.plan"):
        (engines / name).write_bytes(name.encode())
    monkeypatch.setattr(variants, "_has", lambda module: module != "onnx")
    found = plan_variants(opened)
    assert [(v.name, v.backend, v.label) for v in found] == [
        ("fp32", "onnxruntime", "onnxruntime-cpu"),
        ("fp16", "tensorrt", "tensorrt-gpu-fp16"),
        ("int8", "tensorrt", "tensorrt-gpu-int8"),
        ("int8-dla0", "tensorrt", "tensorrt-dla0-int8"),
    ]
    assert all(v.how == MEASURED and v.timed for v in found)
    assert found[1].model_sha256 == file_sha256(engines / "fp16-gpu.plan")
    both = plan_variants(opened, ["tensorrt", "onnxruntime"], ["int8"])
    assert [(v.name, v.how) for v in both] == [
        ("int8", MEASURED), ("int8-dla0", MEASURED), ("int8@onnxruntime", SIMULATED_XAVIER),
    ]  # fmt: skip
    assert plan_variants(opened, ["tensorrt"], ["int8"]) == both[:2]


def test_a_compiled_model_on_an_x3(tmp_path, monkeypatch):
    roles = ("model.fp32", "model.int8", "model.bin")
    opened = bundle(tmp_path, target="x3", nv12=True, roles=roles)
    assert [v.name for v in plan_variants(opened)] == ["fp32", "int8", "int8_nv12"]
    monkeypatch.setitem(sys.modules, "hobot_dnn", ModuleType("hobot_dnn"))
    found = plan_variants(opened)
    assert [(v.name, v.label, v.how) for v in found] == [
        ("fp32", "onnxruntime-cpu", MEASURED),
        ("int8", "horizon-bpu", MEASURED),
    ]


def test_what_a_backend_is_fed(tmp_path):
    class Fake:
        input_kind = "nv12"

    class Plain:
        input_kind = "float"

    opened = bundle(tmp_path, target="x3", nv12=True)
    assert prepare_of(Fake()) is preprocess_nv12 and prepare_of(Plain()) is preprocess
    assert golden_inputs(opened, Fake()).dtype == np.uint8
    assert golden_inputs(opened, Plain()).shape == (5, 3, HEIGHT, WIDTH)
    assert golden_inputs(bundle(tmp_path), Fake()) is None
    assert golden_inputs(bundle(tmp_path, golden=False), Plain()) is None


def test_numerics_and_the_bundles_digest(tmp_path):
    opened = bundle(tmp_path, target="xavier")
    fp32, int8 = plan_variants(opened, precisions=["fp32", "int8"])
    assert "optimised" in fp32.numerics and "as written" in int8.numerics
    digest = bundle_sha256(opened)
    assert digest == bundle_sha256(opened) != bundle_sha256(bundle(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["openvino"],), "--backend must be one of auto, .*got 'openvino'"),
        ((["auto"], ["int4"]), "--precision must be one of fp32, fp16, int8, got 'int4'"),
        ((["tensorrt"],), r"Backend tensorrt is not installed .*; it can run onnxruntime"),
        (
            (["horizon"],),
            r"Backend horizon is not installed in this Python \(no module hobot_dnn\)",
        ),
    ],
)
def test_wishes_that_cannot_be_met(tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr(variants, "_has", lambda module: module == "onnxruntime")
    with pytest.raises(ReidEdgeError, match=said):
        plan_variants(bundle(tmp_path), *arguments)


def test_a_precision_the_bundle_does_not_hold(tmp_path, monkeypatch):
    opened = bundle(tmp_path, roles=("model.fp32",))
    with pytest.raises(ReidEdgeError, match=r"cannot run here in int8 .* holds golden, model.fp32"):
        plan_variants(opened, precisions=["fp32", "int8"])
    monkeypatch.setattr(variants, "_has", lambda module: False)
    with pytest.raises(ReidEdgeError, match=r"in any precision .* this Python has no backend"):
        plan_variants(opened)


def test_fp16_is_simulated_for_any_bundle_when_it_is_asked_for(tmp_path):
    pytest.importorskip("onnx")
    opened = bundle(tmp_path)
    fp32, fp16 = plan_variants(opened, precisions=["fp32", "fp16"])
    assert fp16.how == SIMULATED_FP16 and fp16.model == fp32.model
    pixels = np.random.RandomState(0).standard_normal((3, 3, HEIGHT, WIDTH)).astype(np.float32)
    with fp16.open(opened, 1) as half, fp32.open(opened, 1) as exact:
        near = half.run(pixels)
        np.testing.assert_allclose(near, exact.run(pixels), rtol=0.02, atol=0.05)
        np.testing.assert_array_equal(near, near.astype(np.float16))
