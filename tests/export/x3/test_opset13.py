"""The X3's graph in opset 13 computes what it did in opset 11, under the same names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from export.x3.opset13 import FLATTEN, IR_VERSION, OPSET, to_opset13
from runtime.errors import ReidEdgeError
from tests.export.small_models import node, normal, run, small_model

SHAPE = (1, 3, 8, 6)


def changed_operators() -> onnx.ModelProto:
    """A fixed-size opset 11 network of operators whose form or meaning opset 13 changed."""
    return small_model(
        [
            node("Conv", "x w", "c", "conv", pads=[1] * 4),
            node("Split", "c", "u v", "split", axis=1, split=[2, 6]),
            node("ReduceSum", "v", "s", "sum", axes=[1], keepdims=0),
            node("Unsqueeze", "s", "e", "unsqueeze", axes=[1]),
            node("Mul", "u e", "m", "mul"),
            node("Softmax", "m", "f", "softmax", axis=1),  # over 2 x 8 x 6 values in opset 11
            node("Pad", "f pads", "q", "pad"),
            node("Clip", "q low high", "k", "clip"),
            node("GlobalAveragePool", "k", "y", "pool"),
        ],
        {
            "w": normal(8, 3, 3, 3),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
            "low": np.array(0.001, np.float32),
            "high": np.array(0.5, np.float32),
        },
        shape=SHAPE,
        opset=11,
        ir_version=6,
    )


def test_same_values_under_the_same_names():
    before = changed_operators()
    graph = to_opset13(before)
    after = graph.to_model()
    onnx.checker.check_model(after, full_check=True)
    assert after.ir_version == IR_VERSION
    assert [(o.domain, o.version) for o in after.opset_import] == [("", OPSET)]
    names = [n.name for n in before.graph.node]
    assert [n.name for n in after.graph.node if n.name in names] == names
    images = normal(*SHAPE, seed=4)
    inner = ["c", "u", "v", "s", "e", "m", "f", "q", "k"]
    for a, b in zip(run(before, images, inner), run(after, images, inner)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(before, images).reshape(1, -1), run(after, images), rtol=1e-5)


def test_output_becomes_a_row_per_image_and_keeps_its_name():
    after = to_opset13(changed_operators()).to_model()
    last = after.graph.node[-1]
    assert (last.name, last.op_type, list(last.output)) == (FLATTEN, "Flatten", ["y"])
    dims = after.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 2]


def test_a_free_batch_stays_free():
    model = small_model(
        [
            node("Conv", "x w", "c", "conv"),
            node("GlobalAveragePool", "c", "p", "pool"),
            node("Flatten", "p", "y", "flatten"),
        ],
        {"w": normal(5, 3, 3, 3)},
    )
    graph = to_opset13(model)
    images = normal(4, 3, 9, 7)
    np.testing.assert_array_equal(run(graph.to_model(), images), run(model, images))
    assert graph.shapes()[graph.output_name] == ("batch", 5)


def test_a_map_is_no_embedding():
    model = small_model([node("Conv", "x w", "y", "conv")], {"w": normal(5, 3, 3, 3)}, opset=11)
    with pytest.raises(ReidEdgeError, match=r"returns \(1, D, 1, 1\) or \(1, D\), this one"):
        to_opset13(model)


def test_an_operator_onnx_cannot_convert_is_named():
    model = changed_operators()
    model.graph.node[0].op_type = "HzConv"
    with pytest.raises(ReidEdgeError, match=r"cannot be written in opset 13.*HzConv"):
        to_opset13(model)
