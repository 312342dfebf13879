"""Shapes and constants that a file fixes, held against ONNX Runtime and by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.x3.tensors import fixed_tensors
from tests.export.small_models import node, normal, run
from tests.export.x3.models import x3_model

SHAPE_CHAIN = [
    node("Conv", "x w", "c"),
    node("Shape", "c", "s"),
    node("Gather", "s zero", "batch", axis=0),
    node("Unsqueeze", "batch", "batch1", axes=[0]),
    node("Concat", "batch1 rest", "target", axis=0),
    node("Reshape", "c target", "y"),
]
SHAPE_CONSTANTS = {
    "w": normal(4, 3, 3, 3),
    "zero": np.array(0, np.int64),
    "rest": np.array([-1, 5], np.int64),
}


def test_shape_arithmetic_is_folded_and_the_open_batch_is_one():
    model = x3_model(SHAPE_CHAIN, SHAPE_CONSTANTS, ("batch", 3, 9, 7))
    before = model.SerializeToString()
    found = fixed_tensors(model)
    assert model.SerializeToString() == before
    assert found.dynamic == {"x": [0]}
    assert found.shapes["x"] == (1, 3, 9, 7) and found.shapes["c"] == (1, 4, 7, 5)
    assert found.values["target"].tolist() == [1, -1, 5]
    assert found.shapes["y"] == (1, 28, 5)
    folded = [n.op_type for n in model.graph.node if found.is_constant_node(n)]
    assert folded == ["Shape", "Gather", "Unsqueeze", "Concat"]


def test_shapes_agree_with_a_real_run():
    model = x3_model(SHAPE_CHAIN, SHAPE_CONSTANTS, (1, 3, 9, 7))
    found = fixed_tensors(model)
    names = ["c", "s", "batch1", "target", "y"]
    for name, value in zip(names, run(model, normal(1, 3, 9, 7), names)):
        assert found.shapes[name] == value.shape and found.types[name] == value.dtype.name
    assert found.dynamic == {}


def test_initializers_that_are_also_inputs_are_weights():
    model = x3_model([node("Conv", "x w")], {"w": normal(4, 3, 3, 3)}, (1, 3, 9, 7))
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    found = fixed_tensors(model)
    assert found.inputs == ["x"] and "w" in found.constants and found.shapes["y"] == (1, 4, 7, 5)


def test_a_large_constant_computation_is_constant_even_where_its_value_is_not_computed():
    big = np.zeros((2048, 1024), np.float32)
    nodes = [node("Transpose", "big", "t", perm=[1, 0]), node("MatMul", "x t", "y")]
    model = x3_model(nodes, {"big": big}, (1, 1, 3, 1024))
    found = fixed_tensors(model)
    assert "t" in found.constants and "t" not in found.values
    assert found.shapes["t"] == (1024, 2048) and found.shapes["y"] == (1, 1, 3, 2048)


def test_random_numbers_are_no_constants():
    random = helper.make_node("RandomNormal", [], ["r"], "r_node", shape=[1, 3, 9, 7])
    model = x3_model([random, node("Add", "x r")], shape=(1, 3, 9, 7))
    assert not fixed_tensors(model).constants


def test_unknown_dimensions_leave_shapes_out():
    model = x3_model([node("Relu", "x")], shape=(1, 3, "height", "width"))
    found = fixed_tensors(model)
    assert found.dynamic == {"x": [2, 3]} and "y" not in found.shapes


def test_stale_shapes_in_the_file_do_not_count():
    model = x3_model([node("Relu", "x")], shape=(1, 3, 9, 7))
    del model.graph.value_info[:]
    model.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])
    )
    onnx.checker.check_model(model)
    assert fixed_tensors(model).shapes["y"] == (1, 3, 9, 7)
