"""The record of a run: what resuming compares, and what it says about machines."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from runtime.errors import ReidEdgeError
from tests.training.small_data import write_images
from training.data import open_training_set
from training.record import check_same_images, fingerprint, machine_change


@pytest.fixture
def root(tmp_path):
    names = [f"{who}/{i}.jpg" for who in ("alice", "bob") for i in range(2)]
    root = write_images(tmp_path / "own", *names)
    with open(root / "alice/0.jpg", "ab") as file:  # the others' namesakes are equal
        file.write(b"more")
    return root


def test_a_fingerprint_is_of_the_set_and_not_of_its_place(root, tmp_path, monkeypatch):
    before = fingerprint(open_training_set(root))
    shutil.copytree(root, tmp_path / "moved")
    assert fingerprint(open_training_set(tmp_path / "moved")) == before
    monkeypatch.chdir(tmp_path)
    assert fingerprint(open_training_set(Path("moved"))) == before


def exchanged(root):
    (root / "alice/0.jpg").rename(root / "kept")
    (root / "bob/0.jpg").rename(root / "alice/0.jpg")
    (root / "kept").rename(root / "bob/0.jpg")


def renamed(root):
    (root / "alice").rename(root / "alicia")


def grown(root):
    with open(root / "bob/1.jpg", "ab") as file:
        file.write(b"x")


def viewed(root):
    (root / "bob/rear").mkdir()
    (root / "bob/1.jpg").rename(root / "bob/rear/1.jpg")


@pytest.mark.parametrize("change", [exchanged, renamed, grown, viewed])
def test_a_fingerprint_changes_with_what_decides_the_training(root, change):
    before = fingerprint(open_training_set(root))
    change(root)
    assert fingerprint(open_training_set(root)) != before


def test_a_fingerprint_changes_with_the_views_of_a_csv_file(root):
    csv = root / "views.csv"
    seen = set()
    for view in ("rear", "front"):
        csv.write_text(f"path,view\nbob/1.jpg,{view}\n")
        seen.add(fingerprint(open_training_set(root, views=csv)))
    assert len(seen | {fingerprint(open_training_set(root))}) == 3


def test_other_images_are_refused(root, tmp_path):
    found = open_training_set(root)
    now = fingerprint(found)
    check_same_images(now, now, tmp_path)
    fewer = dataclasses.replace(found, crops=found.crops[:-1])
    with pytest.raises(ReidEdgeError, match="other training images, labels or views") as error:
        check_same_images(fingerprint(fewer), now, tmp_path)
    assert str(tmp_path / "last.pth") in str(error.value)
    with pytest.raises(ReidEdgeError, match="older reid-edge, which did not note sizes"):
        check_same_images("0123456789abcdef", now, tmp_path)
    (root / "bob/1.jpg").unlink()
    with pytest.raises(ReidEdgeError, match=r"Cannot read image .*1\.jpg"):
        fingerprint(found)


def test_another_machine_is_said():
    def on(device="cpu", threads=2, torch="2.4"):
        versions = {"python": "3.11", "torch": torch, "numpy": "2", "opencv": "4"}
        return {"device": device, "threads": threads, "versions": versions}

    assert machine_change(on(), on()) is None
    said = machine_change(on("H200", 16, "2.5"), on())
    assert "device cpu, now H200; threads 2, now 16; torch 2.4, now 2.5" in said
    assert "same order" in said and "rounding" in said
    assert "torch None, now 2.4" in machine_change(on(), {"device": "cpu", "threads": 2})
