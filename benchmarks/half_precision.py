"""What half precision does to an embedding, on a machine that does not compute in it.

TensorRT's FP16 kernels keep tensors and weights in half precision and sum in single precision (NVIDIA,
Training with Mixed Precision, section 1.3: tensor cores accumulate in FP32). So here every weight and
every tensor between two operators is rounded to half, and the operators themselves compute in float.
TensorRT fuses more than one operator into a kernel and then rounds less often, so this is, if anything,
a little coarser than the board.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np

from runtime.errors import ReidEdgeError

FLOAT16_MAX = 65504.0
# Their outputs hold the same values as their inputs, or no activations.
_EXACT = ("Relu", "MaxPool", "Reshape", "Flatten", "Transpose", "Concat", "Split", "Slice",
          "Squeeze", "Unsqueeze", "Identity", "Shape", "Gather", "Constant", "Cast", "Clip",
          "Expand", "Pad")  # fmt: skip


def half_precision_model(model: bytes) -> bytes:
    """An ONNX model that computes as TensorRT's FP16 does, with float32 input and output.

    Args:
        model: A serialised float model, opset 9 or later.

    Returns:
        A serialised model to be run as it is written: an optimiser may drop a pair of casts.

    Raises:
        ReidEdgeError: onnx is not installed, or a weight is beyond half precision's range.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ReidEdgeError(
            "Simulating fp16 needs the package onnx, which is not installed; leave fp16 out of "
            "--precision, or run this on the workstation."
        ) from None
    proto = onnx.load_model_from_string(model)
    graph = proto.graph
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(_rounded(tensor, numpy_helper), tensor.name))
    outputs = {output.name for output in graph.output}
    inputs = [i.name for i in graph.input if i.name not in {t.name for t in graph.initializer}]
    halves = {name: _half_name(name) for name in inputs}
    for node in graph.node:
        if node.op_type not in _EXACT:
            halves.update({name: _half_name(name) for name in node.output})
    kinds = _kinds(onnx, proto)
    halves = {
        name: half
        for name, half in halves.items()
        if kinds.get(name, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
    }
    nodes: List[Any] = [
        cast for name in inputs if name in halves for cast in _casts(onnx, name, halves[name])
    ]
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = halves.get(name, name)
        written = [name for name in node.output if name in halves]
        for i, name in enumerate(node.output):
            # An output of the network keeps its name behind the casts.
            if name in outputs and name in halves:
                node.output[i] = halves[name] + "_wide"
        nodes.append(node)
        for name in written:
            if name in outputs:
                nodes += _casts(onnx, halves[name] + "_wide", name)
                nodes.append(onnx.helper.make_node("Identity", [name], [halves[name]]))
            else:
                nodes += _casts(onnx, name, halves[name])
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return proto.SerializeToString()


def _half_name(name: str) -> str:
    return name + "_through_half"


def _casts(onnx: Any, source: str, result: str) -> List[Any]:
    narrow = result + "_half"
    make, types = onnx.helper.make_node, onnx.TensorProto
    return [
        make("Cast", [source], [narrow], to=types.FLOAT16),
        make("Cast", [narrow], [result], to=types.FLOAT),
    ]


def _rounded(tensor: Any, numpy_helper: Any) -> np.ndarray:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max()) if values.size else 0.0
    if largest > FLOAT16_MAX:
        raise ReidEdgeError(
            "Weight %s reaches %.3g, beyond FP16's 65504, so this network cannot run in fp16; leave "
            "it out of --precision." % (tensor.name, largest)
        )
    return values.astype(np.float16).astype(np.float32)


def _kinds(onnx: Any, proto: Any) -> Any:
    """Tensor name to its type, as far as ONNX can infer it: shapes are integers and stay so."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    infos = [*inferred.value_info, *inferred.input, *inferred.output]
    return {info.name: info.type.tensor_type.elem_type for info in infos}
