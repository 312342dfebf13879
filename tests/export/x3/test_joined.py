"""Several outputs made one and several again."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from export.x3.joined import PREFIX, join_outputs, separate_outputs, split_row
from runtime.backends.onnxruntime import make_session


def two_outputs():
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["a"], "relu"),
            helper.make_node("Transpose", ["a"], ["b"], "turn", perm=[0, 2, 3, 1]),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 5])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("a", "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)


def test_there_and_back():
    given = two_outputs()
    joined = join_outputs(given)
    image = np.random.default_rng(0).standard_normal((1, 3, 4, 5)).astype(np.float32)
    outputs = make_session(given.SerializeToString()).run(None, {"x": image})
    (row,) = make_session(joined.SerializeToString()).run(None, {"x": image})
    for part, output in zip(split_row(row[0], [o.shape for o in outputs]), outputs, strict=True):
        np.testing.assert_array_equal(part, output)
    again = separate_outputs(joined, given.graph.output)
    assert again.SerializeToString() == given.SerializeToString()
    assert all(n.name.startswith(PREFIX) for n in joined.graph.node[2:])
