"""``reid-export`` on input it cannot use: one sentence, a status, and nothing left behind."""

# ruff: noqa: F401, F811  (fixtures are imported, and then named as arguments)

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import export.write
from models.checkpoint import source_state_dict
from models.zoo.default import untrained_network
from runtime.bundle import Bundle
from tests.export.cli_helpers import (
    FP16,
    INT8,
    SIZE,
    checkpoint,
    data,
    place,
    refuse,
    run,
    save,
    small_state,
)


class Pickled(torch.nn.Linear):
    """A module saved whole, as old training scripts do; unpickling it needs this class."""


@pytest.fixture
def usage_error(capsys, place):
    """Run the command; argparse or the options must refuse it."""

    def usage_error_(*arguments) -> str:
        outcome = run(capsys, *arguments, "--out", place / "bundle")
        assert outcome.status == 2 and outcome.out == ""
        assert "Traceback" not in outcome.err
        assert outcome.err.splitlines()[-1].startswith("reid-export: ")
        assert list(place.iterdir()) == []
        return outcome.err

    return usage_error_


# -- checkpoints ---------------------------------------------------------------------------------


def test_missing_checkpoint(refuse, tmp_path):
    assert "no.pth: No such file" in refuse(*FP16, "--weights", tmp_path / "no.pth")


def test_folder_as_checkpoint(refuse, tmp_path):
    assert "is a folder, but a checkpoint file was expected" in refuse(*FP16, "--weights", tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n" * 50, bytes(range(256)) * 20])
def test_corrupt_checkpoint(refuse, tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    assert "download" in refuse(*FP16, "--weights", path)


@pytest.mark.parametrize(
    "share",
    [
        0.01,  # shorter than what a zip reader looks through for the directory
        0.5,
        0.999,
    ],
)
def test_truncated_checkpoint(refuse, tmp_path, checkpoint, share):
    whole = checkpoint.read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "truncated or damaged" in refuse(*FP16, "--weights", path)


def test_unknown_family(refuse, tmp_path):
    path = save(tmp_path / "other.pth", {"encoder.weight": torch.ones(3, 3)})
    assert "No supported ReID codebase has these checkpoint keys" in refuse(
        *FP16, "--weights", path
    )


def test_checkpoint_with_a_key_missing(refuse, tmp_path):
    state = small_state()
    del state["base.layer3.1.conv2.weight"]
    sentence = refuse(*FP16, "--weights", save(tmp_path / "gap.pth", state))
    assert "1 missing keys (backbone.layer3.1.conv2.weight)" in sentence


def test_wrong_arch(refuse, checkpoint):
    weights = ["--weights", checkpoint]
    assert "--arch resnet7 is unknown" in refuse(*FP16, *weights, "--arch", "resnet7")
    assert "expects a torchreid checkpoint" in refuse(*FP16, *weights, "--arch", "osnet_x0_25")
    assert "--arch bot_resnet50 does not fit" in refuse(*FP16, *weights, "--arch", "bot_resnet50")
    assert "pass it with --weights" in refuse("--target", "xavier", "--arch", "bot_resnet50")


def test_rga_of_another_input_size(refuse, tmp_path):
    state = source_state_dict(untrained_network().network, "microsoft-rga")
    path = save(tmp_path / "rga.pth", {"state_dict": state})
    sentence = refuse(
        *["--target", "xavier", "--precision", "fp16", "--weights", path],
        *["--height", "384", "--width", "128"],
    )
    assert "(it fits 256x128), which is not a 384x128 input" in sentence


def test_pickled_object_needs_consent(refuse, tmp_path):
    path = save(tmp_path / "whole.pth", {"state_dict": small_state(), "head": Pickled(2, 2)})
    sentence = refuse(*FP16, "--weights", path)
    assert "runs code from the file; pass --allow-pickle only for a file you trust" in sentence


def test_pickled_object_with_consent(capsys, tmp_path, place):
    path = save(tmp_path / "whole.pth", {"state_dict": small_state(), "head": Pickled(2, 2)})
    outcome = run(
        capsys, "--target", "xavier", "--precision", "fp32", *SIZE, "--weights", path,
        "--allow-pickle", "--out", place / "bundle",
    )  # fmt: skip
    assert (outcome.status, outcome.err) == (0, "")
    assert Bundle.open(place / "bundle").manifest.network["source"] == "whole.pth"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(refuse, tmp_path, value):
    state = small_state()
    state["base.layer2.0.conv1.weight"][3, 1] = value
    sentence = refuse(*FP16, "--weights", save(tmp_path / "nan.pth", state))
    assert "first in base.layer2.0.conv1.weight (9 values)" in sentence


def test_weights_that_make_nan(refuse, tmp_path):
    """Finite, but a variance below zero has no root."""
    state = small_state()
    state["base.layer2.0.bn1.running_var"][:] = -1.0
    assert "gives NaN or infinity" in refuse(*FP16, "--weights", save(tmp_path / "v.pth", state))


def test_dead_layer(refuse, tmp_path, data):
    state = small_state()
    state["base.layer2.1.conv2.weight"][:] = 0
    path = save(tmp_path / "dead.pth", state)
    sentence = refuse(*INT8, "--weights", path, "--calib", data)
    assert sentence.startswith("All weights of /backbone/layer2.1/conv2/Conv are zero")


def test_dead_channel_is_noted(capsys, tmp_path, data, place):
    state = small_state()
    state["base.layer2.1.conv2.weight"][[0, 7]] = 0
    outcome = run(
        capsys, *INT8, "--weights", save(tmp_path / "pruned.pth", state), "--calib", data,
        "--out", place / "bundle",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    note = "2 output channels in 1 layers have no weights left (most in /backbone/layer2.1/conv2"
    assert "note: " + note in outcome.out
    report = json.loads(Bundle.open(place / "bundle").find("report").read_text())
    assert any(text.startswith(note) for text in report["warnings"])


# -- calibration and evaluation data -------------------------------------------------------------


def test_no_calibration_data(refuse, checkpoint, tmp_path):
    weights = ["--weights", checkpoint]
    assert "pass --calib DIR" in refuse(*INT8, *weights)
    assert "nowhere is no folder" in refuse(*INT8, *weights, "--calib", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "No images found" in refuse(*INT8, *weights, "--calib", tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("no image\n")
    assert "No images found" in refuse(*INT8, *weights, "--calib", tmp_path / "empty")


@pytest.mark.parametrize("name", ["query", "bounding_box_test"])
def test_test_crops_are_refused_for_calibration(refuse, checkpoint, data, name):
    sentence = refuse(*INT8, "--weights", checkpoint, "--calib", data / name)
    assert f"holds test crops ({name})" in sentence


def test_too_few_crops(refuse, checkpoint, data, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted((data / "bounding_box_train").iterdir())[:3]:
        shutil.copy(path, folder)
    assert "calibration needs at least 4" in refuse(
        *INT8, "--weights", checkpoint, "--calib", folder
    )


def test_unreadable_images_are_skipped_and_counted(
    capsys, caplog, checkpoint, data, tmp_path, place
):
    folder = tmp_path / "mixed"
    shutil.copytree(data / "bounding_box_train", folder)
    paths = sorted(folder.iterdir())
    paths[0].write_bytes(b"")
    paths[1].write_bytes(paths[1].read_bytes()[:40])
    paths[2].write_text("an error page instead of an image\n")
    with caplog.at_level(logging.WARNING):
        outcome = run(
            capsys, *INT8, "--weights", checkpoint, "--calib", folder, "--out", place / "bundle"
        )
    assert outcome.status == 0, outcome.err
    assert "3 unreadable images were skipped" in caplog.text
    bundle = Bundle.open(place / "bundle")
    report = json.loads(bundle.find("report").read_text())
    assert report["calibration"]["crops"]["unreadable"] == 3
    assert bundle.manifest.calibration["crops"]["unreadable"] == 3


def test_only_unreadable_images(refuse, checkpoint, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for number in range(6):
        (folder / ("%04d_c1s1_000001_00.jpg" % number)).write_bytes(b"\xff\xd8 cut")
    assert "None of the 6 calibration crops" in refuse(
        *INT8, "--weights", checkpoint, "--calib", folder
    )


def test_too_few_identities_to_evaluate(refuse, checkpoint, tmp_path):
    for part, names in (
        ("query", ["0001_c1s1_000001_00.png"]),
        ("bounding_box_test", ["0001_c2s1_000002_00.png", "0002_c1s1_000003_00.png"]),
    ):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(tmp_path / "set" / part / name), np.full((64, 32, 3), 90, np.uint8))
    evaluated = [*FP16, "--weights", checkpoint, "--eval"]
    assert "expected at least 2 identities" in refuse(*evaluated, tmp_path / "set")
    (tmp_path / "set" / "bounding_box_test" / "0001_c2s1_000002_00.png").unlink()
    assert "No query in" in refuse(*evaluated, tmp_path / "set")
    assert "No evaluation folder" in refuse(*evaluated, tmp_path / "nowhere")


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--precision", "auto"], "it needs --eval DIR"),
        (["--precision", "int4"], "--precision must be one of fp32, fp16, int8, auto"),
        (["--target", "toaster"], "--target must be one of xavier, cpu"),
        (["--target", "cpu", "--precision", "fp16"], "gain nothing from fp16"),
        (["--batch", "0,1,2"], "1 <= min <= opt <= max"),
        (["--batch", "8,4,16"], "1 <= min <= opt <= max"),
        (["--batch", "4"], "expected MIN,OPT,MAX like 1,4,16, got '4'"),
        (["--batch", "a,b,c"], "expected MIN,OPT,MAX"),
        (["--mean", "0.5"], "expected three numbers"),
        (["--mean", "nan,0,0"], "Input mean must be three numbers"),
        (["--std", "0,1,1"], "std must be positive"),
        (["--height", "tall"], "invalid int value"),
        (["--height", "2"], "Input height must be an integer from 8 to 4096"),
        (["--calib-count", "2"], "--calib-count must be from 8"),
        (["--calib-method", "magic"], "--calib-method must be one of auto, "),
        (["--calib-select", "best"], "--calib-select must be one of random"),
        (["--improve", "a lot"], "--improve must be one of auto"),
        (["--max-map-drop", "-1"], "--max-map-drop must be 0 or more"),
        (["--max-map-drop", "nan"], "--max-map-drop must be 0 or more"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--color", "CMYK"], "invalid choice: 'CMYK'"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_options_that_make_no_sense(usage_error, checkpoint, arguments, expected):
    assert expected in usage_error(*FP16, "--weights", checkpoint, *arguments)


def test_target_is_asked_for(usage_error):
    assert "--target" in usage_error()


def test_the_command_itself(tmp_path):
    """As a process: nothing but the sentence on stderr, also from libraries."""
    done = subprocess.run(
        [
            sys.executable, "-m", "export.cli", "--target", "xavier", "--precision", "fp16",
            "--weights", str(tmp_path / "no.pth"), "--out", str(tmp_path / "bundle"),
        ],
        capture_output=True, text=True, cwd=Path(export.write.__file__).parents[1], timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "reid-export: Cannot read checkpoint %s: No such file or directory." % (tmp_path / "no.pth")
    ]
    assert list(tmp_path.iterdir()) == []
