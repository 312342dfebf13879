"""Explicit Q/DQ placement by TensorRT's rules (symmetric int8, weights per channel).

Sources: NVIDIA/TensorRT issues #2383, #1992, the pytorch-quantization ResNet-50 tutorial at 8.5.2,
and the exclusions of NVIDIA's Model-Optimizer:

* the activation and the weight of a quantized Conv/Gemm get Q/DQ; its bias and its output do not;
* a residual addition gets exactly one, on the identity branch, so that Conv+Add+ReLU stays one int8
  kernel; a tensor read by a convolution and by the addition has one shared pair;
* attention branches, sigmoid, softmax, pooling, the neck and matrix products of activations stay
  in FP16; so do convolutions on 1x1 maps (a matrix-vector product gains nothing) and those with
  fewer than 16 input or output channels, except the first, which reads the largest map.
"""

from __future__ import annotations

from onnx import NodeProto

from export.graph import Graph, attribute
from export.placement.base import CHOSEN_FLOAT, Placement, main_path, weight_of

MIN_CHANNELS = 16


def place(graph: Graph, keep_float: frozenset[str] = frozenset()) -> Placement:
    """Place quantization.

    Args:
        graph: The rewritten float graph, nodes named.
        keep_float: Names of Conv/Gemm nodes to leave in FP16.
    """
    placement = Placement()
    shapes = graph.shapes()
    on_main_path = main_path(graph)
    for node in graph.nodes:
        weight = weight_of(graph, node)
        if weight is None:
            continue
        reason = _reason_for_float(graph, node, weight.shape, shapes, on_main_path, keep_float)
        if reason:
            placement.skipped[node.name] = reason
            continue
        placement.read(node.input[0], node)
        placement.weights.append(node.name)
    for node in graph.nodes:
        if node.op_type == "Add" and node.name in on_main_path:
            identity = identity_branch(graph, node, set(placement.weights))
            if identity is not None:
                placement.read(identity, node)
    return placement


def _reason_for_float(
    graph, node: NodeProto, weight_shape, shapes, on_main_path, keep_float
) -> str | None:
    if node.name in keep_float:
        return CHOSEN_FLOAT
    if node.name not in on_main_path:
        return "attention branch"
    if node.op_type == "Gemm":
        return "neck or embedding layer"
    if node.op_type == "Conv" and tuple(shapes[node.input[0]][2:]) == (1, 1):
        return "1x1 map: a matrix-vector product"
    channels_in = weight_shape[1] * attribute(node, "group", 1)
    if min(weight_shape[0], channels_in) < MIN_CHANNELS and _convolutions_above(
        graph, node.input[0]
    ):
        return "fewer than %d channels" % MIN_CHANNELS
    return None


def identity_branch(graph: Graph, add: NodeProto, quantized: set[str]) -> str | None:
    """The input of a residual addition that gets the Q/DQ pair, or None if it is not one.

    One input must be the output of a quantized convolution that nothing else reads (it fuses with
    the addition); the other is the identity. When both qualify (a downsample shortcut), the branch
    with fewer convolutions since the fork counts as identity.
    """
    branches = [t for t in add.input if graph.constant(t) is None]
    if len(branches) != 2 or branches[0] == branches[1]:
        return None
    fused = [t for t in branches if _is_fusable(graph, t, quantized)]
    if not fused:
        return None
    if len(fused) == 1:
        return branches[1 - branches.index(fused[0])]
    first, second = (_convolutions_above(graph, t) for t in branches)
    return branches[0] if len(first - second) < len(second - first) else branches[1]


def _is_fusable(graph, tensor, quantized) -> bool:
    source = graph.producer(tensor)
    return (
        source is not None and source.name in quantized and graph.only_consumer(tensor) is not None
    )


def _convolutions_above(graph: Graph, tensor: str) -> set[str]:
    """Names of all convolutions that ``tensor`` is computed from."""
    made_by = {t: n for n in graph.nodes for t in n.output}
    seen: dict[str, NodeProto] = {}
    stack = [tensor]
    while stack:
        node = made_by.get(stack.pop())
        if node is not None and node.name not in seen:
            seen[node.name] = node
            stack.extend(node.input)
    return {name for name, node in seen.items() if node.op_type == "Conv"}
