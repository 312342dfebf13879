"""Layers and ranges of a bundle, against values computed by hand."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.report.network_section import network_html, read_ranges
from benchmarks.report.plots import open_plotter
from benchmarks.variants import bundle_sha256
from runtime.bundle import Bundle, BundleWriter, file_sha256
from runtime.contract import EmbeddingContract, InputContract
from runtime.manifest import Manifest
from tests.benchmarks.report.page_reader import Page
from tests.benchmarks.report.sample_run import run
from tests.benchmarks.tiny_onnx import linear_model

HEIGHT, WIDTH, DIM = 8, 8, 3
WEIGHTS = np.random.RandomState(0).standard_normal((3 * HEIGHT * WIDTH, DIM)).astype(np.float32)
INPUTS = np.random.RandomState(1).standard_normal((5, 3, HEIGHT, WIDTH)).astype(np.float32)
PRODUCT = INPUTS.reshape(5, -1) @ WEIGHTS


def histograms():
    collect = pytest.importorskip("calibration.histogram")
    made = []
    for name, values in (("images", INPUTS), ("product", PRODUCT)):
        histogram = collect.TensorHistogram(name)
        histogram.update(values)
        made.append(histogram)
    return made


def write_bundle(path, target="cpu", calibrated=True, report=None):
    with BundleWriter(path) as writer:
        model = writer.file("model.fp32.onnx", "model.fp32")
        model.write_bytes(linear_model(WEIGHTS, HEIGHT, WIDTH, ("Relu",)))
        np.savez(str(writer.file("golden.npz", "golden")), inputs=INPUTS)
        if calibrated:
            table = pytest.importorskip("calibration.table").CalibrationTable.from_histograms(
                histograms(), "percentile", file_sha256(model), percentile=80.0
            )
            table.save(writer.file("calibration.json", "calibration.table"))
        if report is not None:
            writer.file("report.json", "report").write_text(json.dumps(report), encoding="utf-8")
        writer.finish(
            Manifest(
                name="tiny", target=target, precision="int8",
                network={"family": "t", "arch": "linear", "trained": True, "source": None, "source_sha256": None, "notes": []},
                input=InputContract(height=HEIGHT, width=WIDTH), embedding=EmbeddingContract(dim=DIM),
                batch={"min": 1, "opt": 1, "max": 4}, files=writer.entries(),
                created_utc="2026-01-02T03:04:05+00:00",
            )
        )  # fmt: skip
    return path


def run_of(path):
    """The sample run, about this bundle."""
    digest = bundle_sha256(Bundle.open(path))
    record = dataclasses.replace(run().rows[0].bundle, sha256=digest, name="tiny")
    rows = [dataclasses.replace(r, bundle=record) for r in run().rows]
    return dataclasses.replace(run(), rows=rows)


def page_of(path, plotter=None):
    page = Page(network_html(run_of(path), [path], plotter))
    assert page.problems == [] and page.outside() == []
    return page


def test_ranges_take_the_form_of_the_target(tmp_path):
    found, method = read_ranges(Bundle.open(write_bundle(tmp_path / "cpu")))
    assert method == "percentile" and [r.name for r in found] == ["images", "product"]
    images = found[0]
    assert (images.seen_low, images.seen_high) == pytest.approx(
        (INPUTS.min(), INPUTS.max()), rel=1e-6
    )
    assert images.seen_low < images.low < 0 < images.high < images.seen_high
    expected = (images.high - images.low) / (images.seen_high - images.seen_low)
    assert images.kept == pytest.approx(expected) and images.kept < 1
    symmetric, _ = read_ranges(Bundle.open(write_bundle(tmp_path / "xavier", "xavier")))
    assert symmetric[0].low == -symmetric[0].high


def test_layers_are_listed_by_error(tmp_path):
    errors = {"quiet": 0.001, "<worst>": 0.5, "middle": 0.25, "odd": "text", "nan": None}
    page = page_of(write_bundle(tmp_path / "b", calibrated=False, report={"layer_errors": errors}))
    names = [page.text.index(name) for name in ("<worst> 0.500", "middle 0.250", "quiet 0.001")]
    assert names == sorted(names) and "odd" not in page.text


def test_a_search_shows_what_each_layer_brings(tmp_path):
    report = {"search": {"sensitivity": {"conv": 0.00125}}}
    page = page_of(write_bundle(tmp_path / "b", calibrated=False, report=report))
    assert "conv 0.00125" in page.text


@pytest.mark.parametrize("report", [[], {"layer_errors": 3, "search": None}, {}])
def test_a_report_of_another_form_is_passed_over(tmp_path, report):
    page = page_of(write_bundle(tmp_path / "b", calibrated=False, report=report))
    assert page.text == ""


def test_only_bundles_of_the_run_are_shown(tmp_path):
    path = write_bundle(tmp_path / "b", report={"layer_errors": {"conv": 0.5}}, calibrated=False)
    page = Page(network_html(run(), [path, tmp_path / "gone"], None))
    assert "conv" not in page.text and "bundles were not at hand: net_cpu, net_x3" in page.text


@pytest.mark.skipif(open_plotter() is None, reason="matplotlib is not installed")
def test_histograms_hold_every_value(tmp_path):
    pytest.importorskip("onnx")
    from benchmarks.report.network_section import collect_values

    path = write_bundle(tmp_path / "b")
    found, crops = collect_values(Bundle.open(path), ["images", "product"])
    assert crops == 5
    edges, counts = found["product"]
    assert sum(counts) == PRODUCT.size
    # a value may fall into a neighbour of its bin by the width of a collected one
    exact = np.cumsum(np.histogram(PRODUCT, edges)[0])
    assert np.abs(np.cumsum(counts) - exact).max() <= 1
    page = page_of(path, open_plotter())
    assert len(page.all("figure")) == 2 and "5 golden crops" in page.text


def test_without_onnx_the_ranges_are_still_told(tmp_path, monkeypatch):
    import sys

    plotter = open_plotter()
    if plotter is None:
        pytest.skip("matplotlib is not installed")
    path = write_bundle(tmp_path / "b")
    for name in [name for name in sys.modules if name == "calibration.collect"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    page = page_of(path, plotter)
    assert page.all("figure") == [] and "Histograms are left out" in page.text
    assert "Values seen" in page.text
