"""The folder of a fine-tuning run: there whole, or not at all."""

from __future__ import annotations

import errno
from collections import namedtuple

import pytest

from runtime.errors import ReidEdgeError
from training.qat_folder import NewFolder

Usage = namedtuple("Usage", "total used free")


def test_what_is_written_is_there_at_once(tmp_path):
    out = tmp_path / "runs" / "mine"
    with NewFolder(out, 10) as folder:
        assert list(out.iterdir()) == [], "the place is taken before the work"

        def write(path):
            (path / "a.txt").write_text("a")
            assert list(out.iterdir()) == []

        folder.fill(write)
    assert (out / "a.txt").read_text() == "a"
    assert sorted(p.name for p in out.parent.iterdir()) == ["mine"]


def test_failed_work_leaves_nothing_not_even_parents(tmp_path):
    with pytest.raises(KeyboardInterrupt), NewFolder(tmp_path / "runs" / "mine", 10):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_said_and_leaves_nothing(tmp_path):
    def write(path):
        (path / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ReidEdgeError, match=r"disk is full .* free some space and start again\."):
        with NewFolder(tmp_path / "mine", 10) as folder:
            folder.fill(write)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_already_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(9e6, 8e6, 1e6))
    with pytest.raises(ReidEdgeError, match="needs 2 MB, but its disk has 1 MB free"):
        NewFolder(tmp_path / "mine", 2_000_000).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_made_are_refused_before_the_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ReidEdgeError, match=r"Cannot write .*mine: Not a directory"):
        NewFolder(file / "mine", 10).__enter__()
    with pytest.raises(ReidEdgeError, match="exists already; give a new folder"):
        NewFolder(file, 10).__enter__()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReidEdgeError, match="exists already"):
        NewFolder(tmp_path / "dangling", 10).__enter__()


def test_what_others_put_there_meanwhile_is_not_removed(tmp_path):
    out = tmp_path / "mine"
    with pytest.raises(ReidEdgeError, match="Cannot write"):
        with NewFolder(out, 10) as folder:
            (out / "theirs").write_text("")
            folder.fill(lambda path: None)
    assert [p.name for p in out.iterdir()] == ["theirs"]
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
