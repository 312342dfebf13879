"""Exact rewrites of the float graph, so that no BatchNormalization is left in it.

RGA's re-association is not here: it is done on the torch module (models/rga_inference.py), where
the weights still have names. Parity is measured after every stage (export/parity.py).
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from export.graph import Graph, attribute, set_attribute


def fold_batchnorm(graph: Graph, depthwise: bool = False) -> int:
    """Fold every inference BatchNormalization away, the neck included.

    Behind a Conv or Gemm with constant weights it becomes part of them; elsewhere (the BNNeck behind
    the pooling) it becomes one Mul and one Add, which every runtime fuses into one pass.

    Args:
        graph: Is changed.
        depthwise: Make those elsewhere depthwise 1x1 convolutions, for compilers that know no Mul
            and Add with a constant per channel. Their inputs must be 4-D.

    Returns:
        The number of nodes folded.
    """
    shapes = graph.shapes()
    norms = [n for n in graph.nodes if n.op_type == "BatchNormalization"]
    for node in norms:
        x, *names = node.input
        gamma, beta, mean, variance = (graph.initializers[n].astype(np.float64) for n in names)
        gain = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        offset = beta - mean * gain
        source = graph.producer(x)
        if (
            source is not None
            and graph.only_consumer(x) is node
            and _scale_rows(graph, source, gain, offset)
        ):
            # Under the BatchNorm's name, because the tensor now holds what that one held.
            graph.remove(node)
            source.output[0] = node.output[0]
        elif depthwise:
            weight = gain.reshape(-1, 1, 1, 1).astype(np.float32)
            constants = [
                graph.add_constant(node.name + "_weight", weight),
                graph.add_constant(node.name + "_bias", offset.astype(np.float32)),
            ]
            graph.remove(node)
            graph.add_node(
                "Conv", [x, *constants], [node.output[0]], node.name + "_conv", group=len(gain)
            )
        else:
            shape = (1, -1) + (1,) * (len(shapes[x]) - 2)
            scaled = graph.fresh(x + "_scaled")
            gain_name = graph.add_constant(
                node.name + "_gain", gain.reshape(shape).astype(np.float32)
            )
            offset_name = graph.add_constant(
                node.name + "_offset", offset.reshape(shape).astype(np.float32)
            )
            graph.remove(node)
            graph.add_node("Mul", [x, gain_name], [scaled], node.name + "_mul")
            graph.add_node("Add", [scaled, offset_name], [node.output[0]], node.name + "_add")
    return len(norms)


def _scale_rows(graph: Graph, node: NodeProto, gain: np.ndarray, offset: np.ndarray) -> bool:
    """Multiply the output channels of a Conv/Gemm by ``gain`` and add ``offset``; False if it cannot."""
    if node.op_type == "Conv":
        weight = graph.constant(node.input[1])
        if weight is None:
            return False
        scaled = weight * gain.reshape((-1,) + (1,) * (weight.ndim - 1))
    elif node.op_type == "Gemm":
        weight = graph.constant(node.input[1])
        if (
            weight is None
            or attribute(node, "alpha", 1.0) != 1.0
            or attribute(node, "beta", 1.0) != 1.0
        ):
            return False
        scaled = weight * (gain[:, None] if attribute(node, "transB", 0) else gain[None, :])
    else:
        return False
    bias = graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(len(gain))
    if bias is None:
        return False
    node.input[1] = graph.add_constant(node.name + "_weight", scaled.astype(np.float32))
    bias_name = graph.add_constant(node.name + "_bias", (bias * gain + offset).astype(np.float32))
    if len(node.input) > 2:
        node.input[2] = bias_name
    else:
        node.input.append(bias_name)
    return True


def name_nodes(graph: Graph) -> None:
    """Give every node a name of its own, and every Conv its kernel_shape.

    Placements and reports refer to nodes by name; ONNX asks neither for names nor for unique ones.
    """
    taken: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in taken:
            node.name = graph.fresh(node.op_type + "_" + node.output[0])
        taken.add(node.name)
        if node.op_type == "Conv" and attribute(node, "kernel_shape") is None:
            set_attribute(node, "kernel_shape", list(graph.initializers[node.input[1]].shape[2:]))
