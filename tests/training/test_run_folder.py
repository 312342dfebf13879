"""Files of a run: atomic, resumable, and one sentence when the disk is full."""

from __future__ import annotations

import csv
import errno

import pytest
import torch

from runtime.errors import ReidEdgeError
from training.run_folder import RunFolder, replace_file, write_text


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "runs" / "a")
    made.create({"name": "x", "seed": 3})
    return made


def test_recipe_and_state_come_back(folder):
    assert folder.stored_recipe() == {"name": "x", "seed": 3}
    assert folder.load_state() is None
    folder.save_state({"weights": torch.arange(3), "epoch": 4})
    state = folder.load_state()
    assert state["epoch"] == 4 and state["weights"].tolist() == [0, 1, 2]


def test_a_second_run_in_the_same_folder_is_refused(folder):
    with pytest.raises(ReidEdgeError, match="already holds a training run"):
        folder.create({})


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(ReidEdgeError, match="No training run in"):
        RunFolder(tmp_path).stored_recipe()


def test_damaged_or_foreign_state_is_refused(folder):
    folder.state.write_bytes(b"not a checkpoint")
    with pytest.raises(ReidEdgeError, match="cannot be read"):
        folder.load_state()
    torch.save({"schema": 99}, folder.state)
    with pytest.raises(ReidEdgeError, match="schema 99"):
        folder.load_state()


def test_a_flipped_byte_in_the_weights_is_noticed(folder):
    folder.save_state({"weights": torch.zeros(1000)})
    content = bytearray(folder.state.read_bytes())
    content[content.index(bytes(3000)) + 1500] = 1
    folder.state.write_bytes(content)
    with pytest.raises(ReidEdgeError, match="wrong checksum"):
        folder.load_state()


def test_record_comes_back(folder):
    assert folder.stored_record() is None
    folder.write_record({"status": "running"})
    assert folder.stored_record() == {"status": "running"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied"),
    ],
)
def test_failed_write_keeps_the_old_file_and_leaves_nothing(folder, error, said):
    write_text(folder.record, "old")

    def fail(part):
        part.write_text("half")
        raise error

    with pytest.raises(ReidEdgeError, match=said):
        replace_file(folder.record, fail)
    assert folder.record.read_text() == "old"
    assert sorted(p.name for p in folder.path.iterdir()) == ["recipe.yaml", "run.json"]


def test_a_really_full_disk(folder):
    """/dev/full accepts nothing, as a full disk does."""
    with pytest.raises(ReidEdgeError, match="disk is full"):
        replace_file(folder.record, lambda part: open("/dev/full", "w").write("x" * 100_000))


def test_curves_have_all_columns(folder):
    folder.write_curves([{"epoch": 1, "total_loss": 2.5}, {"epoch": 2, "total_loss": 2, "mAP": 40}])
    rows = list(csv.DictReader(folder.curves_csv.open()))
    assert rows[0]["mAP"] == "" and rows[1]["mAP"] == "40"


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_ended_with_nothing_kept_may_be_started_again(folder, status):
    folder.write_record({"status": "running"})
    with pytest.raises(ReidEdgeError, match="already holds"):
        folder.check_free()
    folder.write_record({"status": status})
    folder.create({"name": "y"})
    assert folder.stored_recipe() == {"name": "y"} and folder.stored_record() is None
    folder.write_record({"status": status})
    folder.save_state({})
    with pytest.raises(ReidEdgeError, match="already holds"):
        folder.check_free()


def test_discarding_leaves_what_is_not_the_runs(folder):
    folder.discard()
    assert not folder.path.exists()
    folder.create({})
    (folder.path / "notes.txt").write_text("mine")
    folder.discard()
    assert [p.name for p in folder.path.iterdir()] == ["notes.txt"]
