"""reid-bench from the command line to the files it leaves, on a tiny network and drawn people."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import benchmark
from benchmarks.cli import main, parser
from benchmarks.results import Results
from benchmarks.variants import Variant
from tests.benchmarks.tiny_onnx import linear_model
from tests.benchmarks.tiny_run import DIM, HEIGHT, WIDTH, weights, write_bundle, write_market

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--repeats", "3", "--warmup", "1", "--threads", "1", "--no-memory", "--predict", "none")


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """Folders of a bundle, data, cache and results, and the command on them."""

    class Rig:
        data = write_market(tmp_path / "market1501", people=8, crops=7)
        bundle = write_bundle(tmp_path / "bundle")
        cache, out = tmp_path / "cache", tmp_path / "out"

        def __call__(self, *arguments, bundle=None, data=None):
            bundles = [str(b) for b in (bundle or [self.bundle])]
            given = ["--bundle", *bundles, "--data", *map(str, data or [self.data])]
            return main([*given, *self.common(), *arguments])

        def common(self):
            folders = ("--cache", str(self.cache), "--out", str(self.out), "--no-report")
            return [*QUICK, *folders, "--resamples", "100"]

        def results(self):
            return Results.load(self.out / "results.json")

    monkeypatch.chdir(tmp_path)
    return Rig()


def count_calls(monkeypatch, stop_after=None):
    """Variant.open counts the calls of networks; after ``stop_after`` comes Ctrl-C."""
    calls, known = [], Variant.open

    def opened(variant, bundle, threads=None):
        backend = known(variant, bundle, threads)
        run = backend.run

        def counted(batch):
            if stop_after is not None and len(calls) >= stop_after:
                raise KeyboardInterrupt
            calls.append(variant.name)
            return run(batch)

        backend.run = counted
        return backend

    monkeypatch.setattr(Variant, "open", opened)
    return calls


def test_a_whole_run(rig, capsys):
    assert rig("--batch", "1,4") == 0
    results = rig.results()
    assert results.complete and [row.variant for row in results.rows] == ["fp32", "int8"]
    assert results.command.startswith("reid-bench --bundle ")
    for row in results.rows:
        assert [(x.batch, x.threads) for x in row.latency] == [(1, 1), (4, 1)]
        assert (row.backend, row.how, row.bundle.name) == ("onnxruntime-cpu", "measured", "tiny")
        (accuracy,) = row.accuracy
        assert accuracy.dataset.name == "market1501" and accuracy.cross_domain is False
        assert accuracy.open_set is not None
        assert row.machine == results.machine
    fp32, int8 = results.rows
    assert int8.accuracy[0].drop.mAP.points == pytest.approx(
        fp32.accuracy[0].mAP - int8.accuracy[0].mAP
    )
    assert fp32.model_mb == pytest.approx(
        os.path.getsize(str(rig.bundle / "model.fp32.onnx")) / 2**20
    )
    assert sorted(path.name for path in rig.out.iterdir()) == ["results.json"]
    shown = capsys.readouterr()
    assert "int8" in shown.out and "market1501" in shown.out and "wrote" in shown.out
    assert "Traceback" not in shown.err


def test_what_cannot_be_simulated_here_is_said(rig, monkeypatch):
    monkeypatch.setattr("benchmarks.variants._has", lambda module: module == "onnxruntime")
    xavier = write_bundle(rig.bundle, target="xavier")
    assert rig("--accuracy-only", bundle=[xavier]) == 0
    results = rig.results()
    assert [row.variant for row in results.rows] == ["fp32", "int8"]
    assert any("fp16 is simulated, which needs the package onnx" in w for w in results.warnings)


def test_as_json(rig, capsys):
    assert rig("--json", "--accuracy-only") == 0
    printed = capsys.readouterr().out
    assert Results.from_json(printed) == rig.results()
    assert all(row.latency == [] and len(row.accuracy) == 1 for row in rig.results().rows)


def test_latency_alone_needs_no_data(rig):
    assert main(["--bundle", str(rig.bundle), "--latency-only", *rig.common()]) == 0
    assert all(row.accuracy == [] and len(row.latency) == 1 for row in rig.results().rows)


def test_reports_are_written_too(rig):
    arguments = [a for a in rig.common() if a != "--no-report"]
    assert main(["--bundle", str(rig.bundle), "--data", str(rig.data), *arguments]) == 0
    assert {"results.json", "report.html", "report.md"} <= {p.name for p in rig.out.iterdir()}


def test_several_bundles_and_sets_with_cross_domain_rows(rig, tmp_path):
    other = write_market(tmp_path / "msmt_like", people=6, crops=6, seed=5)
    duke = write_bundle(tmp_path / "duke", source="osnet_dukemtmcreid.pth")
    assert rig("--accuracy-only", "--dataset", "market1501", "dukemtmc",
               bundle=[rig.bundle, duke], data=[rig.data, other]) == 0  # fmt: skip
    rows = rig.results().rows
    assert [(r.bundle.trained_on, r.variant) for r in rows] == [
        ("market1501", "fp32"), ("market1501", "int8"), ("dukemtmc", "fp32"), ("dukemtmc", "int8"),
    ]  # fmt: skip
    crossed = [[(a.dataset.name, a.cross_domain) for a in row.accuracy] for row in rows]
    assert crossed[0] == crossed[1] == [("market1501", False), ("dukemtmc", True)]
    assert crossed[2] == crossed[3] == [("market1501", True), ("dukemtmc", False)]


def test_the_second_run_computes_no_embedding(rig, monkeypatch):
    assert rig("--accuracy-only") == 0
    first = rig.results()
    calls = count_calls(monkeypatch)
    assert rig("--accuracy-only") == 0
    assert calls == []
    assert [r.accuracy for r in rig.results().rows] == [r.accuracy for r in first.rows]
    # Only the figures are new with another seed of the bootstrap.
    assert rig("--accuracy-only", "--seed", "3") == 0 and calls == []


def test_an_interrupted_run_keeps_what_it_has_and_goes_on(rig, monkeypatch, capsys):
    calls = count_calls(monkeypatch, stop_after=60)
    known = benchmark.AccuracyJob.run

    def interrupted(job, progress=False):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark.AccuracyJob, "run", interrupted)
    assert rig() == 130
    assert "the same command goes on there" in capsys.readouterr().err
    partial = rig.results()
    assert not partial.complete and all(len(row.latency) == 1 for row in partial.rows)
    monkeypatch.setattr(benchmark.AccuracyJob, "run", known)
    monkeypatch.setattr(
        "benchmarks.timing_store.measure_latency", lambda *_: pytest.fail("timed again")
    )
    calls.clear()
    assert rig() == 0
    complete = rig.results()
    assert complete.complete and [r.latency for r in complete.rows] == [
        r.latency for r in partial.rows
    ]
    # A complete run is measured again when it is asked for again.
    assert not (rig.out / ".unfinished").exists()
    with pytest.raises(pytest.fail.Exception):
        rig()


def test_an_interrupt_while_timing(rig, monkeypatch, capsys):
    count_calls(monkeypatch, stop_after=2)
    assert rig() == 130
    assert not rig.out.exists(), "nothing was measured, so nothing is written over older results"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("int8.mAP_drop > 0.5", 1),
        ("int8.mAP_drop > 99", 0),
        ("fp32.mAP < 1 or int8.cosine_min < 0.999", 1),
    ],
)
def test_fail_if(rig, condition, status, capsys):
    assert rig("--accuracy-only", "--no-open-set", "--fail-if", condition) == status
    assert ("FAILED" in capsys.readouterr().err) == (status == 1)


def test_fail_if_is_read_before_anything_is_measured(rig, capsys):
    assert rig("--fail-if", "int8.mAP_drop >") == 2
    assert "cannot be read at its end" in capsys.readouterr().err and not rig.out.exists()
    assert rig("--accuracy-only", "--fail-if", "int8.speed > 1") == 2
    assert "int8.speed, which was not measured; there are: fp32." in capsys.readouterr().err


def test_two_runs_side_by_side(rig, tmp_path, capsys):
    assert rig("--accuracy-only") == 0
    shutil.copy(str(rig.out / "results.json"), str(tmp_path / "before.json"))
    worse = linear_model(np.sign(weights()).astype(np.float32), HEIGHT, WIDTH)
    assert rig("--accuracy-only", bundle=[write_bundle(rig.bundle, model_int8=worse)]) == 0
    capsys.readouterr()
    pair = [str(tmp_path / "before.json"), str(rig.out / "results.json")]
    assert main(["--compare", *pair]) == 0
    shown = capsys.readouterr().out
    assert "mAP" in shown and "int8" in shown and "|" in shown
    assert main(["--compare", *pair, "--json", "--fail-if", "change.int8.cosine_mean != 0"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["changes"] and "change.int8.cosine_mean is" in shown.err
    assert main(["--compare", *pair, "--fail-if", "change.fp32.mAP < 0"]) == 0


def test_the_comparison_as_files(rig, tmp_path, capsys):
    assert rig("--accuracy-only") == 0
    one = str(rig.out / "results.json")
    assert main(["--compare", one, one, "--out", str(tmp_path / "compared")]) == 0
    assert {p.name for p in (tmp_path / "compared").iterdir()} == {
        "compare.json", "compare.html", "compare.md",
    }  # fmt: skip


def test_alternatives_of_the_user_are_compared_with_fp32(rig, tmp_path, capsys):
    path = tmp_path / "mine.onnx"
    path.write_bytes(linear_model(weights(seed=4), HEIGHT, WIDTH))
    assert rig("--alternative", "mine=%s" % path) == 0
    mine = rig.results().rows[-1]
    assert (mine.variant, mine.alternative) == ("mine", "mine.onnx, given by the user")
    assert mine.accuracy[0].drop.reference == "fp32" and len(mine.latency) == 1
    capsys.readouterr()
    assert rig("--alternative", "int8=%s" % path) == 2
    assert "has a variant of that name" in capsys.readouterr().err


def test_a_sweep_goes_on_behind_a_broken_bundle_and_resumes(rig, tmp_path, capsys, monkeypatch):
    pytest.importorskip("yaml")
    pytest.importorskip("pydantic")
    second = write_bundle(tmp_path / "second", model_int8=linear_model(
        np.full((3 * HEIGHT * WIDTH, DIM), np.nan, np.float32), HEIGHT, WIDTH))  # fmt: skip
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "bundles: [none, bundle, second]\ndata: [{path: market1501, dataset: market1501}]\n"
        "options: {batch: [1], threads: [1], repeats: 3, predict: [none], jobs: 2}\n"
    )
    command = ["--sweep", str(sweep), *rig.common()]
    assert main(command) == 2
    results = rig.results()
    assert not results.complete
    assert [(r.bundle.name, r.variant, len(r.latency), len(r.accuracy)) for r in results.rows] == [
        ("tiny", "fp32", 1, 1), ("tiny", "int8", 1, 1), ("tiny", "fp32", 1, 0),
        ("tiny", "int8", 1, 0),
    ]  # fmt: skip
    failed = [warning for warning in results.warnings if warning.startswith("Failed: ")]
    assert len(failed) == 2 and "none is not a bundle" in failed[0] and "NaN" in failed[1]
    # What was wrong is mended; only that is measured, and the times of the first bundle are kept.
    write_bundle(second)
    sweep.write_text(sweep.read_text().replace("none, ", ""))
    assert main(command) == 0
    again = rig.results()
    assert again.complete and again.rows[0].latency == results.rows[0].latency
    assert all(len(row.accuracy) == 1 for row in again.rows)


def test_accuracy_on_a_ray_cluster_is_that_of_this_machine(rig, monkeypatch):
    from tests.benchmarks.fake_ray import FakeRay

    assert rig("--accuracy-only") == 0
    here = [row.accuracy for row in rig.results().rows]
    shutil.rmtree(str(rig.cache))
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    try:
        assert rig("--ray", "auto") == 0
    finally:
        fake.close()
    rows = rig.results().rows
    assert [row.accuracy for row in rows] == here
    assert all(len(row.latency) == 1 for row in rows), "timed here, not on the cluster"
    assert fake.calls[0] == ("init", "auto") and fake.calls[-1] == ("shutdown",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "A run needs at least one --bundle"),
        (["--bundle", "none", "--latency-only"], "none is not a bundle"),
        (["--bundle", "bundle"], "Accuracy needs an evaluation set, --data DIR"),
        (["--bundle", "bundle", "--data", "none"], "No evaluation folder none"),
        (["--bundle", "bundle", "--data", "empty"], "No query images in empty"),
        (["--bundle", "bundle", "--data", "strangers"], "No query in strangers has a true match"),
        (["--bundle", "nan", "--data", "market1501"], "Network int8 of bundle nan returns NaN"),
        (
            ["--bundle", "bundle", "--latency-only", "--backend", "tensorrt"],
            "tensorrt is not installed",
        ),
        (["--bundle", "bundle", "--latency-only", "--backend", "x"], "--backend must be one of"),
        (["--bundle", "bundle", "--latency-only", "--batch", "0"], "--batch takes whole numbers"),
        (["--bundle", "bundle", "--latency-only", "--batch", "1,a"], "got '1,a'"),
        (["--bundle", "bundle", "--latency-only", "--threads", "-1"], "--threads takes whole"),
        (["--bundle", "bundle", "--latency-only", "--jobs", "0"], "--jobs must be at least 1"),
        (
            ["--bundle", "bundle", "--data", "market1501", "--dataset", "x"],
            "--dataset must be one of",
        ),
        (
            ["--bundle", "bundle", "--data", "market1501", "--dataset", "folder", "folder"],
            "got 2 for 1 folders",
        ),
        (["--bundle", "bundle", "--data", "market1501", "--alternatives"], "give --calib DIR"),
        (["--bundle", "bundle", "--latency-only", "--out", "bundle/manifest.json"], "is a file"),
        (["--compare", "none.json", "none.json"], "Cannot read the results none.json"),
        (["--compare", "bundle/manifest.json", "x"], "is not a benchmark's results"),
        (
            ["--sweep", "none.yaml", "--bundle", "bundle"],
            "leave --bundle and --data out|PyYAML|Cannot",
        ),
    ],
)
def test_mistakes_are_one_sentence_and_exit_with_2(rig, tmp_path, capsys, arguments, said):
    for part in ("query", "bounding_box_test"):
        (tmp_path / "empty" / part).mkdir(parents=True)
        (tmp_path / "strangers" / part).mkdir(parents=True)
    for person, part in ((1, "query"), (2, "query"), (3, "bounding_box_test")):
        source = next(rig.data.glob("*/*.png"))
        name = "%04d_c%ds1_000001_00.png" % (person, 1 if part == "query" else 2)
        shutil.copy(str(source), str(tmp_path / "strangers" / part / name))
    nan = linear_model(np.full((3 * HEIGHT * WIDTH, DIM), np.nan, np.float32), HEIGHT, WIDTH)
    write_bundle(tmp_path / "nan", model_int8=nan)
    folders = ["--cache", str(rig.cache), "--no-report"]
    assert main([*QUICK, *folders, *arguments]) == 2
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("reid-bench: "), shown.err
    assert re.search(said, lines[0]) and shown.out == ""


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown and "exit status" in shown and "--fail-if" in shown


def test_run_py_works_from_a_checkout(rig, tmp_path):
    script = ROOT / "benchmarks" / "run.py"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(script), "--bundle", "bundle", "--data", "market1501", "--accuracy-only",
         *rig.common()],
        cwd=str(tmp_path), env=environment, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert rig.results().complete and done.stderr == b""


def test_the_installed_command_is_the_same(rig, capsys):
    from benchmarks import run

    assert run.main(["--latency-only", "--bundle", "none"]) == 2
    assert "none is not a bundle" in capsys.readouterr().err


def test_ctrl_c_ends_it_with_a_sentence(rig, tmp_path):
    script = ROOT / "benchmarks" / "run.py"
    process = subprocess.Popen(
        [sys.executable, str(script), "--bundle", "bundle", "--latency-only", *rig.common(),
         "--repeats", "1000000", "--seconds", "3600"],
        cwd=str(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        # It has begun once the variants' memory is mapped; a signal during imports is a traceback.
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and b"onnxruntime_pybind" not in (
            Path("/proc/%d/maps" % process.pid).read_bytes()
        ):
            time.sleep(0.05)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and error.startswith(b"reid-bench: interrupted; ")
    assert b"Traceback" not in error
