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


def tiny_yolox(
    opset: int = 11, batch: int = 1, outputs: int = 85, width: int = SIZE
) -> onnx.ModelProto:
    """One convolution per stride, flattened and stacked as YOLOX does it."""
    nodes, constants, parts = [], [], []
    rng = np.random.default_rng(0)
    for stride in (8, 16, 32):
        cells = (SIZE // stride) * (width // stride)
        shape = np.array([batch, outputs, cells], np.int64)
        constants.append(numpy_helper.from_array(shape, f"s{stride}"))
        nodes.append(
            helper.make_node("AveragePool", ["x"], [f"p{stride}"], f"pool{stride}",
                             kernel_shape=[stride, stride], strides=[stride, stride])
        )  # fmt: skip
        made = []
        for name, count in (("box", min(4, outputs)), ("score", outputs - 4)):
            if count:
                weight = rng.standard_normal((count, 3, 3, 3)).astype(np.float32) * 0.002
                constants.append(numpy_helper.from_array(weight, f"w{name}{stride}"))
                nodes.append(
                    helper.make_node("Conv", [f"p{stride}", f"w{name}{stride}"],
                                     [f"{name}{stride}"], f"conv_{name}{stride}", pads=[1, 1, 1, 1])
                )  # fmt: skip
                made.append(f"{name}{stride}")
        if len(made) > 1:
            nodes.append(helper.make_node("Sigmoid", [made[1]], [f"p_{made[1]}"], made[1]))
            made[1] = f"p_{made[1]}"
        nodes += [
            helper.make_node("Concat", made, [f"c{stride}"], f"join{stride}", axis=1),
            helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"],
                             f"flat{stride}"),
        ]  # fmt: skip
        parts.append(f"r{stride}")
    nodes.append(helper.make_node("Concat", parts, ["all"], "stack", axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["out"], "turn", perm=[0, 2, 1]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIZE, width])],
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


def test_options_without_effect_are_refused(detector, frames, tmp_path, capsys):
    export = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", tmp_path / "o")
    for more in (("--batch", "1,1,1"), ("--eval", frames), ("--precision", "fp16"), ("--seed", 3)):
        outcome = run(capsys, *export, *more)
        assert (
            outcome.status == 2 and f"{more[0]} has no effect with --detector" in outcome.sentence
        )
    outcome = run(capsys, "--target", "x3", "--check-only", detector, "--force")
    assert outcome.status == 2 and "--force has no effect with --check-only" in outcome.sentence
    outcome = run(capsys, "--target", "x3", "--detector-kind", "yolox")
    assert outcome.status == 2 and "goes with --detector" in outcome.sentence
    for option, value in (
        ("--core-num", 3),
        ("--optimize-level", "O4"),
        ("--max-percentile", 0.999),
        ("--calib-count", 0),
        ("--board-input", "yuv"),
        ("--calibration-type", "skip"),
        ("--detector-kind", "yolo99"),
    ):
        outcome = run(capsys, *export, option, value)
        assert outcome.status == 2 and str(value) in outcome.sentence
    assert not (tmp_path / "o").exists()


def test_options_reach_the_configuration_and_the_simulation(detector, frames, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--calib-count", 4, "--calibration-type", "max", "--max-percentile", 0.999)
    more = ("--core-num", 2, "--optimize-level", "O2", "--layer-times", "--detector-kind", "yolox")
    target = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", out)
    record = json.loads(run(capsys, *target, *options, *more, "--json").out)
    assert record["calibration_data"]["files"] == 4
    assert record["simulation"]["max_percentile"] == 0.999
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["calibration_parameters"]["max_percentile"] == 0.999
    compiler = config["compiler_parameters"]
    assert (compiler["core_num"], compiler["optimize_level"], compiler["debug"]) == (2, "O2", True)


def test_a_width_the_board_cannot_take_is_refused_here(frames, tmp_path, capsys):
    path, out = tmp_path / "wide.onnx", tmp_path / "out"
    onnx.save(tiny_yolox(width=104), str(path))
    target = ("--target", "x3", "--detector", path, "--calib", frames, "--out", out)
    outcome = run(capsys, *target)
    assert outcome.status == 2 and "multiple of 16, and wide.onnx takes 96x104" in outcome.sentence
    assert not out.exists()


def test_frames_of_one_colour_are_left_out(detector, frames, tmp_path, capsys):
    out = tmp_path / "out"
    for i in range(2):
        black = np.zeros((48, 96, 3), np.uint8)  # letterboxed it is no longer of one colour
        assert cv2.imwrite(str(frames / f"black{i}.png"), black)
    target = ("--target", "x3", "--detector", detector, "--calib", frames, "--out", out)
    record = json.loads(run(capsys, *target, "--json").out)
    assert record["calibration_data"]["files"] == 6
    assert "2 frames of one colour were left out." in record["warnings"]
    assert run(capsys, *target, "--force").status == 0
    for path in frames.glob("[0-9].png"):
        path.unlink()
    outcome = run(capsys, *target, "--force")
    assert outcome.status == 2 and "All 2 frames" in outcome.sentence
    (out / "detector.json").unlink()
    outcome = run(capsys, *target, "--force")
    assert outcome.status == 2 and "it has no detector.json" in outcome.sentence


def test_a_shufflenet_stays_on_the_bpu(shared, tmp_path, capsys):
    """FastestDet as published leaves 68 nodes to the CPU, in between 15 segments."""
    out = tmp_path / "out"
    model = shared / "detectors" / "FastestDet.onnx"
    frames = shared / "video" / "ETH-Sunnyday" / "img1"
    options = ("--calib-count", 12, "--threads", 1, "--json")
    outcome = run(
        capsys, "--target", "x3", "--detector", model, "--calib", frames, "--out", out, *options
    )
    record = json.loads(outcome.out)
    assert outcome.status == 0 and record["kind"] == "fastestdet"
    operators = record["operators"]
    assert operators["of_the_file"]["segments"] == 15
    assert operators["of_the_file"]["counts"]["CPU"] == 68
    assert operators["segments"] <= 2 and operators["counts"]["CPU"] <= 3
    (step,) = record["rewrites"]
    assert step["count"] == 26 and step["relative_l2"] <= 1e-5
    people = record["simulation"]["people"]
    assert people["frames"] == 32 and people["float"] > 200
    assert people["int8"]["recall"] > 0.85 and people["int8_nv12"]["recall"] > 0.8
    frame = cv2.imread(str(frames / "000001.jpg"))
    before, after = (open_detector(p).detect(frame) for p in (model, out / "FastestDet.onnx"))
    np.testing.assert_allclose(before.boxes, after.boxes, atol=1e-3)


def test_what_the_board_would_not_find_is_said(shared, tmp_path, capsys, monkeypatch):
    """YOLOX-nano's SiLU leaves the BPU 73 times, and its int8 loses everybody."""
    monkeypatch.setattr("export.x3.detector_frames.HELD_OUT", 8)
    model = shared / "detectors" / "yolox_nano_416x416.onnx"
    frames = shared / "video" / "ETH-Sunnyday" / "img1"
    options = ("--calib-count", 4, "--threads", 1, "--json", "--out", tmp_path / "out")
    outcome = run(capsys, "--target", "x3", "--detector", model, "--calib", frames, *options)
    record = json.loads(outcome.out)
    assert outcome.status == 0 and record["kind"] == "yolox"
    assert record["operators"]["counts"]["unsupported"] == 0
    said = " ".join(record["warnings"])
    assert "cut the network into 108 BPU segments" in said
    assert "of the people that the float network finds" in said
