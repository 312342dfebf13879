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
from tests.training.drawn_people import TINY, write_market
from tests.training.small_data import (
    OCCUPIED,
    TESTSETS,
    protocol_rows,
    write_protocol,
    write_raw,
)
from training.cli import main
from training.recipe import shipped
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = [
    "schedule.epochs=2",
    "network.width=8",
    "network.height_px=64",
    "network.width_px=32",
    "sampler.persons=4",
    "sampler.images=2",
    "data.workers=0",
    "schedule.warmup_epochs=1",
    "schedule.milestones=[1]",
]
OF_RECIPE = {
    "small": [*SMALL[:4], "sampler.batch=8", "data.workers=0", "schedule.warmup_epochs=1", "network.dim=64"],
    "finetune": ["schedule.epochs=2", *SMALL[4:7], "schedule.warmup_epochs=1"],
}  # fmt: skip


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
    taught = {
        "small": ["--teacher", teacher_file],
        "finetune": ["--init", teacher_file],
    }.get(name, [])
    status, printed, _ = train(
        capfd, "--recipe", name, "--data", market, "--eval", market, "--out", out, *taught,
        sets=OF_RECIPE.get(name, SMALL),
    )  # fmt: skip
    assert status == 0
    figures, *compared, curves, following = printed.splitlines()
    assert [line[:8] for line in compared] == (["best:   "] if name == "finetune" else [])
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
        (["--recipe", "bott"], "No recipe 'bott'; choose bot, finetune, rga"),
        (["--recipe", "none.yaml"], "Cannot read recipe none.yaml"),
        (["--recipe", "bot", "--set", "schedule.epoks=3"], "schedule.epoks is not a field"),
        (["--recipe", "bot", "--set", "schedule.epochs=three"], "epochs should be .*, got 'three'"),
        (["--recipe", "bot", "--set", "sampler.persons=40"], "--set sampler.persons=8 .or less"),
        (["--recipe", "bot", "--set", "losses.circle.margin=1.5"], "less than 1, got 1.5"),
        (["--recipe", "finetune"], "pass --init default"),
        (["--recipe", "bot", "--views", "none.csv"], "none.csv"),
        (["--recipe", "bot", "--identities", "1"], "at least 2 identities, got a limit of 1"),
        (["--recipe", "bot", "--resume"], "No training run in"),
        (["--recipe", "small"], "learns from a teacher; pass --teacher"),
        (["--recipe", "bot", "--teacher", "x.pth"], "has no distillation loss"),
        (["--recipe", "bot", "--include-val"], "Only MSMT17"),
        (["--recipe", "bot", "--protocol", "x.mat"], "x.mat"),
    ],
)
def test_mistake_is_one_sentence(given, said, people, tmp_path, capfd):
    sets = OF_RECIPE.get(given[1], SMALL)
    if "--set" in given:
        sets = [*sets, *given[given.index("--set") + 1 :]]
    given = given[: given.index("--set")] if "--set" in given else given
    out = tmp_path / "run"
    line = failed(capfd, *given, "--data", people, "--out", out, sets=sets)
    assert re.search(said, line) and not out.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "x"], "--recipe is required"),
        (["--recipe", "bot"], "--data is required"),
        (["--resume"], "--resume needs --out"),
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
    line = f"reid-train: interrupted; continue with reid-train --resume --out {out}\n"
    assert said.endswith(line)
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "interrupted" and 1 <= record["epochs_done"] < 12
    status, printed, said = train(capfd, "--resume", "--out", out, sets=[])
    assert status == 0 and ": 12 epochs in" in printed and "resumed in epoch" in said
    rows = (out / "curves.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [str(epoch) for epoch in range(1, 13)]


@pytest.mark.parametrize("where", ["build_network", "CropImages.open", "Trainer"])
def test_interrupt_before_training_starts(where, people, tmp_path, capfd, monkeypatch):
    """While images are checked or read there is nothing to continue, and no folder is left."""

    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"training.run.{where}", interrupt)
    status, printed, said = train(
        capfd, "--recipe", "bot", "--data", people, "--out", tmp_path / "run"
    )
    assert status == 130 and printed == ""
    line = "reid-train: interrupted before anything was saved; run the same command again.\n"
    assert said.endswith(line)
    assert not (tmp_path / "run").exists()


def stopped_behind(steps, monkeypatch, capfd, *given, sets=SMALL):
    """A run that a signal stops behind so many steps."""
    real, done = Trainer._step, []

    def stopping(self, *what):
        done.append(0)
        if len(done) == steps:
            self.request_stop()
        return real(self, *what)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        assert train(capfd, *given, sets=sets)[0] == 130


def untimed(out):
    """The curves without their clock."""
    rows = (out / "curves.csv").read_text().splitlines()
    return [row.rpartition(",")[0] for row in rows]


def test_resuming_takes_everything_from_the_run(market, teacher_file, tmp_path, capfd, monkeypatch):
    """Recipe, data, evaluation and start are those of the run; the end is as without a stop."""
    monkeypatch.chdir(market.parent)
    given = ["--recipe", "finetune", "--init", teacher_file, "--data", market.name]
    given += ["--eval", market.name, "--identities", "6"]
    sets = [*OF_RECIPE["finetune"], "evaluate_every_epochs=1"]
    assert train(capfd, *given, "--out", tmp_path / "whole", sets=sets)[0] == 0
    stopped_behind(2, monkeypatch, capfd, *given, "--out", tmp_path / "run", sets=sets)
    monkeypatch.chdir(tmp_path)  # paths were relative
    status, _, said = train(capfd, "--resume", "--out", "run", sets=[])
    assert status == 0 and "resumed in epoch 1" in said
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")
    whole, record = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "run")
    )
    for name in ("start", "best_mAP", "best_epoch", "init", "evaluation", "asked", "data"):
        assert record[name] == whole[name], name
    for name in ("best.pth", "last.pth"):
        one, other = (load_network(tmp_path / folder / name) for folder in ("whole", "run"))
        assert one.notes == other.notes
        pairs = zip(one.network.state_dict().values(), other.network.state_dict().values())
        assert all(a.equal(b) for a, b in pairs)
    assert any("started from: teacher.pth (SHA-256 " in note for note in one.notes)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--eval", "OTHER"], r"was judged on .* now other images are given with --eval"),
        (["--data", "OTHER"], "other training images"),
        (["--identities", "5"], "was started without --identities, now it is 5"),
        (["--recipe", "rga"], "another recipe"),
        (["--set", "seed=3"], r"another recipe \(different: seed\)"),
        (["--set", "schedule.epochs=1"], "schedule.epochs 1"),
    ],
)
def test_resuming_with_something_else_is_refused(given, said, market, tmp_path, capfd, monkeypatch):
    out = tmp_path / "run"
    start = ["--recipe", "bot", "--data", market, "--eval", market, "--out", out]
    stopped_behind(1, monkeypatch, capfd, *start)
    other = write_market(tmp_path / "other", 6, 3)
    given = [str(other) if value == "OTHER" else value for value in given]
    sets = [] if given[0] != "--recipe" else [s for s in SMALL if "milestones" not in s]
    sets = [*sets, "schedule.milestones=[1]"] if sets else []
    if given[0] == "--set":
        given, sets = [], given[1:]
    assert re.search(said, failed(capfd, "--resume", "--out", out, *given, sets=sets))
    assert train(capfd, "--resume", "--out", out, sets=[])[0] == 0


def test_a_run_of_an_older_version_says_what_is_missing(people, tmp_path, capfd, monkeypatch):
    out = tmp_path / "run"
    stopped_behind(1, monkeypatch, capfd, "--recipe", "bot", "--data", people, "--out", out)
    record = json.loads((out / "run.json").read_text())
    del record["asked"]
    (out / "run.json").write_text(json.dumps(record))
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    for name in ("fine_tune", "keep_start"):
        del recipe[name]
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert "does not say what it was trained on; pass --data" in failed(
        capfd, "--resume", "--out", out, sets=[]
    )
    assert train(capfd, "--resume", "--out", out, "--data", people, sets=[])[0] == 0


def test_a_diverged_run_goes_on_as_its_message_says(people, tmp_path, capfd, monkeypatch):
    out = tmp_path / "run"
    given = ["--recipe", "bot", "--data", people]
    assert train(capfd, *given, "--out", out)[0] == 0
    last = out / "last.pth"
    diverging = [*SMALL, "optimizer.learning_rate=1e30"]
    line = failed(capfd, *given, "--init", last, "--out", tmp_path / "b", sets=diverging)
    assert (
        "start anew with --out" in line
    )  # nothing was saved yet, and the folder may be used again
    assert train(capfd, *given, "--init", last, "--out", tmp_path / "b")[0] == 0


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


def test_a_log_gets_a_line_per_epoch_and_a_terminal_the_judged_ones(
    market, tmp_path, monkeypatch, caplog
):
    def lines(terminal):
        monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
        caplog.clear()
        sets = [part for value in SMALL for part in ("--set", value)]
        given = ["--recipe", "bot", "--data", market, "--eval", market]
        assert main([*map(str, given), "--out", str(tmp_path / f"{terminal}"), *sets]) == 0
        return [r.getMessage() for r in caplog.records if r.name == training.trainer.__name__]

    assert len(lines(False)) == 2
    (judged,) = lines(True)
    assert judged.startswith("epoch 2/2: ") and ", mAP " in judged and ", Rank-1 " in judged
