"""``reid-export --target x3 --detector``: a detector's files for the toolchain."""

from __future__ import annotations

import json
import subprocess

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from runtime.detectors import open_detector
from runtime.detectors.kinds import KINDS
from runtime.letterbox import Letterbox
from tests.export.cli_helpers import run
from tests.runtime.fake_hobot_dnn import install, make_detector_bin

SIZE = 96  # at 64 the outputs could also be a YOLOv8 with four strides


def tiny_yolox(opset: int = 11, batch: int = 1, outputs: int = 85) -> onnx.ModelProto:
    """One convolution per stride, flattened and stacked as YOLOX does it."""
    nodes, constants, parts = [], [], []
    rng = np.random.default_rng(0)
    for stride in (8, 16, 32):
        weight = rng.standard_normal((outputs, 3, 3, 3)).astype(np.float32) * 0.1
        constants.append(numpy_helper.from_array(weight, f"w{stride}"))
        cells = (SIZE // stride) ** 2
        shape = np.array([batch, outputs, cells], np.int64)
        constants.append(numpy_helper.from_array(shape, f"s{stride}"))
        nodes += [
            helper.make_node("AveragePool", ["x"], [f"p{stride}"], f"pool{stride}",
                             kernel_shape=[stride, stride], strides=[stride, stride]),
            helper.make_node("Conv", [f"p{stride}", f"w{stride}"], [f"c{stride}"],
                             f"conv{stride}", pads=[1, 1, 1, 1]),
            helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"],
                             f"flat{stride}"),
        ]  # fmt: skip
        parts.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", parts, ["all"], "stack", axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["out"], "turn", perm=[0, 2, 1]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(6):
        frame = rng.integers(0, 256, (48, 96, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{i}.png"), frame)
    return folder


@pytest.fixture
def detector(tmp_path):
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny_yolox(), str(path))
    return path


def test_files_agree_with_the_detectors_own_preprocessing(detector, frames, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", out)
    outcome = run(capsys, *arguments, "--json")
    record = json.loads(outcome.out)
    assert outcome.status == 0 and record["kind"] == "yolox"
    config = yaml.safe_load((out / "config.yaml").read_text())
    inputs = config["input_parameters"]
    assert inputs["input_type_train"] == "bgr" and inputs["input_type_rt"] == "nv12"
    data = sorted((out / config["calibration_parameters"]["cal_data_dir"]).iterdir())
    assert len(data) == 6
    sample = np.fromfile(data[0], np.float32).reshape(3, SIZE, SIZE)
    frame = cv2.imread(str(frames / "0.png"))
    expected = Letterbox.fit((48, 96), (SIZE, SIZE), "top_left", "down").apply(frame, 114)
    np.testing.assert_array_equal(sample, expected.transpose(2, 0, 1).astype(np.float32))
    assert (sample[:, 48:] == 114).all()  # the padding below the frame
    model = onnx.load(str(out / config["model_parameters"]["onnx_model"]))
    assert model.ir_version == 7 and model.opset_import[0].version == 11
    subprocess.run(["bash", "-n", str(out / "build.sh")], check=True)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (tiny_yolox(opset=13), "opset 13"),
        (tiny_yolox(batch=2), "one fixed input"),
        (tiny_yolox(outputs=4), "no known detector"),
    ],
    ids=["opset", "batch", "signature"],
)
def test_unusable_detectors_are_refused(model, said, frames, tmp_path, capsys):
    path, out = tmp_path / "bad.onnx", tmp_path / "out"
    onnx.save(model, str(path))
    outcome = run(capsys, "--target", "x3", "--detector", path, "--calib", frames, "--out", out)
    assert outcome.status == 2 and said in outcome.sentence and not out.exists()


def test_the_board_opens_what_was_exported(detector, frames, tmp_path, capsys, monkeypatch):
    """Compiled by a stand-in whose outputs lie otherwise, as the vendor's compiler may put them."""
    out = tmp_path / "out"
    arguments = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", out)
    record = json.loads(run(capsys, *arguments, "--json").out)
    assert record["outputs"] == [{"name": "out", "shape": [1, 189, 85]}]
    compiled = make_detector_bin(
        (out / "tiny.onnx").read_bytes(),
        KINDS["yolox"].preparation.contract((SIZE, SIZE)),
        channels_last=True,
    )
    (out / "model_output").mkdir()
    (out / "model_output" / "tiny.bin").write_bytes(compiled)
    install(monkeypatch)
    for given in (out, out / "model_output" / "tiny.bin"):
        with open_detector(given) as opened:
            assert opened.name == "yolox tiny.bin horizon-bpu"
            (got,) = opened.infer(opened.prepare(np.zeros((48, 96, 3), np.uint8))[0])
            assert got.shape == (1, 189, 85)


def test_other_mistakes(detector, frames, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    target = ("--target", "x3", "--detector", detector)
    for arguments, said in (
        (target, "pass --calib FOLDER"),
        ((*target, "--calib", empty, "--out", tmp_path / "out"), "No frames in"),
        (("--target", "cpu", "--detector", detector), "are for --target x3"),
        (("--target", "x3", "--detector", tmp_path / "no.onnx", "--calib", frames), "Cannot read"),
    ):
        outcome = run(capsys, *arguments)
        assert outcome.status == 2 and said in outcome.sentence


def test_real_yolox_is_exported(shared, tmp_path, capsys):
    out = tmp_path / "out"
    model = shared / "detectors" / "yolox_nano_416x416.onnx"
    frames = shared / "video" / "ETH-Sunnyday" / "img1"
    outcome = run(
        capsys, "--target", "x3", "--detector", model, "--calib", frames, "--out", out, "--json"
    )
    record = json.loads(outcome.out)
    assert outcome.status == 0 and record["kind"] == "yolox"
    assert record["calibration_data"]["files"] == 100
    assert record["operators"]["counts"]["unsupported"] == 0
