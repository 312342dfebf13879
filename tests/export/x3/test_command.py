"""``reid-export --target x3`` as a user runs it; files are read back without the writer's code."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import onnx
import pytest
import yaml

from runtime.bundle import Bundle
from runtime.embedder import Embedder
from runtime.preprocess import l2_normalize, preprocess, read_image
from tests.export.cli_helpers import (  # noqa: F401  (fixtures)
    HEIGHT,
    SIZE,
    WIDTH,
    checkpoint,
    data,
    place,
    refuse,
    run,
)

X3 = ["--target", "x3", "--height", "64", "--width", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def bundle(checkpoint, data, tmp_path_factory):  # noqa: F811
    from export.cli import main

    path = tmp_path_factory.mktemp("x3") / "small_x3"
    arguments = [*X3, "--weights", checkpoint, "--calib", data, "--eval", data, "--out", path]
    assert main([str(a) for a in arguments]) == 0
    return path


def test_bundle_opens_and_its_header_is_what_hb_mapper_takes(bundle):
    opened = Bundle.open(bundle)
    assert opened.manifest.target == "x3" and opened.manifest.batch == {
        "min": 1,
        "opt": 1,
        "max": 1,
    }
    model = onnx.load(str(opened.find("model.fp32")))
    assert [o.version for o in model.opset_import] == [11] and model.ir_version <= 7
    (given,) = model.graph.input
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 3, HEIGHT, WIDTH]
    (result,) = model.graph.output
    assert [d.dim_value for d in result.type.tensor_type.shape.dim] == [
        1, opened.manifest.embedding.dim, 1, 1,
    ]  # fmt: skip


def test_configuration_names_what_is_there_and_normalizes_once(bundle):
    config = yaml.safe_load((bundle / "x3" / "config.yaml").read_text())
    assert (bundle / "x3" / config["model_parameters"]["onnx_model"]).is_file()
    inputs = config["input_parameters"]
    assert inputs["input_type_rt"] == "nv12" and inputs["input_type_train"] == "rgb"
    assert inputs["input_space_and_range"] == "bt601_video"
    folder = bundle / "x3" / config["calibration_parameters"]["cal_data_dir"]
    files = sorted(folder.iterdir())
    assert folder.name.endswith("_f32") and len(files) >= 30
    sample = np.fromfile(files[0], np.float32)
    assert sample.size == 3 * HEIGHT * WIDTH
    assert sample.min() >= 0 and 100 < sample.max() <= 255  # pixels, not normalised
    mean = [float(v) for v in str(inputs["mean_value"]).split()]
    scale = [float(v) for v in str(inputs["scale_value"]).split()]
    np.testing.assert_allclose(mean, [123.675, 116.28, 103.53], rtol=1e-5)
    np.testing.assert_allclose(scale, [1 / 58.395, 1 / 57.12, 1 / 57.375], rtol=1e-5)


def test_calibration_pixels_through_the_configuration_are_the_networks_input(bundle, data):  # noqa: F811
    """(data - mean) * scale of a file is what the network is fed with, of one of the crops."""
    config = yaml.safe_load((bundle / "x3" / "config.yaml").read_text())
    inputs = config["input_parameters"]
    mean, scale = (
        np.array([float(v) for v in str(inputs[k]).split()]).reshape(3, 1, 1)
        for k in ("mean_value", "scale_value")
    )
    contract = Bundle.open(bundle).manifest.input
    crops = [read_image(p) for p in sorted((data / "bounding_box_train").iterdir())]
    fed = preprocess(crops, contract)
    folder = bundle / "x3" / config["calibration_parameters"]["cal_data_dir"]
    for path in sorted(folder.iterdir())[:5]:
        sample = np.fromfile(path, np.float32).reshape(3, HEIGHT, WIDTH)
        distance = np.abs(fed - (sample - mean) * scale).max(axis=(1, 2, 3))
        assert distance.min() < 1e-4 and np.sort(distance)[1] > 0.1  # that crop and no other


def test_golden_embeddings_are_those_of_the_boards_path(bundle):
    with np.load(bundle / "golden.npz") as golden:
        assert golden["inputs_nv12"].shape == (8, HEIGHT * WIDTH * 3 // 2)
        plain, nv12 = (l2_normalize(golden["embedding_int8" + s]) for s in ("", "_nv12"))
    cosines = (plain * nv12).sum(axis=1)
    assert 0.5 < cosines.min() < 0.9999  # of the same noisy crops, with less colour


def test_report_has_operators_accuracy_with_and_without_nv12_and_is_no_measurement(bundle):
    report = json.loads((bundle / "report.json").read_text())
    assert {"fp32", "int8", "int8_nv12"} <= set(report["accuracy"])
    part = report["x3"]
    speed = part["predicted_latency"]
    assert 0 < speed["low_ms"] < speed["latency_ms"] < speed["high_ms"] and speed["board"] == "x3"
    assert part["operators"]["counts"]["unsupported"] == 0 and part["toolchain"] is None
    assert all(step["relative_l2"] <= 1e-5 for step in part["rewrites"])
    page = (bundle / "report.html").read_text()
    assert "not measured" in page and "Simulated board" in page


def test_build_script_is_executable_and_valid_bash(bundle):
    script = bundle / "x3" / "build.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_runtime_opens_it_on_a_workstation(bundle, data):  # noqa: F811
    embedder = Embedder(Bundle.open(bundle))
    crops = [read_image(p) for p in sorted((data / "query").iterdir())[:3]]
    embeddings = embedder.embed(crops)
    assert embeddings.shape == (3, embedder.embedding.dim)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)


def test_check_only_says_where_nodes_run(bundle, capsys):
    model = Bundle.open(bundle).find("model.fp32")
    outcome = run(capsys, "--target", "x3", "--check-only", model, "--json")
    report = json.loads(outcome.out)
    assert outcome.status == 0 and report["ok"] and report["segments"] == 1
    simulated = Bundle.open(bundle).find("model.int8")
    outcome = run(capsys, "--target", "x3", "--check-only", simulated)
    assert outcome.status == 3 and "QuantizeLinear" in outcome.out
    broken = bundle / "report.json"
    assert run(capsys, "--target", "x3", "--check-only", broken).status == 2


def test_check_only_is_for_the_x3(place, capsys):  # noqa: F811
    outcome = run(capsys, "--target", "cpu", "--check-only", place)
    assert outcome.status == 2 and "are for --target x3" in outcome.err


def test_without_weights_the_default_network_is_exported_on_drawn_crops(place, capsys):  # noqa: F811
    outcome = run(
        capsys, "--target", "x3", "--calib-count", "8", "--threads", "1", "--out", place / "d"
    )
    assert outcome.status == 0
    for said in ("drawn crops", "0 on the CPU", "(predicted, not measured)", "x3/build.sh"):
        assert said in outcome.out
    bundle = Bundle.open(place / "d")
    config = yaml.safe_load((place / "d" / "x3" / "config.yaml").read_text())
    assert config["model_parameters"]["onnx_model"] == bundle.find("model.fp32").name
    assert bundle.manifest.network["arch"].startswith("rga_sc_resnet18")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--batch", "1,4,16"], "one crop at a time"),
        (["--precision", "fp16"], "--precision int8"),
        (["--improve", "distill"], "hb_mapper quantizes by itself"),
        (["--board-input", "yuv"], "nv12 or rgb or bgr or featuremap"),
        (["--calibration-type", "entropy"], "default or mix or kl or max"),
        (["--width", "40"], "multiple of 16"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(refuse, checkpoint, data, extra, said):  # noqa: F811
    assert said in refuse(*X3, "--weights", checkpoint, "--calib", data, *extra)


def test_other_targets_refuse_the_boards_options(refuse, checkpoint, data):  # noqa: F811
    said = refuse("--target", "cpu", *SIZE, "--weights", checkpoint, "--calib", data, "--board-input", "rgb")  # fmt: skip
    assert "is for --target x3" in said


def test_empty_calibration_folder(refuse, checkpoint, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    refuse(*X3, "--weights", checkpoint, "--calib", tmp_path / "empty")


def test_folding_needs_a_finished_run(bundle, capsys):
    outcome = run(capsys, "--target", "x3", "--fold", bundle)
    assert outcome.status == 2 and "run x3/build.sh first" in outcome.sentence
