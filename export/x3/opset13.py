"""The graph made for hb_mapper (opset 10 or 11) in opset 13, where weights can be int8 per channel."""

from __future__ import annotations

import onnx
from onnx import version_converter

from export.graph import Graph
from export.rewrites import name_nodes
from runtime.errors import ReidEdgeError

OPSET = 13
IR_VERSION = 7
FLATTEN = "x3_flatten"


def to_opset13(model: onnx.ModelProto) -> Graph:
    """Convert a network for the X3, its output made (N, D).

    Names of nodes and tensors stay, but for the tensor in front of the flattening that is added
    as the last node: named FLATTEN, it does what the runtime does with the board's output.

    Args:
        model: A float network with one input and one output, opset 13 or older.

    Raises:
        ReidEdgeError: An operator has no equivalent in opset 13, or the output is neither (N, D) nor
            (N, D, 1, 1).
    """
    try:
        converted = version_converter.convert_version(model, OPSET)
    except RuntimeError as error:  # onnx's C++ converter knows no narrower class
        raise ReidEdgeError(
            "The network for the X3 cannot be written in opset %d, which its simulation needs: %s"
            % (OPSET, str(error).strip().splitlines()[0])
        ) from None
    converted.ir_version = IR_VERSION
    graph = Graph(converted)
    name_nodes(graph)
    shape = graph.shapes()[graph.output_name]
    if len(shape) != 2 and (len(shape) != 4 or tuple(shape[2:]) != (1, 1)):
        raise ReidEdgeError(
            "A ReID network for the X3 returns (1, D, 1, 1) or (1, D), this one %s." % (shape,)
        )
    return _flattened(graph, shape[:2])


def _flattened(graph: Graph, shape: tuple[int | str, ...]) -> Graph:
    name = graph.output_name  # stays, so what is flattened gets a new one
    inner = graph.fresh(name + "_map")
    for node in graph.nodes:
        for names in (node.input, node.output):
            for i, tensor in enumerate(names):
                if tensor == name:
                    names[i] = inner
    graph.add_node("Flatten", [inner], [name], FLATTEN, axis=1)
    flat = graph.to_model()
    del flat.graph.output[:]
    flat.graph.output.append(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
    )
    return Graph(flat)
