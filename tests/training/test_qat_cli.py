"""``reid-train qat`` as a user runs it, and its result in ``reid-export``."""

from __future__ import annotations

import json

import pytest
import torch

from export.cli import main as reid_export
from models.checkpoint import load_network, save_network
from models.spec import build_network
from models.zoo.demo import demo_crops
from runtime.bundle import Bundle
from runtime.preprocess import preprocess
from tests.training.drawn_people import CONTRACT, SPEC
from training.cli import main as reid_train


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with BatchNorm statistics of drawn people."""
    torch.manual_seed(2)
    network = build_network(SPEC)
    crops = [image for image, _, _ in demo_crops(12, 2, 4)]
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(preprocess(crops, CONTRACT)))
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    save_network(path, network, SPEC, {"recipe": "none"})
    return path


def qat(*arguments):
    return reid_train(["qat", *map(str, arguments), "--threads", "1"])


@pytest.mark.parametrize("labels", [(), ("--labels",)], ids=["distilled", "labelled"])
def test_result_opens_in_reid_export_with_its_ranges(weights, people, tmp_path, capsys, labels):
    out = tmp_path / "qat"
    assert qat("--weights", weights, "--data", people, "--out", out, "--epochs", 1, "--json", *labels) == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out)
    assert len(record["scores"]) == 2 and record["kept_epoch"] in (0, 1)
    assert sorted(p.name for p in out.iterdir()) == ["qat.json", "qat.pth", "qat.ranges.json"]
    loaded = load_network(out / "qat.pth")
    assert loaded.family == "reid-edge"
    assert any("quantization aware" in note for note in loaded.notes)
    bundle = tmp_path / "bundle"
    arguments = [
        "--target", "xavier", "--weights", out / "qat.pth", "--ranges", out / "qat.ranges.json",
        "--calib", people, "--threads", "1", "--out", bundle,
    ]  # fmt: skip
    assert reid_export([str(a) for a in arguments]) == 0
    assert Bundle.open(bundle).manifest.precision == "int8"


def test_mistakes_write_nothing(weights, people, tmp_path, capsys):
    out = tmp_path / "qat"
    for arguments, said in (
        (("--weights", weights, "--data", people, "--out", tmp_path), "exists already"),
        (("--weights", tmp_path / "no.pth", "--data", people, "--out", out), "no.pth"),
        (("--weights", weights, "--data", tmp_path / "no", "--out", out), "no"),
        (("--weights", weights, "--data", people, "--out", out, "--target", "x4"), "xavier"),
        (("--weights", weights, "--data", people, "--out", out, "--epochs", 0), "at least 1"),
    ):
        assert qat(*arguments) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and error.startswith("reid-train qat: ") and "\n" not in error
    assert list(tmp_path.iterdir()) == []
