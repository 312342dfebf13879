"""Small opset-11 models with static shapes, and what the checker says of their nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.x3.check_report import CheckReport, NodeCheck
from export.x3.checker import check_model
from tests.export.small_models import node, normal


def x3_model(
    nodes: Iterable[NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = (1, 3, 9, 7),
    outputs: Sequence[str] = ("y",),
    opset: int = 11,
    ir_version: int = 7,
) -> onnx.ModelProto:
    """One input ``x``, outputs whose shapes are left to inference; not checked for validity."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def check(nodes: Iterable[NodeProto], constants=None, shape=(1, 3, 9, 7), **options) -> CheckReport:
    return check_model(x3_model(nodes, constants, shape, **options))


def only(report: CheckReport, op: str) -> NodeCheck:
    """The one node of an operator type."""
    found = [n for n in report.nodes if n.op == op]
    assert len(found) == 1, found
    return found[0]


def conv(inputs: str, output: str, shape: Sequence[int], **attributes):
    """A Conv node and its weights ``{name: array}``; ``shape`` is (out, in per group, h, w)."""
    weights = {output + "_w": normal(*shape)}
    return node("Conv", inputs + " " + output + "_w", output, **attributes), weights
