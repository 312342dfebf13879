"""The command that times models against each other."""

import json

import numpy as np
import pytest

from benchmarks.compare import main

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture
def model(tmp_path):
    def make(name, size=8, repeats=1):
        nodes, tensor = [], "images"
        for i in range(repeats):
            nodes.append(helper.make_node("Conv", [tensor, "w"], [f"t{i}"], pads=[1] * 4))
            tensor = f"t{i}"
        nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["p"]))
        nodes.append(helper.make_node("Flatten", ["p"], ["y"]))
        weight = np.full((3, 3, 3, 3), 0.01, np.float32)
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, size, size])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3])],
            [numpy_helper.from_array(weight, "w")],
        )
        path = tmp_path / name
        opset = [helper.make_opsetid("", 13)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=7), path)
        return str(path)

    return make


def test_the_slower_model_shows_as_a_multiple_of_the_first(model, capsys):
    quick, slow = model("quick.onnx", 64), model("slow.onnx", 64, repeats=30)
    assert main([quick, slow, "--repeats", "6", "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["latency_ms"]) == [quick, slow]
    assert report["latency_ms"][slow]["p50_ms"] > report["latency_ms"][quick]["p50_ms"]
    assert report["batch"] == 1 and report["threads"] == 1 and report["machine"]["cores"]


def test_the_table_starts_with_the_machine(model, capsys):
    assert main([model("a.onnx"), "--repeats", "2", "--batch", "3"]) == 0
    machine, row = capsys.readouterr().out.splitlines()
    assert "batch 3" in machine and "onnxruntime" in machine
    assert row.endswith("1.00x")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["missing.onnx"], "missing.onnx"),
        (["a.onnx", "--batch", "0"], "--batch"),
    ],
)
def test_mistakes_are_one_sentence(arguments, expected, capsys):
    assert main(arguments) != 0
    error = capsys.readouterr().err
    assert expected in error and len(error.strip().splitlines()) == 1


def test_models_of_different_sizes_cannot_be_compared(model, capsys):
    assert main([model("a.onnx", 8), model("b.onnx", 16)]) != 0
    assert "one input size" in capsys.readouterr().err
