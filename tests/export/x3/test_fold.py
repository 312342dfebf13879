"""Taking the toolchain's result into a bundle."""

from __future__ import annotations

import json
import shutil

import pytest

from runtime.bundle import Bundle
from tests.export.cli_helpers import checkpoint, run  # noqa: F401  (fixtures)
from tests.export.x3.hb_logs import BOARD, CHECKER, FAILED, makertbin


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):  # noqa: F811
    from export.cli import main

    path = tmp_path_factory.mktemp("fold") / "small_x3"
    arguments = [
        "--target", "x3", "--height", "64", "--width", "32", "--threads", "1",
        "--weights", checkpoint, "--calib", _drawn(tmp_path_factory), "--out", path,
    ]  # fmt: skip
    assert main([str(a) for a in arguments]) == 0
    return path


def _drawn(factory):
    from tests.export.cli_helpers import market_folder

    return market_folder(factory.mktemp("fold_data") / "market")


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy behind a finished build.sh."""
    path = tmp_path / "small_x3"
    shutil.copytree(exported, path)
    logs = path / "x3" / "logs"
    logs.mkdir()
    (logs / "checker.txt").write_text(CHECKER)
    (logs / "makertbin.txt").write_text(makertbin())
    results = path / "x3" / "model_output"
    results.mkdir()
    arch = Bundle.open(path).manifest.network["arch"]
    (results / f"{arch}.bin").write_bytes(b"compiled")
    return path


def fold(capsys, path):
    return run(capsys, "--target", "x3", "--fold", path)


def test_model_and_result_are_part_of_the_bundle_afterwards(bundle, capsys):
    assert fold(capsys, bundle).status == 0
    opened = Bundle.open(bundle)
    assert opened.find("model.bin").read_bytes() == b"compiled"
    assert opened.has("x3.log") and opened.has("model.fp32")
    report = json.loads(opened.find("report").read_text())
    toolchain = report["x3"]["toolchain"]
    assert toolchain["success"] and toolchain["command"] == "makertbin"
    assert 0 < toolchain["output_cosine"] <= 1
    page = opened.find("report.html").read_text()
    assert "cosine of the output" in page and "Not run yet" not in page
    assert (bundle / "x3" / "model_output").is_dir()  # what the user's tools made stays


def test_folding_again_replaces_the_result(bundle, capsys):
    assert fold(capsys, bundle).status == 0
    (bundle / "x3" / "logs" / "board.txt").write_text(BOARD)
    assert fold(capsys, bundle).status == 0
    report = json.loads(Bundle.open(bundle).find("report").read_text())
    assert report["x3"]["toolchain"]["board"]["average_latency_ms"] > 0


def test_a_failed_build_is_reported_with_exit_3(bundle, capsys):
    (bundle / "x3" / "logs" / "makertbin.txt").write_text(FAILED)
    outcome = fold(capsys, bundle)
    assert outcome.status == 3 and not json.loads(outcome.out)["success"]
    assert not Bundle.open(bundle).has("model.bin")


def test_truncated_log_missing_model_and_other_bundles_change_nothing(bundle, capsys):
    before = (bundle / "manifest.json").read_text()
    log = bundle / "x3" / "logs" / "makertbin.txt"
    whole = log.read_text()
    log.write_text(whole[: len(whole) // 2])
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and "makertbin.txt" in outcome.sentence
    log.write_text(whole)
    next((bundle / "x3" / "model_output").glob("*.bin")).unlink()
    outcome = fold(capsys, bundle)
    assert outcome.status == 2 and "is not there" in outcome.sentence
    assert (bundle / "manifest.json").read_text() == before
    assert [p.name for p in bundle.parent.iterdir()] == ["small_x3"]
