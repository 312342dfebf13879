"""Processes: alone, which device each takes, and two that train as one with twice the batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
import yaml

from models.checkpoint import load_network
from runtime.errors import ReidEdgeError
from tests.conftest import ROOT
from tests.training.drawn_people import SPEC, TINY
from training.cli import main
from training.distributed import join


@pytest.fixture
def cuda(monkeypatch):
    """A machine with two GPUs; remembers which is made current."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def test_alone_everything_agrees_with_itself():
    alone = join("cpu")
    assert (alone.rank, alone.world_size, alone.first, str(alone.device)) == (0, 1, True, "cpu")
    assert alone.agree(True) and not alone.agree(False)
    values = torch.tensor([1.0, 3.0])
    assert torch.equal(alone.mean(values), values)
    alone.wait()
    alone.close()


@pytest.mark.parametrize(
    ("asked", "number"), [(None, 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)]
)
def test_gpu_is_named_by_number(cuda, asked, number):
    """A device without a number cannot be made the current one."""
    assert join(asked).device == torch.device("cuda", number)
    assert cuda == [torch.device("cuda", number)]


def test_cpu_is_used_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert join().device == torch.device("cpu")


@pytest.mark.parametrize(
    ("asked", "said"),
    [("gpu", "Expected the device"), ("cuda:x", "Expected the device"), ("cuda:2", "sees 2 CUDA")],
)
def test_wrong_device_is_one_sentence(cuda, asked, said):
    with pytest.raises(ReidEdgeError, match=said):
        join(asked)


def test_gpu_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ReidEdgeError, match="torch sees 0 CUDA device"):
        join("cuda")


# The group's own arithmetic first, then the command.
SCRIPT = """
import sys
import torch
from training.cli import main
from training.distributed import join

group = join("cpu")
assert group.world_size == 2
assert group.agree(True) and not group.agree(group.rank == 0)
assert group.mean(torch.tensor([group.rank, 4.0])).tolist() == [0.5, 4.0]
sys.exit(main(sys.argv[1:]))
"""


def torchrun(script, *given):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--master_addr", "127.0.0.1", "--master_port", str(port), script, *given),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(
    people, teacher_file, tmp_path, capfd, one_thread
):
    """While the backbone is frozen nothing but the gradient depends on who is in which batch, so
    the losses of each epoch agree if and only if both ranks' gradients count."""

    def arguments(name, batch):
        recipe = {
            **TINY,
            "network": {**SPEC.to_dict(), "head": "linear", "dim": 64},
            "sampler": {"kind": "uniform", "batch": batch},
            "augment": {"flip": {"probability": 0.5}, "erasing": {"probability": 0.5}},
            "losses": {"classification": {"weight": 0}, "distill_features": {"weight": 1}},
            "optimizer": {"kind": "sgd", "learning_rate": 1.0},
            "schedule": {"epochs": 4, "warmup_epochs": 0, "freeze_backbone_epochs": 3},
        }
        path = tmp_path / f"{batch}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return [
            *("--recipe", str(path), "--data", str(people), "--teacher", str(teacher_file)),
            *("--out", str(tmp_path / name), "--device", "cpu", "--threads", "1", "--json"),
        ]  # fmt: skip

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = torchrun(str(script), *arguments("two", 4))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # only the first process prints
    assert record["processes"] == 2 and record["status"] == "finished"
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        *("recipe.yaml", "run.json", "state.pt", "teacher.npz"),
        *("last.pth", "curves.csv", "curves.png"),
    }
    assert load_network(tmp_path / "two" / "last.pth").embedding.dim == 64

    assert main(arguments("one", 8)) == 0 and main(arguments("half", 4)) == 0
    capfd.readouterr()

    def losses(name):
        state = torch.load(tmp_path / name / "state.pt", weights_only=True)
        return [row["total_loss"] for row in state["position"]["history"]][:3]

    two, one, half = losses("two"), losses("one"), losses("half")
    assert one[2] < 0.5 * one[0], "or nothing was learned"
    assert two == pytest.approx(one, abs=1e-5)
    assert abs(half[0] - one[0]) > 0.01


# Three runs in one group: as a whole, interrupted behind a step, and gone on with.
RESUMED = """
import sys
from training import distributed
from training.cli import main
from training.trainer import Trainer

group = distributed.join("cpu")
distributed.Processes.close = lambda self: None  # each run would leave the group
real = Trainer._step

def stopping(self, *batch):
    if self.position.epoch == 1 and self.position.step == 1 and group.rank == 1:
        self.request_stop()  # one process hears the signal, all stop behind the same step
    return real(self, *batch)

whole, part, *given = sys.argv[1:]
assert main([*given, "--out", whole]) == 0
Trainer._step = stopping
assert main([*given, "--out", part]) == 130
group.wait()  # until the first process has saved
Trainer._step = real
assert main([*given, "--out", part, "--resume"]) == 0
"""


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(people, tmp_path, one_thread):
    """With all that remembers: optimizer, running mean, centres, and BatchNorm of each process."""
    recipe = {
        **TINY,
        "sampler": {"kind": "pk", "persons": 2, "images": 2},
        "augment": {"flip": {"probability": 0.5}},
        "losses": {
            **{name: {"weight": 1.0} for name in ("classification", "triplet")},
            "centre": {"weight": 0.01},
        },
        "ema": {"decay": 0.9},
        "schedule": {"epochs": 3, "warmup_epochs": 0},
    }
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(recipe))
    script = tmp_path / "script.py"
    script.write_text(RESUMED)
    whole, part = tmp_path / "whole", tmp_path / "part"
    done = torchrun(
        *(str(script), str(whole), str(part), "--recipe", str(tmp_path / "pairs.yaml")),
        *("--data", str(people), "--device", "cpu", "--threads", "1"),
    )
    assert done.returncode == 0, done.stderr
    assert "resumed in epoch 2" in done.stderr
    one, two = (torch.load(out / "state.pt", weights_only=True) for out in (whole, part))
    assert one["world_size"] == 2 and one["position"]["epoch"] == 3
    for weights, same in (
        (one["learner"], two["learner"]),
        (one["ema"]["network"], two["ema"]["network"]),
    ):
        assert weights.keys() == same.keys()
        for name, value in weights.items():
            assert torch.equal(same[name], value), name
    centers = one["learner"]["heads.centre.centers"]
    assert (centers.norm(dim=1) > 0).all()  # each of the eight people, whoever saw it
