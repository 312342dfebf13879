"""What a run says of its images, writes of them, and compares when it is resumed."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from runtime.errors import ReidEdgeError
from tests.training.drawn_people import recipe, write_people
from training.progress import silent
from training.run import TrainOptions, train
from training.trainer import Interrupted, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(people, tmp_path):
    return shutil.copytree(people, tmp_path / "data")


def run(data, out, changes=None, **options):
    lines: list[str] = []
    settings = recipe({"schedule.epochs": 1, **(changes or {})})
    given = TrainOptions(settings, data, out, device="cpu", **options)
    try:
        train(given, silent, lines.append)
    finally:
        given_lines[:] = lines
    return lines


given_lines: list[str] = []  # of the latest run, refused or not


def interrupted(monkeypatch, *given, **options):
    real = Trainer._step

    def stopping(self, *batch):
        self.request_stop()
        return real(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", stopping)
        with pytest.raises(Interrupted):
            run(*given, **options)


def test_every_bad_file_is_named(data, tmp_path):
    bad = [data / f"p{person:02d}" / "2.jpg" for person in range(1, 9)]
    for path in bad:
        path.write_bytes(b"")
    out = tmp_path / "run"
    with pytest.raises(ReidEdgeError, match="8 of 32 training images cannot be read"):
        run(data, out)
    assert all(any(str(path) in line for line in given_lines) for path in bad)
    assert not out.exists()
    lines = run(data, out, skip_unreadable=True)
    assert f"{out / 'problems.txt'} names all files with problems: 8" in lines
    written = (out / "problems.txt").read_text().splitlines()
    assert len(written) == 8 and all(str(p) in line for p, line in zip(bad, written))
    assert json.loads((out / "run.json").read_text())["data"]["problems"] == 8


def test_people_with_few_images_are_said_or_refused(data, tmp_path):
    for person in range(1, 4):
        for number in range(1, 4):
            (data / f"p{person:02d}" / f"{number}.jpg").unlink()
    lines = run(data, tmp_path / "run")
    line = "few images: 3 of 8 people have fewer than 2 images and are repeated: p01, p02, p03"
    assert any(line in said for said in lines)
    for person in range(4, 8):
        for number in range(1, 4):
            (data / f"p{person:02d}" / f"{number}.jpg").unlink()
    (data / "p07/1.jpg").write_bytes((data / "p08/1.jpg").read_bytes())
    with pytest.raises(ReidEdgeError, match="6 of 8 people in data have a single image"):
        run(data, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert any("are one image under 2 people" in said for said in given_lines)
    run(data, tmp_path / "uniform", {"sampler": {"kind": "uniform", "batch": 8}, "losses": {}})


def test_resuming_with_other_views_is_refused(data, tmp_path, monkeypatch):
    """They weigh the images, so the order would be another one."""
    for name, number in (("v1.csv", 0), ("v2.csv", 1)):
        rows = [f"p{p:02d}/{number}.jpg,rear\n" for p in range(1, 9)]
        (tmp_path / name).write_text("path,view\n" + "".join(rows))
    given = (data, tmp_path / "run", {"sampler.rear_weight": 3.0})
    interrupted(monkeypatch, *given, views=tmp_path / "v1.csv")
    with pytest.raises(ReidEdgeError, match="other training images, labels or views"):
        run(*given, views=tmp_path / "v2.csv", resume=True)
    run(*given, views=tmp_path / "v1.csv", resume=True)


def test_resuming_with_exchanged_images_is_refused(data, tmp_path, monkeypatch):
    interrupted(monkeypatch, data, tmp_path / "run")
    (data / "p01").rename(data / "kept")
    (data / "p02").rename(data / "p01")
    (data / "kept").rename(data / "p02")
    with pytest.raises(ReidEdgeError, match="other training images, labels or views"):
        run(data, tmp_path / "run", resume=True)


def test_resuming_a_run_of_an_older_version_is_one_sentence(data, tmp_path, monkeypatch):
    interrupted(monkeypatch, data, tmp_path / "run")
    state = torch.load(tmp_path / "run/state.pt", weights_only=True)
    torch.save({**state, "fingerprint": "0123456789abcdef"}, tmp_path / "run/state.pt")
    with pytest.raises(ReidEdgeError, match="started by an older reid-edge") as error:
        run(data, tmp_path / "run", resume=True)
    assert "\n" not in str(error.value)


def test_resuming_elsewhere_is_said(data, tmp_path, monkeypatch):
    out = tmp_path / "run"
    interrupted(monkeypatch, data, out)
    record = json.loads((out / "run.json").read_text())
    record["versions"]["torch"] = "1.13"
    (out / "run.json").write_text(json.dumps({**record, "threads": 64}))
    lines = run(data, out, resume=True)
    assert any("threads 64, now 1; torch 1.13, now" in line for line in lines)
    again = run(data, out, resume=True)
    assert not any("another machine" in line for line in again)


def test_one_image_of_two_people_reaches_the_report(tmp_path):
    data = write_people(tmp_path / "own", 4, 3)
    shutil.copy(data / "p01/0.jpg", data / "p03/twin.jpg")
    lines = run(data, tmp_path / "run")
    assert any("p01/0.jpg and " in line and "one image under 2 people" in line for line in lines)
    assert "p03/twin.jpg" in (tmp_path / "run/problems.txt").read_text()
