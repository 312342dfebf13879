"""Taking the toolchain's result into the folder of an exported detector."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import onnx
import pytest
import yaml

from runtime.detectors import open_detector
from runtime.detectors.kinds import KINDS
from tests.export.cli_helpers import run
from tests.export.x3.hb_logs import BOARD, CHECKER, FAILED, makertbin
from tests.export.x3.test_detector import SIZE, tiny_yolox
from tests.runtime.fake_hobot_dnn import install, make_detector_bin


@pytest.fixture
def folder(tmp_path, capsys):
    """As a finished build.sh leaves it."""
    detector, frames, out = tmp_path / "tiny.onnx", tmp_path / "frames", tmp_path / "out"
    onnx.save(tiny_yolox(), str(detector))
    frames.mkdir()
    rng = np.random.default_rng(1)
    for i in range(6):
        assert cv2.imwrite(str(frames / f"{i}.png"), rng.integers(0, 256, (48, 96, 3), np.uint8))
    arguments = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", out)
    assert run(capsys, *arguments).status == 0
    known = onnx.load(str(out / "tiny.onnx")).graph.node[0].name
    (out / "logs").mkdir()
    (out / "logs" / "checker.txt").write_text(CHECKER)
    (out / "logs" / "makertbin.txt").write_text(makertbin().replace("Conv_0 ", known + " "))
    (out / "model_output").mkdir()
    compiled = make_detector_bin(
        (out / "tiny.onnx").read_bytes(), KINDS["yolox"].preparation.contract((SIZE, SIZE))
    )
    (out / "model_output" / "tiny.bin").write_bytes(compiled)
    return out


def fold(capsys, path):
    return run(capsys, "--target", "x3", "--fold", path)


def test_the_result_is_in_the_record_and_the_board_still_opens_it(folder, capsys, monkeypatch):
    before = json.loads((folder / "detector.json").read_text())
    (folder / "logs" / "board.txt").write_text(BOARD)
    (folder / "logs" / "verifier.txt").write_text("")
    outcome = fold(capsys, folder)
    assert outcome.status == 0
    after = json.loads((folder / "detector.json").read_text())
    part = after.pop("toolchain")
    assert after == before and part == json.loads(outcome.out)
    assert part["success"] and part["board"]["threads"] == 1 and part["config_changes"] == {}
    assert part["warnings"] == [part["verification"]["error"]]
    compiled = (folder / "model_output" / "tiny.bin").read_bytes()
    assert part["model"] == {
        "file": "model_output/tiny.bin",
        "sha256": hashlib.sha256(compiled).hexdigest(),
    }
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
    install(monkeypatch)
    with open_detector(folder) as opened:
        (got,) = opened.infer(opened.prepare(np.zeros((48, 96, 3), np.uint8))[0])
        assert got.shape == (1, 189, 85)


def test_folding_again_and_a_failed_build(folder, capsys):
    fold(capsys, folder)
    (folder / "logs" / "makertbin.txt").write_text(FAILED)
    assert fold(capsys, folder).status == 3
    part = json.loads((folder / "detector.json").read_text())["toolchain"]
    assert not part["success"] and part["model"] is None


def test_a_tuned_configuration(folder, capsys):
    path = folder / "config.yaml"
    data = yaml.safe_load(path.read_text())
    data["compiler_parameters"]["core_num"] = 2
    data["calibration_parameters"]["calibration_type"] = "kl"
    path.write_text(yaml.safe_dump(data))
    outcome = fold(capsys, folder)
    assert json.loads(outcome.out)["config_changes"] == {
        "calibration_parameters.calibration_type": ["default", "kl"],
        "compiler_parameters.core_num": [1, 2],
    }
    data["input_parameters"]["input_type_rt"] = "bgr"
    del data["input_parameters"]["input_space_and_range"]
    path.write_text(yaml.safe_dump(data))
    outcome = fold(capsys, folder)
    assert outcome.status == 2 and "input_parameters.input_type_rt" in outcome.sentence


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "detector.json").write_text("[]"), "was changed or is of another version"),
        (lambda f: (f / "detector.json").write_text("no"), "was changed or is of another version"),
        (lambda f: (f / "tiny.onnx").unlink(), "is not the network that was exported"),
        (lambda f: (f / "tiny.onnx").write_bytes(b"x"), "is not the network that was exported"),
        (lambda f: (f / "model_output" / "tiny.bin").unlink(), "is not there"),
        (lambda f: [p.unlink() for p in (f / "logs").iterdir()], "no log of hb_mapper"),
        (lambda f: (f / "config.yaml").unlink(), "Cannot read"),
        (lambda f: (f / "build.sh").unlink(), "Cannot read"),
        (lambda f: (f / "build.sh").write_text("true\n"), "Expected the exported configuration"),
        (lambda f: (f / "build.sh").write_text("# Exported with: {\n"), "exported configuration"),
    ],
)
def test_what_cannot_be_folded_changes_nothing(folder, capsys, damage, said):
    damage(folder)
    before = (folder / "detector.json").read_text()
    outcome = fold(capsys, folder)
    assert outcome.status == 2 and said in outcome.sentence
    assert (folder / "detector.json").read_text() == before


def test_a_folder_that_is_neither(tmp_path, capsys):
    outcome = fold(capsys, tmp_path)
    assert outcome.status == 2 and "is not a bundle" in outcome.sentence
