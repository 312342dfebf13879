"""``reid-export`` from end to end: what the bundle holds and what the command says."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

import export.pipeline
import export.search
from calibration.table import CalibrationTable
from calibration.trt_cache import from_trt_cache
from export.cli import main
from export.crops import drawn_crops
from export.graph import Graph
from export.ranges import model_sha256
from models.zoo import demo_crops
from runtime.backends.onnxruntime import OnnxRuntimeBackend
from runtime.bundle import Bundle
from runtime.embedder import Embedder
from runtime.preprocess import l2_normalize
from tests.export.cli_helpers import QUICK, SIZE, Outcome, checkpoint, data, run

INT8_ROLES = {
    "model.fp32", "model.int8", "calibration.table", "golden", "report", "report.html",
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """A finished export: the bundle, opened and verified, and what was printed."""

    bundle: Bundle
    outcome: Outcome

    @property
    def report(self) -> dict:
        return json.loads(self.bundle.find("report").read_text())

    @property
    def golden(self):
        return np.load(self.bundle.find("golden"))


@pytest.fixture
def exporting(capsys, checkpoint, data, tmp_path):
    """Export the small checkpoint; by default with the drawn data for everything."""

    def export_(*arguments, evaluate=True) -> Exported:
        command = ["--weights", checkpoint, *SIZE, *QUICK, "--calib", data]
        command += ["--eval", data] if evaluate else []
        outcome = run(capsys, *command, *arguments, "--out", tmp_path / "bundle")
        assert outcome.status == 0, outcome.err
        assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
        return Exported(Bundle.open(tmp_path / "bundle"), outcome)

    return export_


def check_golden(exported: Exported) -> None:
    """The files in the bundle give what the export recorded; a board's INT8 file is run as written."""
    bundle = exported.bundle
    for precision in (name for name in ("fp32", "fp16", "int8") if bundle.has("model." + name)):
        optimize = not (precision == "int8" and bundle.manifest.target == "xavier")
        model = bundle.find("model." + precision)
        with OnnxRuntimeBackend(model, threads=1, optimize=optimize) as backend:
            found = backend.run(exported.golden["inputs"])
        expected = exported.golden["embedding_" + precision]
        assert np.isfinite(expected).all()
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def check_default(bundle: Bundle, out: str) -> None:
    """What an INT8 bundle for Xavier of the built-in network must be."""
    manifest = bundle.manifest
    assert (manifest.target, manifest.precision) == ("xavier", "int8")
    assert set(bundle.roles()) == INT8_ROLES | {"calibration.cache"}
    assert manifest.network["trained"] is True
    assert any("research use only" in note for note in manifest.network["notes"])
    # Its ranges were found on real crops and are stored; drawn ones only check that it runs.
    assert manifest.calibration["improvements"] == []
    model = onnx.load(bundle.find("model.fp32"))
    tensors = {t for n in model.graph.node for t in n.output} | {model.graph.input[0].name}
    cache = from_trt_cache(bundle.find("calibration.cache").read_text())
    assert len(cache.scales) > 20 and set(cache.scales) <= tensors
    assert (cache.trt_version, cache.kind) == ("8502", "EntropyCalibration2")
    table = CalibrationTable.load(bundle.find("calibration.table"))
    assert cache.scales == pytest.approx(table.scales, rel=1e-6)
    assert table.network_sha256 == manifest.files["model.fp32.onnx"]["sha256"]
    assert table.network_sha256 == model_sha256(model)
    assert "note: limits: " in out
    assert out.rstrip().splitlines()[-1].startswith("Next: ")
    golden = np.load(bundle.find("golden"))
    assert golden["inputs"].shape[1:] == manifest.input.shape
    assert golden["embedding_int8"].shape == (len(golden["inputs"]), manifest.embedding.dim)


@pytest.mark.slow
def test_built_in_network(capsys, tmp_path):
    outcome = run(capsys, "--target", "xavier", *QUICK, "--out", tmp_path / "bundle")
    assert outcome.status == 0, outcome.err
    check_default(Bundle.open(tmp_path / "bundle"), outcome.out)


@pytest.mark.slow
def test_built_in_network_without_any_option(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run(capsys, "--target", "xavier")
    assert outcome.status == 0, outcome.err
    (folder,) = (tmp_path / "bundles").iterdir()
    assert folder.name == "rga_sc_resnet18_w32_linear512_xavier"
    check_default(Bundle.open(folder), outcome.out)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_embedder_on_crops_gives_golden(capsys, checkpoint, tmp_path, precision):
    """From pixels: the drawn crops of the export are drawn again and go through the runtime.

    INT8 without --calib is for the built-in network alone.
    """
    network = ["--weights", checkpoint, *SIZE] if precision == "fp32" else []
    outcome = run(
        capsys, "--target", "cpu", *network, *QUICK, "--precision", precision, "--seed", "3",
        "--out", tmp_path / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    bundle = Bundle.open(tmp_path / "bundle")
    golden = np.load(bundle.find("golden"))
    inputs = drawn_crops(bundle.manifest.input, seed=3).held_out[: len(golden["inputs"])]
    assert np.array_equal(inputs, golden["inputs"])
    images = [image for image, _, _ in demo_crops(24, 8, 3)]
    order = np.random.default_rng(3).permutation(len(images))[: len(inputs)]
    found = Embedder(bundle).embed([images[i] for i in order])
    expected = l2_normalize(golden["embedding_" + bundle.manifest.precision])
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_int8_for_xavier_with_accuracy(exporting):
    exported = exporting("--target", "xavier")
    assert set(exported.bundle.roles()) == INT8_ROLES | {"calibration.cache"}
    check_golden(exported)
    manifest, report = exported.bundle.manifest, exported.report
    assert manifest.accuracy == report["accuracy"]
    assert set(manifest.parity) == {"traced", "rewritten", "int8"}
    assert manifest.parity["rewritten"]["relative_l2_max"] < 1e-4
    assert 0.97 < manifest.parity["int8"]["cosine_mean"] < 1.0
    assert manifest.calibration["crops"]["layout"] == "market1501"
    assert manifest.network["source"] == "small.pth"
    accuracy = report["accuracy"]
    drop = accuracy["fp32"]["mAP"] - accuracy["int8"]["mAP"]
    assert accuracy["int8"]["mAP_drop"] == pytest.approx(drop, abs=1e-6)
    assert accuracy["dataset"]["queries"] == 16
    assert set(report["layers"]["int8"]) | set(report["layers"]["float"]) == {
        n.name for n in Graph(onnx.load(exported.bundle.find("model.fp32"))).nodes
        if n.op_type in ("Conv", "Gemm")
    }  # fmt: skip

    lines = exported.outcome.out.rstrip().splitlines()
    assert re.split(r"  +", lines[0])[:3] == ["file", "size", "precision"]
    for line, precision in zip(lines[2:4], ("fp32", "int8")):
        assert line.startswith("model.%s.onnx" % precision)
        assert "%.2f" % accuracy[precision]["mAP"] in line
    assert lines[4].startswith("int8: mAP %+.2f points against fp32" % -drop)
    assert lines[-1] == "Next: copy it to the board and run there  reid-build bundle"


def test_batch_stays_free(exporting):
    exported = exporting("--target", "xavier", "--batch", "1,2,3", evaluate=False)
    assert exported.bundle.manifest.batch == {"min": 1, "opt": 2, "max": 3}
    assert exported.report["accuracy"] is None
    for role in ("model.fp32", "model.int8"):
        graph = onnx.load(exported.bundle.find(role)).graph
        shapes = [v.type.tensor_type.shape.dim for v in (*graph.input, *graph.output)]
        assert [s[0].dim_param for s in shapes] == ["batch", "batch"]
        assert [d.dim_value for d in shapes[0][1:]] == [3, 64, 32]


def test_json_is_one_object(exporting):
    exported = exporting("--target", "cpu", "--json")
    assert len(exported.outcome.out.splitlines()) == 1
    found = json.loads(exported.outcome.out)
    for precision in ("fp32", "int8"):
        assert 0 < found["accuracy"][precision]["mAP"] <= 100
        assert 0 <= found["accuracy"][precision]["rank1"] <= 100
        assert found["latency_ms"][precision]["p50_ms"] > 0
        assert 0 < found["parity"]["int8"]["cosine_mean"] <= 1
    assert found["files"] == exported.bundle.manifest.files
    assert found["bundle"] == str(exported.bundle.path)
    stored = exported.report
    assert {k: found[k] for k in stored} == stored


def test_int8_for_cpu(exporting):
    exported = exporting("--target", "cpu", evaluate=False)
    assert set(exported.bundle.roles()) == INT8_ROLES
    check_golden(exported)
    sizes = {e["role"]: e["size_bytes"] for e in exported.bundle.manifest.files.values()}
    assert sizes["model.int8"] < 0.4 * sizes["model.fp32"]
    assert 'Embedder(Bundle.open("' in exported.outcome.out.rstrip().splitlines()[-1]


def test_fp16(exporting):
    exported = exporting("--target", "xavier", "--precision", "fp16")
    assert set(exported.bundle.roles()) == {
        "model.fp32",
        "model.fp16",
        "golden",
        "report",
        "report.html",
    }
    assert exported.bundle.manifest.precision == "fp16"
    assert exported.bundle.manifest.calibration is None
    check_golden(exported)
    assert exported.report["parity"]["fp16"]["cosine_mean"] > 0.9999
    assert abs(exported.report["accuracy"]["fp16"]["mAP_drop"]) < 1.0
    found = Embedder(exported.bundle).embed([image for image, _, _ in demo_crops(2, 2)])
    assert found.shape == (4, exported.bundle.manifest.embedding.dim)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("target", ["xavier", "cpu"])
def test_fp32(exporting, target):
    exported = exporting("--target", target, "--precision", "fp32")
    assert set(exported.bundle.roles()) == {"model.fp32", "golden", "report", "report.html"}
    assert exported.bundle.manifest.precision == "fp32"
    check_golden(exported)
    assert set(exported.report["accuracy"]) == {"fp32", "dataset"}


def test_fp16_needs_no_data(capsys, checkpoint, tmp_path):
    outcome = run(
        capsys, "--target", "xavier", "--precision", "fp16", *SIZE, "--weights", checkpoint,
        "--out", tmp_path / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert Bundle.open(tmp_path / "bundle").manifest.accuracy is None


def test_options_reach_the_contract(exporting):
    exported = exporting(
        "--target", "cpu", "--precision", "fp32", "--color", "BGR", "--resize", "area",
        "--mean", "0.5,0.4,0.3", "--std", "0.2,0.2,0.3", "--feature", "before_neck", evaluate=False,
    )  # fmt: skip
    contract = exported.bundle.manifest.input
    assert (contract.height, contract.width, contract.color) == (64, 32, "BGR")
    assert (contract.mean, contract.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.3))
    assert contract.resize == "area"
    assert exported.bundle.manifest.embedding.feature == "before_neck"


def test_same_seed_same_network(capsys, checkpoint, data, tmp_path):
    digests = []
    for name in ("one", "two"):
        outcome = run(
            capsys, "--target", "xavier", "--weights", checkpoint, *SIZE, *QUICK, "--calib", data,
            "--out", tmp_path / name,
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        files = Bundle.open(tmp_path / name).manifest.files
        digests.append([files["model.%s.onnx" % p]["sha256"] for p in ("fp32", "int8")])
    assert digests[0] == digests[1]


# -- --precision auto ----------------------------------------------------------------------------


def test_auto_that_holds_at_once_keeps_nothing_in_float(exporting):
    exported = exporting("--target", "xavier", "--precision", "auto", "--max-map-drop", "100")
    search = exported.report["search"]
    assert search["kept_float"] == exported.bundle.manifest.kept_float == []
    assert [count for count, _ in search["trials"]] == [0]
    assert exported.bundle.manifest.precision == "int8"
    assert search["mAP_drop"] == exported.report["accuracy"]["int8"]["mAP_drop"]


def test_auto_lists_the_layers_it_left_in_float(exporting, monkeypatch):
    honest = export.search.search

    def search(quantizer, base, map_drop, limit, progress):
        def drop(candidate):
            map_drop(candidate)  # the pipeline keeps its report
            return 2.0 - 0.5 * (len(base.placement.weights) - len(candidate.placement.weights))

        return honest(quantizer, base, drop, limit, progress)

    monkeypatch.setattr(export.pipeline, "search", search)
    exported = exporting("--target", "xavier", "--precision", "auto", "--max-map-drop", "0.6")
    kept = exported.bundle.manifest.kept_float
    assert len(kept) == 3 and exported.report["search"]["mAP_drop"] == pytest.approx(0.5)
    graph = Graph(onnx.load(exported.bundle.find("model.int8")))
    producers = {n.name: graph.producer(n.input[1]) for n in graph.nodes if n.op_type == "Conv"}
    assert all(producers[name] is None for name in kept), "their weights are plain floats"
    assert sum(p is not None for p in producers.values()) == len(exported.report["layers"]["int8"])
    assert not set(kept) & set(exported.report["layers"]["int8"])
    cache = from_trt_cache(exported.bundle.find("calibration.cache").read_text()).scales
    read = {
        n.input[0]
        for n in onnx.load(exported.bundle.find("model.fp32")).graph.node
        if n.name in kept
    }
    assert read and not read & set(cache)


def test_auto_that_cannot_hold_gives_the_best_and_says_so(exporting, monkeypatch):
    honest = export.search.search

    def search(quantizer, base, map_drop, limit, progress):
        def drop(candidate):
            map_drop(candidate)
            return 9.0 - 0.01 * (len(base.placement.weights) - len(candidate.placement.weights))

        return honest(quantizer, base, drop, limit, progress)

    monkeypatch.setattr(export.pipeline, "search", search)
    exported = exporting("--target", "xavier", "--precision", "auto", "--max-map-drop", "0")
    layers = len(exported.report["layers"]["int8"])
    best = 9.0 - 0.01 * len(exported.bundle.manifest.kept_float)
    assert layers == 1, "all others are in float: the best of bad choices"
    assert exported.report["search"]["mAP_drop"] == pytest.approx(best)
    warning = (
        "no choice of float layers held the mAP drop at 0.00 points; the best found loses %.2f"
        % best
    )
    assert any(text.startswith(warning) for text in exported.report["warnings"])
    assert "note: " + warning in exported.outcome.out


# -- real data -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_osnet_on_market1501(capsys, shared, tmp_path):
    """The headline command: fp32 as published on this set, INT8 within a quarter of a point."""
    market = shared / "data" / "market1501"
    outcome = run(
        capsys, "--target", "xavier", "--json",
        "--weights", shared / "weights" / "osnet_x0_25_market1501.pth",
        "--calib", market / "bounding_box_train", "--eval", market, "--out", tmp_path / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    accuracy = json.loads(outcome.out)["accuracy"]
    assert accuracy["fp32"]["mAP"] == pytest.approx(86.15, abs=0.15)
    assert accuracy["fp32"]["rank1"] == pytest.approx(95.27, abs=0.2)
    assert accuracy["fp32"]["mAP"] - accuracy["int8"]["mAP"] <= 0.25
    assert Bundle.open(tmp_path / "bundle").manifest.precision == "int8"


def test_help_needs_no_input(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "exit status: 0 done, 2 the input cannot be used" in capsys.readouterr().out
