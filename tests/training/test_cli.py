"""``reid-train`` as a user calls it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

import export.cli
import training.trainer
from benchmarks.datasets import open_retrieval_set
from models.checkpoint import load_network
from runtime.bundle import Bundle
from tests.conftest import ROOT
from tests.training.drawn_people import TINY
from tests.training.small_data import (
    OCCUPIED,
    TESTSETS,
    protocol_rows,
    write_protocol,
    write_raw,
)
from training.cli import main
from training.recipe import shipped

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = [
    "schedule.epochs=2",
    "network.width=8",
    "network.height_px=64",
    "network.width_px=32",
    "sampler.persons=4",
    "sampler.images=2",
    "sampler.batch=8",
    "data.workers=0",
    "schedule.warmup_epochs=1",
    "schedule.milestones=[1]",
]
OF_RECIPE = {"small": ["network.dim=64"]}


def train(capfd, *given, sets=SMALL):
    """Exit status, what was printed, and what was said on stderr."""
    sets = [part for value in sets for part in ("--set", value)]
    status = main([*map(str, given), *sets, "--threads", "1", "--device", "cpu"])
    said = capfd.readouterr()
    return status, said.out, said.err


def failed(capfd, *given, sets=SMALL):
    """The one sentence on stderr of a run that exits with 2."""
    status, out, err = train(capfd, *given, sets=sets)
    (line,) = [line for line in err.splitlines() if line.startswith("reid-train: ")]
    assert status == 2 and out == "" and err.endswith(line + "\n")
    return line


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_from_images_to_a_bundle(name, market, teacher_file, tmp_path, capfd):
    out = tmp_path / "run"
    taught = ["--teacher", teacher_file] if name == "small" else []
    status, printed, _ = train(
        capfd, "--recipe", name, "--data", market, "--eval", market, "--out", out, *taught,
        sets=[*SMALL, *OF_RECIPE.get(name, [])],
    )  # fmt: skip
    assert status == 0
    figures, curves, following = printed.splitlines()
    assert ": 2 epochs in 0.00 h, loss " in figures and ", mAP " in figures
    assert str(out / "curves.png") in curves and (out / "curves.png").is_file()
    assert f"reid-export --target xavier --weights {out / 'best.pth'} --calib" in following

    best = load_network(out / "best.pth")
    assert (best.family, best.input.shape) == ("reid-edge", (3, 64, 32))
    assert any(note.startswith(f"recipe: {name}") for note in best.notes)
    arguments = ["--target", "cpu", "--precision", "fp32", "--weights", str(out / "best.pth")]
    bundle = tmp_path / "bundle"
    assert export.cli.main([*arguments, "--out", str(bundle), "--threads", "1"]) == 0
    assert Bundle.open(bundle).manifest.embedding.dim == best.embedding.dim


def test_json_is_the_record(market, tmp_path, capfd):
    out = tmp_path / "run"
    _, printed, _ = train(capfd, "--recipe", "bot", "--data", market, "--out", out, "--json")
    record = json.loads(printed)
    assert record.pop("out") == str(out)
    assert record == json.loads((out / "run.json").read_text())
    assert record["status"] == "finished" and record["data"]["layout"] == "market1501"


def test_out_has_a_default(people, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, printed, _ = train(capfd, "--recipe", "bot", "--data", people, "--identities", "4")
    assert status == 0 and "--weights runs/bot/last.pth" in printed
    assert (tmp_path / "runs" / "bot" / "last.pth").is_file()


def test_recipes_and_fields_are_listed(capfd):
    assert main(["--recipes"]) == 0
    listed = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in listed] == shipped()
    assert all(len(line) > 40 for line in listed)
    assert main(["--fields"]) == 0
    fields = capfd.readouterr().out
    assert "schedule.epochs (120)\n    length of the run\n" in fields
    assert "network.width (64)\n    Channels of the first stage" in fields


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--recipe", "bott"], "No recipe 'bott'; choose bot, rga, small"),
        (["--recipe", "none.yaml"], "Cannot read recipe none.yaml"),
        (["--recipe", "bot", "--set", "schedule.epoks=3"], "schedule.epoks is not a field"),
        (["--recipe", "bot", "--set", "schedule.epochs=three"], "schedule.epochs Input should be"),
        (["--recipe", "bot", "--set", "sampler.persons=40"], "40 persons .* needs 40 identities"),
        (["--recipe", "bot", "--identities", "1"], "at least 2 identities, got a limit of 1"),
        (["--recipe", "bot", "--resume"], "No training run in"),
        (["--recipe", "small"], "learns from a teacher; pass --teacher"),
        (["--recipe", "bot", "--teacher", "x.pth"], "has no distillation loss"),
        (["--recipe", "bot", "--include-val"], "Only MSMT17"),
        (["--recipe", "bot", "--protocol", "x.mat"], "x.mat"),
    ],
)
def test_mistake_is_one_sentence(given, said, people, tmp_path, capfd):
    sets = [*SMALL, *given[given.index("--set") + 1 :]] if "--set" in given else SMALL
    given = given[: given.index("--set")] if "--set" in given else given
    out = tmp_path / "run"
    line = failed(capfd, *given, "--data", people, "--out", out, sets=sets)
    assert re.search(said, line) and not out.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "x"], "--recipe is required"),
        (["--recipe", "bot"], "--data is required"),
        (["--recipe", "bot", "--data", "x", "--set", "seed"], "expected FIELD=VALUE, got 'seed'"),
        (["--recipe", "bot", "--data", "x", "--threads", "0"], "expected a number from 1, got '0'"),
    ],
)
def test_usage_errors(given, said, capfd):
    with pytest.raises(SystemExit) as error:
        main(given)
    assert error.value.code == 2 and said in capfd.readouterr().err


def test_unreadable_image_with_and_without_the_flag(people, tmp_path, capfd):
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(people, data)
    (data / "p03" / "1.jpg").write_bytes(b"\xff\xd8 cut")
    given = ["--recipe", "bot", "--data", data, "--out", out]
    assert "p03/1.jpg" in failed(capfd, *given) and not out.exists()
    status, _, said = train(capfd, *given, "--skip-unreadable")
    assert status == 0 and "left out: 1 that cannot be read" in said
    assert "already holds a training run" in failed(capfd, *given, "--skip-unreadable")


def wait_for(path, process, timeout_s=120.0):
    """Until a child has written a file."""
    end = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {path.name} after {timeout_s} s"
        time.sleep(0.02)


def tiny_yaml(tmp_path, epochs, workers):
    path = tmp_path / "tiny.yaml"
    changed = {"schedule": {"epochs": epochs, "warmup_epochs": 0}, "data": {"workers": workers}}
    path.write_text(yaml.safe_dump({**TINY, **changed}))
    return path


def test_interrupted_by_the_keyboard_and_resumed(people, tmp_path, capfd):
    """Ctrl-C reaches the whole group, workers too; the run stops behind a step and goes on."""
    out, recipe = tmp_path / "run", tiny_yaml(tmp_path, epochs=12, workers=1)
    given = [
        "--recipe",
        recipe,
        "--data",
        people,
        "--out",
        out,
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "training.cli", *map(str, given)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(out / "state.pt", process)
    os.killpg(process.pid, signal.SIGINT)
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 130 and printed == ""
    assert "Traceback" not in said and "epoch 1/12: loss " in said
    assert "stopping behind this step; again to stop at once" in said
    assert said.endswith("reid-train: interrupted; continue with --resume.\n")
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "interrupted" and 1 <= record["epochs_done"] < 12
    status, printed, said = train(capfd, *given[:-4], "--resume", sets=[])
    assert status == 0 and ": 12 epochs in" in printed and "resumed in epoch" in said
    rows = (out / "curves.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [str(epoch) for epoch in range(1, 13)]


def test_interrupt_before_training_starts(people, tmp_path, capfd, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.run.build_network", interrupt)
    status, printed, said = train(
        capfd, "--recipe", "bot", "--data", people, "--out", tmp_path / "run"
    )
    assert status == 130 and printed == "" and "reid-train: interrupted" in said
    assert not (tmp_path / "run").exists()


def test_cuhk03_is_made_a_folder_and_trained_on(tmp_path, capfd):
    mat = write_raw(tmp_path / "cuhk-03.mat", OCCUPIED, TESTSETS)
    rows = protocol_rows(OCCUPIED["labeled"])
    protocol = write_protocol(tmp_path / "cuhk03_new_protocol_config_labeled.mat", rows)
    refused = failed(capfd, "--recipe", "bot", "--data", tmp_path, "--out", tmp_path / "run")
    assert "extract it first with `reid-train data`" in refused

    given = ["data", str(mat), "--kind", "labeled", "--out", str(tmp_path / "np")]
    assert main([*given, "--protocol", str(protocol)]) == 0
    printed = capfd.readouterr().out.splitlines()
    made = tmp_path / "np" / "labeled"
    assert printed[0] == str(made) and f"--data {made} --eval {made}" in printed[1]
    assert open_retrieval_set(made).layout == "market"
    status, _, _ = train(
        capfd, "--recipe", "bot", "--data", made, "--eval", made, "--out", tmp_path / "run",
        sets=[*SMALL, "sampler.persons=3"],
    )  # fmt: skip
    assert status == 0

    assert (
        main(["data", str(mat), "--kind", "detected", "--split", "0", "--out", str(tmp_path)]) == 0
    )
    capfd.readouterr()
    for wrong, said in (
        ([*given, "--protocol", str(protocol)], "already exists"),
        (given, "either the new protocol's .mat file or the number of a classic split"),
        ([*given[:3], "drawn", *given[4:], "--split", "0"], "labeled and detected boxes, got"),
    ):
        assert main(wrong) == 2
        error = capfd.readouterr().err
        assert error.startswith("reid-train data: ") and said in error and error.count("\n") == 1


def test_line_per_epoch_goes_to_a_log_and_not_to_a_terminal(people, tmp_path, monkeypatch, caplog):
    def lines(terminal):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        caplog.clear()
        sets = [part for value in SMALL for part in ("--set", value)]
        out = tmp_path / f"{terminal}"
        assert main(["--recipe", "bot", "--data", str(people), "--out", str(out), *sets]) == 0
        return [r for r in caplog.records if r.name == training.trainer.__name__]

    assert len(lines(False)) == 2 and len(lines(True)) == 0
