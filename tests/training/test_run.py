"""A run from folders and files: what is refused before it starts, and what resuming insists on."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import training.run
from models.checkpoint import load_network
from models.spec import NetworkSpec
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import recipe, write_people, write_teacher
from tests.training.small_data import OCCUPIED, protocol_rows, write_images, write_protocol
from training.progress import silent
from training.run import TrainOptions, train
from training.trainer import Interrupted, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
TAUGHT = {
    "sampler": {"kind": "uniform", "batch": 8},
    "losses": {
        "classification": {"weight": 0},
        "distill_features": {"weight": 1},
        "distill_similarity": {"weight": 1},
    },
    "schedule.epochs": 1,
}


@pytest.fixture
def options(people, tmp_path):
    settings = recipe({"schedule.epochs": 1})
    return TrainOptions(settings, people, tmp_path / "run", device="cpu")


def run(options, **changes):
    lines = []
    record = train(dataclasses.replace(options, **changes), silent, lines.append)
    return record, lines


def refused(options, match, **changes):
    """The sentence, and that nothing was written for it."""
    before = sorted(options.out.rglob("*")) if options.out.exists() else None
    with pytest.raises(ReidEdgeError, match=match) as error:
        run(options, **changes)
    assert "\n" not in str(error.value)
    assert before == (sorted(options.out.rglob("*")) if options.out.exists() else None)
    return str(error.value)


def stop_behind(monkeypatch, step):
    """Let runs be interrupted behind that step, as by a signal; returns how to let them be."""
    real = Trainer._step

    def stopping(self, *given):
        if self.position.step + 1 == step:
            self.request_stop()
        return real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        yield


def interrupted(options, monkeypatch, step=2, **changes):
    for _ in stop_behind(monkeypatch, step):
        with pytest.raises(Interrupted):
            run(options, **changes)


def test_record_says_what_was_done(options, people):
    record, lines = run(options)
    assert record == json.loads((options.out / "run.json").read_text())
    assert record["status"] == "finished" and record["epochs_done"] == 1
    assert record["data"]["images"] == 32 and record["data"]["identities"] == 8
    assert (record["arch"], record["recipe"], record["seed"]) == ("resnet18_w8", "tiny", 0)
    assert record["teacher"] is None and record["init"] is None and "best_mAP" not in record
    assert record["last"]["epoch"] == 1 and record["versions"]["torch"] == torch.__version__
    assert any("32 images of 8 identities" in line for line in lines)
    notes = load_network(options.out / "last.pth").notes
    assert f"training data: {people.name} (folders): 32 images of 8 people" in notes


def test_one_seed_is_one_network_and_another_is_another(options, tmp_path):
    one, _ = run(options)
    same, _ = run(options, out=tmp_path / "same")
    assert same["last"]["total_loss"] == one["last"]["total_loss"]
    other, _ = run(
        options, out=tmp_path / "other", recipe=recipe({"schedule.epochs": 1, "seed": 5})
    )
    assert other["last"]["total_loss"] != one["last"]["total_loss"]


def test_evaluated_run_keeps_its_best(options, market):
    record, _ = run(options, data=market, evaluation=market)
    assert 0 < record["best_mAP"] == record["last"]["mAP"] <= 100
    assert (options.out / "best.pth").is_file() and 0 <= record["last"]["rank1"] <= 100


def test_identities_limit_the_data(options):
    record, lines = run(options, identities=5)
    assert record["data"]["identities"] == 5 and record["data"]["images"] == 20
    assert any("12 of identities beyond the first 5" in line for line in lines)


def test_validation_images_and_protocols_are_passed_on(options, tmp_path):
    root = write_images(
        tmp_path / "msmt",
        *(
            f"train/{p:04d}/{p:04d}_00{i}_0{i + 1}_0303morning_0008_{i}.jpg"
            for p in range(6)
            for i in range(4)
        ),
    )
    lines = [
        f"{p:04d}/{p:04d}_00{i}_0{i + 1}_0303morning_0008_{i}.jpg {p}"
        for p in range(6)
        for i in range(4)
    ]
    (root / "list_train.txt").write_text("\n".join(lines[:16]))
    (root / "list_val.txt").write_text("\n".join(lines[16:]))
    record, _ = run(options, data=root)
    assert record["data"]["images"] == 16
    record, _ = run(options, data=root, include_val=True, out=tmp_path / "val")
    assert record["data"]["images"] == 24 and record["data"]["layout"] == "msmt17"

    rows = [row for row in protocol_rows(OCCUPIED["labeled"])]
    raw = write_images(tmp_path / "raw", *(f"{name}.png" for name, *_ in rows))
    protocol = write_protocol(tmp_path / "protocol.mat", rows)
    settings = recipe({"schedule.epochs": 1, "sampler.persons": 3})
    record, _ = run(options, data=raw, protocol=protocol, recipe=settings, out=tmp_path / "cuhk")
    assert record["data"]["layout"] == "cuhk03" and record["data"]["identities"] == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identities": 1}, "at least 2 identities, got a limit of 1"),
        ({"identities": 3}, "4 persons on 1 process.* needs 4 identities, but .* has 3"),
        ({"include_val": True}, "Only MSMT17 has validation images"),
        ({"device": "tpu"}, "Expected the device cpu, cuda"),
        ({"layout": "market"}, "Expected the layout"),
        ({"resume": True}, "No training run in .* to resume; leave out --resume"),
        ({"recipe": recipe(TAUGHT)}, "learns from a teacher; pass --teacher"),
        ({"recipe": recipe({"sampler.rear_weight": 2.0})}, "no image .* labelled with a view"),
        (
            {"recipe": recipe({"sampler": {"kind": "uniform", "batch": 40}, "losses": {}})},
            "batch of 40 images .* needs at least 40",
        ),
    ],
)
def test_mistake_is_one_sentence_and_writes_nothing(options, changes, said):
    refused(options, said, **changes)


def test_folders_and_files_that_are_not_there(options, tmp_path):
    nowhere = tmp_path / "nowhere"
    refused(options, "No training folder", data=nowhere)
    refused(options, "No evaluation folder", evaluation=nowhere)
    refused(options, "Cannot read checkpoint", init=nowhere)
    refused(options, "Cannot read checkpoint", teacher=nowhere, recipe=recipe(TAUGHT))
    refused(options, "Cannot read views", views=nowhere)
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidEdgeError, match=r"Cannot write .*file"):
        run(options, out=tmp_path / "file" / "run")


def test_one_person_is_refused(options, tmp_path):
    data = write_people(tmp_path / "alone", 1, 3)
    refused(options, "at least 2 identities, got 1", data=data)


def test_unreadable_images_are_refused_or_left_out(options, people, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(people, data)
    (data / "p01" / "2.jpg").write_bytes((data / "p01" / "2.jpg").read_bytes()[:40])
    (data / "p05" / "0.jpg").write_bytes(b"")
    said = refused(options, "2 of 32 training images cannot be read", data=data)
    assert "p01/2.jpg" in said and "p05/0.jpg" in said and "--skip-unreadable" in said
    record, lines = run(options, data=data, skip_unreadable=True)
    assert record["data"]["images"] == 30 and record["data"]["problems"] == 2
    assert any("2 that cannot be read" in line for line in lines)


def test_teacher_that_is_not_needed_or_does_not_fit_is_refused(options, teacher_file, tmp_path):
    refused(options, "has no distillation loss; leave out --teacher", teacher=teacher_file)
    unknown = tmp_path / "unknown.pth"
    torch.save({"layer.weight": torch.zeros(3)}, unknown)
    refused(options, "add --teacher-arch", teacher=unknown, recipe=recipe(TAUGHT))
    short = NetworkSpec("resnet18", width=8, head="linear", dim=12, height_px=64, width_px=32)
    path = write_teacher(tmp_path / "short.pth", short)
    refused(options, "as long as the teacher's, 12, got 64", teacher=path, recipe=recipe(TAUGHT))
    free = recipe({**TAUGHT, "losses.distill_similarity.bank": False})
    record, _ = run(options, teacher=path, recipe=free)
    assert record["teacher"]["file"] == "short.pth"
    assert not any(
        "project" in k for k in load_network(options.out / "last.pth").network.state_dict()
    )


def test_teacher_is_asked_once_and_again_where_the_images_changed(
    options, teacher_file, people, tmp_path, monkeypatch
):
    asked = []
    real = training.run.embed_with_mirror

    def counted(teacher, paths, *given):
        asked.append(len(paths))
        return real(teacher, paths, *given)

    monkeypatch.setattr(training.run, "embed_with_mirror", counted)
    taught = dataclasses.replace(options, recipe=recipe(TAUGHT), teacher=teacher_file)
    interrupted(taught, monkeypatch)
    assert asked == [32]
    record, _ = run(taught, resume=True)
    assert asked == [32] and record["status"] == "finished"
    provenance = load_network(options.out / "last.pth").notes
    assert any("taught by resnet18_w8 (teacher.pth)" in note for note in provenance)

    (taught.out / "state.pt").unlink()  # stopped before its first, then images were added
    data = tmp_path / "more"
    shutil.copytree(people, data)
    shutil.copy(data / "p01" / "0.jpg", data / "p01" / "9.jpg")
    run(taught, resume=True, data=data)
    assert asked == [32, 33]


def test_live_teacher_stores_nothing(options, teacher_file):
    live = {**TAUGHT, "losses.distill_similarity.bank": False, "teacher.mode": "live"}
    record, _ = run(options, teacher=teacher_file, recipe=recipe(live))
    assert record["last"]["distill_features_loss"] > 0
    assert not (options.out / "teacher.npz").exists()


def test_start_from_trained_weights(options, tmp_path):
    weights = write_teacher(tmp_path / "start.pth")
    slow = recipe({"schedule.epochs": 1, "optimizer.learning_rate": 1e-12})
    record, lines = run(options, recipe=slow, init=weights)
    assert any(line.endswith("tensors from reid-edge checkpoint start.pth") for line in lines)
    assert record["init"]["file"] == "start.pth"
    start, end = (load_network(p).network for p in (weights, options.out / "last.pth"))
    for name, value in start.named_parameters():
        assert torch.allclose(end.get_parameter(name), value, atol=1e-6), name


def test_a_failure_before_training_leaves_no_folder(options, monkeypatch, teacher_file):
    """Where the teacher embeds the images, say, or the losses refuse a setting."""

    def fail(*given):
        raise ReidEdgeError("no.")

    taught = dataclasses.replace(options, recipe=recipe(TAUGHT), teacher=teacher_file)
    for where in ("training.run.embed_with_mirror", "training.run.Trainer"):
        with monkeypatch.context() as patch:
            patch.setattr(where, fail)
            refused(taught, "no.")
    assert not options.out.exists()
    assert run(taught)[0]["status"] == "finished"


def test_judged_start_is_in_the_record(options, market, tmp_path):
    weights = write_teacher(tmp_path / "start.pth")
    record, _ = run(options, data=market, evaluation=market, init=weights)
    assert 0 < record["start"]["mAP"] <= record["best_mAP"] and record["best_epoch"] in (0, 1)
    assert record["evaluation"]["queries"] > 0 and record["asked"]["init"] == str(weights)
    random, _ = run(options, data=market, evaluation=market, out=tmp_path / "random")
    assert "start" not in random and random["best_epoch"] == 1
    rga = recipe({"network.rga": "sc", "schedule.epochs": 1})
    partly, _ = run(
        options, data=market, evaluation=market, init=weights, recipe=rga, out=tmp_path / "partly"
    )
    assert "start" not in partly, "a network that is partly random says nothing"


def test_fine_tuning_needs_a_start(options):
    tuned = recipe({"schedule.epochs": 1, "fine_tune": True})
    refused(options, "Recipe tiny fine-tunes a trained network; pass --init default", recipe=tuned)


def test_a_run_is_not_overwritten(options):
    run(options)
    refused(options, "already holds a training run; continue it with --resume")


def test_resuming_is_going_on(options, monkeypatch, tmp_path):
    settings = recipe({"schedule.epochs": 2})
    interrupted(options, monkeypatch, step=3, recipe=settings)
    stored = json.loads((options.out / "run.json").read_text())
    assert stored["status"] == "interrupted" and stored["epochs_done"] == 0
    record, lines = run(options, recipe=settings, resume=True)
    assert "resumed in epoch 1" in lines
    assert record["status"] == "finished" and record["started"] == stored["started"]
    whole, _ = run(options, recipe=settings, out=tmp_path / "whole")
    assert record["last"]["total_loss"] == whole["last"]["total_loss"]
    again, _ = run(options, recipe=settings, resume=True)
    assert again["last"] == record["last"]


def test_stopped_before_its_first_state_a_run_starts_as_it_did_before(
    options, monkeypatch, tmp_path
):
    weights = write_teacher(tmp_path / "start.pth")
    other = write_teacher(
        tmp_path / "other.pth",
        NetworkSpec("resnet18", width=8, head="linear", dim=9, height_px=64, width_px=32),
    )
    whole, _ = run(options, init=weights, out=tmp_path / "whole")
    interrupted(options, monkeypatch, init=weights)
    refused(options, "leave it out|resume with the same", init=other, resume=True)
    (options.out / "state.pt").unlink()
    refused(options, "started with --init start.pth", resume=True)
    record, _ = run(options, init=weights, resume=True)
    assert record["last"]["total_loss"] == whole["last"]["total_loss"]


def test_with_a_state_the_first_weights_need_not_be_given_again(options, monkeypatch, tmp_path):
    weights = write_teacher(tmp_path / "start.pth")
    whole, _ = run(options, init=weights, out=tmp_path / "whole")
    interrupted(options, monkeypatch, init=weights)
    record, _ = run(options, resume=True)
    assert record["last"]["total_loss"] == whole["last"]["total_loss"]
    assert record["init"] == whole["init"]


def test_resuming_with_something_else_is_refused(options, monkeypatch, teacher_file, tmp_path):
    taught = dataclasses.replace(options, recipe=recipe(TAUGHT), teacher=teacher_file)
    interrupted(taught, monkeypatch)
    longer = recipe({**TAUGHT, "schedule.epochs": 2, "seed": 3})
    refused(taught, r"another recipe \(different: schedule, seed\)", resume=True, recipe=longer)
    refused(taught, "other training images, labels or views", resume=True, identities=7)
    spec = NetworkSpec("resnet18", width=8, height_px=96, width_px=32)
    other = write_teacher(tmp_path / "other.pth", spec)
    refused(taught, "started with --teacher teacher.pth", resume=True, teacher=other)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert run(taught, resume=True)[0]["status"] == "finished"


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "list", "newer"])
def test_damaged_state_is_one_sentence(options, monkeypatch, damage):
    interrupted(options, monkeypatch)
    state = options.out / "state.pt"
    content = state.read_bytes()
    middle = len(content) // 2
    if damage in ("list", "newer"):
        torch.save([1] if damage == "list" else {"schema": 2}, state)
    else:
        state.write_bytes(
            {
                "cut": content[:middle],
                "flipped": content[:middle]
                + bytes(b ^ 255 for b in content[middle : middle + 64])
                + content[middle + 64 :],
                "text": b"state",
            }[damage]
        )
    said = "has schema" if damage in ("list", "newer") else r"state\.pt cannot be read"
    refused(options, said, resume=True)


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json"])
@pytest.mark.parametrize("content", ["", "[1, 2", "- 1"])
def test_damaged_text_files_are_one_sentence(options, monkeypatch, name, content):
    interrupted(options, monkeypatch)
    (options.out / name).write_text(content)
    refused(options, rf"{name} is damaged", resume=True)


def test_gpu_out_of_memory_is_one_sentence_and_recorded(options, monkeypatch):
    def full(self, *given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Trainer, "_step", full)
    with pytest.raises(ReidEdgeError, match="too little memory for batches of 8 images") as error:
        run(options)
    assert "pass --set sampler.persons=2 or --set precision=bf16" in str(error.value)
    assert json.loads((options.out / "run.json").read_text())["status"] == "failed"


def test_failure_is_recorded(options):
    exploding = recipe({"optimizer.learning_rate": 1e30})
    with pytest.raises(ReidEdgeError, match="not finite"):
        run(options, recipe=exploding)
    assert json.loads((options.out / "run.json").read_text())["status"] == "failed"


def test_views_weigh_the_images(options, people, tmp_path, monkeypatch):
    """Rear images three times as often: counted over the batches that the trainer was given."""
    rear = sorted(people.rglob("0.jpg"))
    table = tmp_path / "views.csv"
    table.write_text("path,view\n" + "".join(f"{p.relative_to(people)},rear\n" for p in rear))
    drawn = []
    real = Trainer._step

    def counted(self, batch, *given):
        drawn.extend(self.task.paths[i].name for i in batch.indices.tolist())
        return real(self, batch, *given)

    monkeypatch.setattr(Trainer, "_step", counted)
    weighted = recipe({"schedule.epochs": 3, "sampler.rear_weight": 3.0})
    run(options, views=table, recipe=weighted)
    names, counts = np.unique(drawn, return_counts=True)
    assert names.tolist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    # 96 draws, shares 3:1:1:1; a person's share is rounded in each of the three epochs.
    assert counts[0] == pytest.approx(48, abs=8) and counts[1:] == pytest.approx(16, abs=8)
