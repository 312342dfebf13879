"""``reid-train qat`` as a user runs it, and its result in ``reid-export``."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch

import training.qat_run
from export.cli import main as reid_export
from models.checkpoint import load_network, save_network
from models.spec import build_network
from models.zoo.demo import demo_crops
from runtime.bundle import Bundle
from runtime.preprocess import preprocess
from tests.training.drawn_people import CONTRACT, SPEC, write_people
from training.cli import main as reid_train
from training.progress import silent
from training.qat_cli import _summary, parser
from training.qat_data import open_images
from training.qat_settings import QatSettings

pytestmark = pytest.mark.usefixtures("one_thread")


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
    save_network(path, network, SPEC, {"training_data": "drawn people", "mAP": 91.5})
    return path


def qat(*arguments):
    try:
        return reid_train(["qat", *map(str, arguments), "--threads", "1", "--device", "cpu"])
    except SystemExit as refused:  # by argparse
        return refused.code


def sentence(capsys) -> str:
    """The one line an error may print."""
    error = capsys.readouterr().err.strip()
    assert error.startswith("reid-train qat: ") and "\n" not in error, error
    return error


@pytest.mark.parametrize("labels", [(), ("--labels",)], ids=["distilled", "labelled"])
def test_result_opens_in_reid_export_with_its_ranges(weights, people, tmp_path, capsys, labels):
    out = tmp_path / "qat"
    assert qat("--weights", weights, "--data", people, "--out", out, "--epochs", 1, "--json", *labels) == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out)
    assert len(record["scores"]) == 2 and record["kept_epoch"] in (0, 1)
    assert record["judge"].startswith("mAP in percent on 4 people" if labels else "mean cosine")
    assert sorted(p.name for p in out.iterdir()) == ["qat.json", "qat.pth", "qat.ranges.json"]
    loaded = load_network(out / "qat.pth")
    assert loaded.family == "reid-edge"
    assert any("quantization aware" in note for note in loaded.notes)
    assert "training data: drawn people" in loaded.notes, "whose terms still hold"
    assert not any("91.5" in note for note in loaded.notes), "that was the network before"
    bundle = tmp_path / "bundle"
    arguments = [
        "--target", "xavier", "--weights", out / "qat.pth", "--ranges", out / "qat.ranges.json",
        "--calib", people, "--threads", "1", "--out", bundle,
    ]  # fmt: skip
    assert reid_export([str(a) for a in arguments]) == 0
    assert Bundle.open(bundle).manifest.precision == "int8"


def test_what_labels_teach_is_kept(weights, tmp_path, capsys):
    """On people held out; judged by cosine to the float network, it would be thrown away."""
    data, out = write_people(tmp_path / "people", 20, 6), tmp_path / "qat"
    teach = ["--labels", "--persons", 4, "--images", 2, "--learning-rate", 1e-2, "--epochs", 2]
    assert qat("--weights", weights, "--data", data, "--out", out, *teach) == 0
    record = json.loads((out / "qat.json").read_text())
    assert record["kept_epoch"] > 0
    assert record["scores"][record["kept_epoch"]] > record["scores"][0] + 3
    assert record["scores"][0] == pytest.approx(record["float_score"], abs=3)
    assert record["data"]["left_out"] == {"of people held out to judge": 24}
    before, after = (load_network(p).network.state_dict() for p in (weights, out / "qat.pth"))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key for key in before if "conv" in key and key.endswith("weight")} <= changed
    printed = capsys.readouterr().out
    assert "mAP in percent on 4 people held out of training (seed 0): 24 queries" in printed
    assert "the float network has" in printed and "told apart from the start" not in printed


def test_people_who_are_told_apart_already_are_said():
    record = {
        "summary": "s.", "judge": "mAP", "float_score": 99.9, "scores": [99.8, 99.7],
        "kept_epoch": 0, "frozen": {}, "target": "cpu", "weights": "a b/w", "ranges": "r",
    }  # fmt: skip
    given = parser().parse_args(["--weights", "w", "--data", "my people", "--out", "o"])
    printed = _summary(record, given)
    assert "told apart from the start" in printed and "give --eval DIR" in printed
    assert "--weights 'a b/w' --ranges r --calib 'my people'" in printed, "to be pasted"
    assert "from the start" not in _summary({**record, "scores": [70.0, 69.0]}, given)


def test_an_evaluation_set_judges_with_and_without_labels(weights, people, market, tmp_path, capsys):  # fmt: skip
    given = ["--weights", weights, "--data", people, "--epochs", 1, "--crops", 8]
    labels, plain = tmp_path / "labels", tmp_path / "plain"
    assert qat(*given, "--out", labels, "--eval", market, "--labels", "--persons", 2) == 0
    assert "also trained on" not in capsys.readouterr().err
    assert qat(*given, "--out", plain, "--eval", people) == 0
    assert f"32 images of {people.name} are also trained on" in capsys.readouterr().err
    for out, judged in ((labels, market), (plain, people)):
        record = json.loads((out / "qat.json").read_text())
        assert record["judge"].startswith(f"mAP in percent on {judged.name}: ")
        assert record["data"]["identities"] == 8, "nobody is held out"


def test_few_people_with_few_images_are_enough(weights, tmp_path):
    data = write_people(tmp_path / "six", 6, 3)
    given = ["--weights", weights, "--data", data, "--epochs", 1, "--labels"]
    assert qat(*given, "--out", tmp_path / "labelled") == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--labels", "--persons", 5], "--persons 5 needs as many people to train on, but"),
        (["--labels", "--persons", 1], "--persons must be at least 2, got 1"),
        (["--labels", "--images", 1], "--images must be at least 2, got 1"),
        (["--labels", "--identities", 3], "Give --eval DIR, more people, or leave out --labels."),
        (["--labels", "--batch", 8], "leave out --batch"),
        (["--persons", 4], "add --labels"),
        (["--eval", "nowhere"], "No evaluation folder nowhere"),
        (["--target", "x3"], "the X3's toolchain finds its ranges itself"),
        (["--target", "x4"], "xavier"),
        (["--epochs", 0], "at least 1"),
        (["--learning-rate", "nan"], "learning rate"),
        (["--layout", "marked"], "layout"),
    ],
)
def test_choices_that_cannot_be_are_named(weights, people, tmp_path, capsys, given, said):
    out = tmp_path / "runs" / "qat"
    assert qat("--weights", weights, "--data", people, "--out", out, *given) == 2
    assert said in sentence(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seed", -1), ("--crops", 0), ("--threads", 0), ("--batch", 0), ("--identities", "ten")],
)
def test_numbers_out_of_range_are_refused_by_their_option(capsys, option, value):
    with pytest.raises(SystemExit) as refused:
        parser().parse_args(["--weights", "w", "--data", "d", "--out", "o", option, str(value)])
    assert refused.value.code == 2
    assert f"argument {option}: expected a number from" in capsys.readouterr().err


def test_an_unknown_device_is_refused(weights, people, tmp_path, capsys):
    given = ["--weights", weights, "--data", people, "--out", tmp_path / "qat", "--device", "foo"]
    assert reid_train(["qat", *map(str, given)]) == 2
    assert "Expected the device cpu, cuda or cuda:1, got 'foo'" in sentence(capsys)
    assert parser().get_default("device") is None, "cuda where there is one, as reid-train"


def test_mistakes_write_nothing(weights, people, tmp_path, capsys):
    out = tmp_path / "qat"
    for arguments, said in (
        (("--weights", weights, "--data", people, "--out", tmp_path), "exists already"),
        (("--weights", weights, "--data", people, "--out", weights / "qat"), "Not a directory"),
        (("--weights", tmp_path / "no.pth", "--data", people, "--out", out), "no.pth"),
        (("--weights", weights, "--data", tmp_path / "no", "--out", out), "no"),
    ):
        assert qat(*arguments) == 2
        assert said in sentence(capsys)
    assert list(tmp_path.iterdir()) == []


def test_unreadable_images_are_found_before_the_work(weights, people, tmp_path, capsys):
    data = shutil.copytree(people, tmp_path / "people")
    broken = data / "p03" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    given = ["--weights", weights, "--data", data, "--out", tmp_path / "qat", "--epochs", 1]
    assert qat(*given) == 2
    error = capsys.readouterr().err
    assert "1 of 32 training images cannot be read" in error and "--skip-unreadable" in error
    assert not (tmp_path / "qat").exists()
    settings = QatSettings(weights, data, tmp_path / "qat", skip_unreadable=True)
    assert len(open_images(settings, silent, print).crops) == 31


def test_a_disk_that_fills_up_behind_the_work_is_a_sentence(
    weights, people, tmp_path, capsys, monkeypatch
):
    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    given = ["--weights", weights, "--data", people, "--epochs", 1, "--crops", 8]
    assert qat(*given, "--out", tmp_path / "qat") == 2
    assert "The disk is full while writing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(weights, people, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.qat_run, "quantization_aware_finetune", interrupted)
    assert qat("--weights", weights, "--data", people, "--out", tmp_path / "qat") == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
