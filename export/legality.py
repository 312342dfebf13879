"""Refuses graphs that TensorRT 8.5's ONNX parser would refuse, before anyone carries them to a board.

Operators from onnx-tensorrt's docs/operators.md, branches 8.2-GA and 8.5-GA; only those that the
networks here can produce are listed.
"""

from __future__ import annotations

import onnx

from runtime.errors import ReidEdgeError

TENSORRT_8_OPERATORS = frozenset(
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div Exp Expand "
    "Flatten Gather Gemm GlobalAveragePool GlobalMaxPool Identity InstanceNormalization LeakyRelu MatMul "
    "MaxPool Mul Pad Pow QuantizeLinear ReduceMax ReduceMean ReduceSum Relu Reshape Sigmoid Slice Softmax "
    "Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze".split()
)
MAX_OPSET = 13


def check_tensorrt(model: onnx.ModelProto) -> None:
    """Raise ReidEdgeError if TensorRT 8.2 to 8.5 cannot parse ``model``."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset > MAX_OPSET:
        raise ReidEdgeError(
            "TensorRT 8.2 parses up to opset %d, the graph has %d." % (MAX_OPSET, opset)
        )
    unknown = sorted({n.op_type for n in model.graph.node} - TENSORRT_8_OPERATORS)
    if unknown:
        raise ReidEdgeError(
            "TensorRT 8.5 has no %s; this network cannot be exported for Xavier as it is."
            % ", ".join(unknown)
        )
