"""What the Horizon toolchain asks of an ONNX file as a whole: opset, IR version, inputs, outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from export.x3.check_report import BPU, NodeCheck
from export.x3.operators import Value, operator_table
from export.x3.tensors import Tensors


def header_problems(
    model: onnx.ModelProto, opset: int, checks: Sequence[NodeCheck], tensors: Tensors
) -> list[str]:
    """The limits of the whole model that it breaks, with actual and allowed value."""
    shapes = input_shapes(model, tensors)
    convolutions = sum(c.op == "Conv" and c.on == BPU for c in checks)
    values: dict[str, list[tuple[str, Value]]] = {
        "opset": [("opset", opset)],
        "ir_version": [("ir_version", model.ir_version)],
        "input rank": [("rank of input %s" % k, len(s)) for k, s in shapes.items()],
        "input batch": [("batch of input %s" % k, s[0]) for k, s in shapes.items() if s and s[0]],
        # An input without any shape lists no position, but is open all the same.
        "dynamic input dimensions": [
            ("open dimensions of input %s" % k, len(v) or 1) for k, v in tensors.dynamic.items()
        ],
        "outputs": [("outputs", len(model.graph.output))],
        "convolutions on the BPU": [("Conv nodes on the BPU", convolutions)],
        "type of input": [("type of input %s" % k, v) for k, v in _types(model, tensors).items()],
    }
    return [
        "%s: %s, allowed %s%s"
        % (what, value, limit.describe(), " (%s)" % limit.fix if limit.fix else "")
        for limit in operator_table().model
        for what, value in values[limit.quantity]
        if not limit.admits(value)
    ]


def _types(model: onnx.ModelProto, tensors: Tensors) -> dict[str, str]:
    """Element type of each input, as NumPy calls it."""
    infos = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    return {n: onnx.helper.tensor_dtype_to_np_dtype(infos[n]).name for n in tensors.inputs}


def input_shapes(model: onnx.ModelProto, tensors: Tensors) -> dict[str, list[int | None]]:
    """Inputs as the file has them; None for open dimensions."""
    infos = {i.name: i.type.tensor_type.shape.dim for i in model.graph.input}
    return {
        name: [d.dim_value if d.dim_value > 0 else None for d in infos[name]]
        for name in tensors.inputs
    }
