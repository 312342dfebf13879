"""The training loop: it learns, it can be stopped anywhere, and it fails without losing anything."""

from __future__ import annotations

import csv
import logging
import math
import resource

import pytest
import torch

import training.trainer
from benchmarks.datasets import open_retrieval_set
from models.checkpoint import load_network
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import make_trainer, recipe, run_with
from training.trainer import Interrupted

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 4  # per epoch: 32 images, 8 in a batch


def copied(state):
    return {key: value.clone() for key, value in state.items()}


def weights(path):
    return copied(load_network(path).network.state_dict())


def assert_equal(one, other, where=""):
    """Equality to the last bit of nested states."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert set(one) == set(other), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other)):
            assert_equal(a, b, f"{where}.{i}")
    else:
        assert one == other, where


def untimed(history):
    return [{k: v for k, v in row.items() if k != "elapsed_s"} for row in history]


def test_loss_falls_and_everything_is_written(people, tmp_path):
    trainer = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 6}))
    last = trainer.run()
    history = trainer.position.history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6] and last is history[-1]
    assert history[-1]["total_loss"] < 0.7 * history[0]["total_loss"]
    for row in history:
        parts = row["classification_loss"] + row["triplet_loss"]
        assert row["total_loss"] == pytest.approx(parts, rel=1e-5)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"recipe.yaml", "state.pt", "last.pth", "curves.csv", "curves.png"}
    with open(tmp_path / "run" / "curves.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["total_loss"]) for r in rows] == [row["total_loss"] for row in history]
    loaded = load_network(tmp_path / "run" / "last.pth")
    assert_equal(dict(loaded.network.state_dict()), dict(trainer.task.network.state_dict()))
    assert "epoch: 6" in loaded.notes


FULL = {
    "schedule.epochs": 3,
    "losses": {
        "classification": {"weight": 1},
        "triplet": {"weight": 1},
        "centre": {"weight": 0.01},
    },
    "augment": {"flip": {}, "pad_crop": {}, "erasing": {"probability": 0.5}},
    "ema.decay": 0.9,
}


@pytest.mark.parametrize(
    ("stops", "changes"),
    [
        ([2], {}),  # in the first epoch
        ([6, 9], {"data.workers": 2, "optimizer.kind": "adamw", "optimizer.clip_norm": 1.0}),
        ([STEPS], {"optimizer.kind": "sgd"}),  # behind the last step of an epoch
        ([5], {"schedule.freeze_backbone_epochs": 2, "precision": "bf16"}),
        ([3 * STEPS], {"data.cache": "none"}),  # behind the last step of all
    ],
)
def test_interrupted_and_resumed_is_the_same_as_uninterrupted(people, tmp_path, stops, changes):
    settings = recipe({**FULL, **changes})
    whole = make_trainer(people, tmp_path / "whole", settings)
    assert run_with(whole, lambda steps: None)

    part = make_trainer(people, tmp_path / "part", settings)
    for stop in stops:
        assert not run_with(
            part, lambda steps, part=part, stop=stop: steps == stop and part.request_stop()
        )
        assert part.position.epoch * STEPS + part.position.step == stop
        torch.manual_seed(99)  # another process starts with other random numbers
        state = part.task.folder.load_state()
        part = make_trainer(people, tmp_path / "part", settings)
        part.restore(state)
    assert run_with(part, lambda steps: None)

    assert untimed(part.position.history) == untimed(whole.position.history)
    assert_equal(part.learner.state_dict(), whole.learner.state_dict())
    assert_equal(part.optimizer.state_dict(), whole.optimizer.state_dict())
    assert_equal(part.ema.state_dict(), whole.ema.state_dict())
    one, other = (weights(tmp_path / name / "last.pth") for name in ("whole", "part"))
    assert_equal(one, other)
    assert part.position.elapsed_s > 0


def test_state_is_saved_now_and_then_within_an_epoch(people, tmp_path, monkeypatch):
    monkeypatch.setattr(training.trainer, "SAVE_EVERY_S", 0.0)
    trainer = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 1}))
    seen = []

    def act(steps):
        state = trainer.task.folder.load_state()
        seen.append(state and state["position"]["step"])

    assert run_with(trainer, act)
    assert seen == [None, 1, 2, 3]  # the bar moves before the state is saved
    assert trainer.task.folder.load_state()["position"]["epoch"] == 1


def test_stop_between_epochs_and_resuming_a_finished_run(people, tmp_path):
    settings = recipe({"schedule.epochs": 2})
    trainer = make_trainer(people, tmp_path / "run", settings)
    finish = trainer._write

    def write_then_stop(row):
        finish(row)
        trainer.request_stop()

    trainer._write = write_then_stop
    with pytest.raises(Interrupted):
        trainer.run()
    assert (trainer.position.epoch, trainer.position.step) == (1, 0)
    again = make_trainer(people, tmp_path / "run", settings)
    again.restore(again.task.folder.load_state())
    last = again.run()
    finished = make_trainer(people, tmp_path / "run", settings)
    finished.restore(finished.task.folder.load_state())
    before = copied(finished.learner.state_dict())
    assert finished.run() == last
    assert_equal(before, finished.learner.state_dict())


def test_ema_network_is_the_one_that_is_saved(people, tmp_path):
    trainer = make_trainer(
        people, tmp_path / "run", recipe({"ema.decay": 0.8, "schedule.epochs": 1})
    )
    mean = copied(trainer.task.network.state_dict())
    updates = 0

    def act(steps):
        nonlocal updates
        updates += 1
        decay = min(0.8, updates / (updates + 10))
        for key, value in trainer.task.network.state_dict().items():
            floats = value.is_floating_point()
            mean[key] = decay * mean[key] + (1 - decay) * value if floats else value.clone()

    run_with(trainer, act)
    stored = weights(tmp_path / "run" / "last.pth")
    for key, value in mean.items():
        assert torch.allclose(stored[key].float(), value.float(), atol=1e-5), key
    moved = trainer.task.network.state_dict()["backbone.conv1.weight"]
    assert not torch.allclose(stored["backbone.conv1.weight"], moved, atol=1e-5)


def test_frozen_backbone_stays_and_then_moves(people, tmp_path):
    settings = recipe({"schedule.freeze_backbone_epochs": 1, "ema.decay": 0.5})
    trainer = make_trainer(people, tmp_path / "run", settings)
    states = {0: copied(trainer.learner.state_dict())}
    run_with(trainer, lambda steps: states.update({steps: copied(trainer.learner.state_dict())}))

    def moved(first, last):
        return {k for k, v in states[last].items() if not torch.equal(v, states[first][k])}

    backbone = {key for key in states[0] if key.startswith("network.backbone.")}
    assert not moved(0, STEPS) & backbone, "neither weights nor BatchNorm statistics"
    assert {"network.neck.weight", "network.neck.running_mean"} <= moved(0, STEPS)
    assert moved(STEPS, 2 * STEPS) >= backbone


def test_schedule_reaches_the_optimizer(people, tmp_path):
    changes = {
        "optimizer.learning_rate": 0.01,
        "schedule": {
            "epochs": 3, "kind": "step", "warmup_epochs": 1, "warmup_factor": 0.2,
            "milestones": [2, 2.5], "gamma": 0.1,
        },
    }  # fmt: skip
    trainer = make_trainer(people, tmp_path / "run", recipe(changes))
    rates = []
    run_with(trainer, lambda steps: rates.append([g["lr"] for g in trainer.optimizer.param_groups]))
    warmup = [0.002, 0.004, 0.006, 0.008]
    expected = [*warmup, *[0.01] * 4, *[0.001] * 2, *[0.0001] * 2]
    assert [pair[0] for pair in rates] == pytest.approx(expected)
    assert all(pair[0] == pair[1] for pair in rates)
    ends = [row["learning_rate"] for row in trainer.position.history]
    assert ends == pytest.approx([0.01, 0.001, 0.0001])


def test_gradients_are_clipped_to_the_norm(people, tmp_path):
    """With plain SGD a step is at most learning rate times the norm long."""
    changes = {
        "optimizer": {
            "kind": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.1,
        },
        "schedule.epochs": 1,
    }  # fmt: skip

    def lengths(clip_norm):
        changes["optimizer"]["clip_norm"] = clip_norm
        trainer = make_trainer(people, tmp_path / f"clip {clip_norm}", recipe(changes))
        places = [flat(trainer)]
        run_with(trainer, lambda steps: places.append(flat(trainer)))
        return [
            (after - before).norm().item() / (0.1 * trainer.rate.at(step / STEPS))
            for step, (before, after) in enumerate(zip(places, places[1:]))
        ]

    def flat(trainer):
        return torch.cat([p.detach().double().reshape(-1) for p in trainer.learner.parameters()])

    free, clipped = lengths(None), lengths(0.25)
    assert min(free) > 0.5, "or there is nothing to clip"
    assert clipped == pytest.approx([0.25] * STEPS, rel=1e-3)


def assert_names_the_batch(message, trainer):
    assert "\n" not in message and "batch of 8 images: " in message
    images = message.partition("images: ")[2].partition(";")[0].split(", ")
    known = {f"{path.parent.name}/{path.name}" for path in trainer.task.paths}
    assert len(images) == 8 and set(images) <= known


def test_a_learning_rate_that_explodes_is_one_sentence(people, tmp_path):
    trainer = make_trainer(people, tmp_path / "run", recipe({"optimizer.learning_rate": 1e30}))
    with pytest.raises(ReidEdgeError, match=r"not finite in epoch 1, step \d") as error:
        trainer.run()
    message = str(error.value)
    assert_names_the_batch(message, trainer)
    assert "no checkpoint was written yet. Resuming would meet the same batch again" in message
    assert f"start anew with --out {tmp_path / 'run'}_2 and a lower learning rate" in message
    assert "--set optimizer.learning_rate=3.3e+29, or" in message
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"recipe.yaml"}


@pytest.mark.parametrize("poison", ["weights", "gradient"])
def test_loss_that_is_not_finite_leaves_the_last_good_network(people, tmp_path, poison):
    trainer = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 3}))

    def act(steps):
        if steps == STEPS + 2:
            weight = trainer.learner.heads["classifier"].weight
            if poison == "weights":
                weight.data[0, 0] = math.nan
            else:
                weight.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(ReidEdgeError, match=r"not finite in epoch 2, step 3 \(classif") as error:
        run_with(trainer, act)
    assert_names_the_batch(str(error.value), trainer)
    last = tmp_path / "run" / "last.pth"
    assert f"{last} is the last good network" in str(error.value)
    assert f"start anew with --init {last} --out {tmp_path / 'run'}_2 and" in str(error.value)
    assert all(v.isfinite().all() for v in weights(last).values() if v.is_floating_point())
    again = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 3}))
    again.restore(again.task.folder.load_state())
    assert again.position.epoch == 1
    assert math.isfinite(again.run()["total_loss"])


def test_network_that_is_not_finite_at_the_end_of_an_epoch_is_not_saved(people, tmp_path):
    trainer = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 2}))

    def act(steps):
        if steps == 2 * STEPS:
            trainer.task.network.neck.weight.data[3] = math.inf

    with pytest.raises(ReidEdgeError, match=r"neck.weight has weights that are not finite"):
        run_with(trainer, act)
    assert all(v.isfinite().all() for v in weights(tmp_path / "run" / "last.pth").values())
    assert trainer.task.folder.load_state()["position"]["epoch"] == 1


@pytest.mark.parametrize("too_large", ["last.pth", "state.pt"])
def test_write_that_fails_is_one_sentence_and_keeps_the_old_files(people, tmp_path, too_large):
    """A limit on the size of files fails real writes: of the network, or of the larger state."""
    allowed = {"last.pth": 10_000, "state.pt": 1_000_000}[too_large]
    run = tmp_path / "run"
    trainer = make_trainer(people, run, recipe({"schedule.epochs": 3}))
    before = {}

    def act(steps):
        if steps == 2 * STEPS:  # behind it the second epoch is written
            before.update({path.name: path.read_bytes() for path in run.iterdir()})
            assert 10_000 < len(before["last.pth"]) < 1_000_000 < len(before["state.pt"])
            resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            ReidEdgeError, match=rf"Cannot write .*{too_large}: File too large"
        ) as error:
            run_with(trainer, act)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert set(after) == set(before) and after["state.pt"] == before["state.pt"]
    assert load_network(run / "last.pth").arch == "resnet18_w8"
    again = make_trainer(people, run, recipe({"schedule.epochs": 3}))
    again.restore(again.task.folder.load_state())
    assert again.position.epoch == 1
    again.run()


def test_accuracy_is_measured_when_due_and_the_best_network_kept(market, tmp_path, monkeypatch):
    settings = recipe({"schedule.epochs": 5, "evaluate_every_epochs": 2})
    trainer = make_trainer(
        market, tmp_path / "run", settings, evaluation=open_retrieval_set(market)
    )
    measured = iter(
        [{"mAP": 40.0, "rank1": 50.0}, {"mAP": 60.5, "rank1": 70.0}, {"mAP": 30.0, "rank1": 1.0}]
    )
    real = training.trainer.evaluate
    figures = []

    def evaluate(network, *given):
        figures.append(real(network, *given))
        return next(measured)

    monkeypatch.setattr(training.trainer, "evaluate", evaluate)
    trainer.run()
    assert [row["epoch"] for row in trainer.position.history if "mAP" in row] == [2, 4, 5]
    assert all(0 < figure["mAP"] <= 100 for figure in figures)
    best, last = (load_network(tmp_path / "run" / name) for name in ("best.pth", "last.pth"))
    assert {"epoch: 4", "mAP: 60.5"} <= set(best.notes) and "mAP: 30.0" in last.notes
    assert trainer.position.best == 60.5
    assert trainer.task.network.training, "judging puts the network back into training mode"


def judging(monkeypatch, *figures):
    """Let the runs that follow measure these mAPs; returns the networks that were judged."""
    measured, judged = iter(figures), []

    def evaluate(network, *given):
        judged.append(copied(network.state_dict()))
        return {"mAP": next(measured), "rank1": 50.0}

    monkeypatch.setattr(training.trainer, "evaluate", evaluate)
    return judged


@pytest.mark.parametrize(("end", "best_epoch"), [(60.0, 0), (80.0, 2)])
def test_the_start_is_judged_and_may_be_the_best(market, tmp_path, monkeypatch, end, best_epoch):
    settings = recipe({"schedule.epochs": 2, "ema.decay": 0.9})
    judged = judging(monkeypatch, 70.0, end)
    data = open_retrieval_set(market)
    trainer = make_trainer(market, tmp_path / "run", settings, evaluation=data)
    trainer.task.judge_start = True
    start = copied(trainer.task.network.state_dict())
    trainer.run()
    assert_equal(judged[0], start)
    position = trainer.position
    assert position.start == {"mAP": 70.0, "rank1": 50.0}
    assert (position.best, position.best_epoch) == (max(70.0, end), best_epoch)
    best = load_network(tmp_path / "run" / "best.pth")
    assert f"epoch: {best_epoch}" in best.notes and f"mAP: {position.best}" in best.notes
    if best_epoch == 0:
        assert_equal(dict(best.network.state_dict()), start)

    plain = make_trainer(market, tmp_path / "plain", settings, evaluation=data)
    judging(monkeypatch, end)
    plain.run()
    assert_equal(
        plain.learner.state_dict(), trainer.learner.state_dict(), "judging changes nothing"
    )


def test_saved_network_keeps_its_share_of_the_start(people, tmp_path):
    settings = recipe({"fine_tune": True, "keep_start": 0.25, "ema.decay": 0.8})
    trainer = make_trainer(people, tmp_path / "run", settings)
    start = copied(trainer.task.network.state_dict())
    assert not run_with(trainer, lambda steps: steps == 6 and trainer.request_stop())
    again = make_trainer(people, tmp_path / "run", settings)
    again.task.network.load_state_dict({k: torch.zeros_like(v) for k, v in start.items()})
    again.restore(again.task.folder.load_state())  # the start comes from there, not from now
    assert run_with(again, lambda steps: None)
    end, saved = again.ema.network.state_dict(), weights(tmp_path / "run" / "last.pth")
    for key, value in saved.items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.25 * start[key] + 0.75 * end[key], atol=1e-6), key
        else:
            assert torch.equal(value, end[key])


def test_only_the_process_with_the_guilty_batch_names_it(people, tmp_path):
    trainer = make_trainer(people, tmp_path / "run", recipe())
    batch = next(iter(trainer.task.loader.batches(trainer.task.sampler.epoch(0), 0, 0, 0, 1)))
    losses = torch.tensor([math.nan, 1.0])

    class Two:
        def agree(self, value):
            return False  # the other one, or this one, is not finite

    trainer.processes = Two()
    other = trainer._not_finite(batch, torch.tensor(1.0), losses)
    assert other == "The loss of another process is not finite; see the batch that it names."
    assert "batch of 8 images" in trainer._not_finite(batch, torch.tensor(math.nan), losses)


def test_an_epoch_is_a_line_in_the_log(people, tmp_path, caplog):
    trainer = make_trainer(people, tmp_path / "run", recipe({"schedule.epochs": 1}))
    with caplog.at_level(logging.INFO, "training"):
        trainer.run()
    loss = trainer.position.history[0]["total_loss"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"epoch 1/1: loss {loss:.4f}, ")
