"""Q/DQ placement for ONNX Runtime's CPU kernels (uint8 activations, int8 weights per channel).

ONNX Runtime turns ``DQ -> op -> Q`` into one integer kernel, and drops a ReLU in between only when
the zero-point is the smallest code. So, unlike for TensorRT, every tensor that an integer kernel
makes or reads is quantized, outputs included, with a zero-point that puts zero at the bottom of a
rectified range. Where integer kernels pay depends on the network and the CPU: on small or depthwise
convolutions they lose to the blocked float kernels. ``alternatives`` lists the placements that the
export times against each other on the machine it runs on (export/fastest.py).
"""

from __future__ import annotations

from onnx import NodeProto

from export.graph import Graph, attribute
from export.placement.base import (
    CHOSEN_FLOAT,
    Placement,
    main_path,
    multiply_adds_per_node,
    weight_of,
)

# Operators that only move or combine integer values: integer when their inputs already are.
CARRIERS = ("Add", "MaxPool", "Concat", "GlobalAveragePool")


def place(graph: Graph, keep_float: frozenset[str] = frozenset()) -> Placement:
    """Place quantization.

    Args:
        graph: The rewritten float graph, nodes named.
        keep_float: Names of nodes to leave in float.
    """
    placement = Placement()
    shapes = graph.shapes()
    on_main_path = main_path(graph)
    quantized: set[str] = set()  # tensors with a Q/DQ pair
    integer: set[str] = set()  # names of nodes that become integer kernels
    for node in graph.nodes:
        weight = weight_of(graph, node)
        if weight is None:
            continue
        reason = _reason_for_float(node, shapes, on_main_path, keep_float)
        if reason:
            placement.skipped[node.name] = reason
            continue
        placement.weights.append(node.name)
        integer.add(node.name)
        quantized.add(node.input[0])
        quantized.add(result_of(graph, node))
    graph.sort()
    for node in graph.nodes:
        if node.op_type not in CARRIERS or node.name in keep_float or node.name not in on_main_path:
            continue
        activations = [t for t in node.input if graph.constant(t) is None]
        if len(activations) == len(node.input) and all(t in quantized for t in activations):
            result = result_of(graph, node)
            if node.op_type == "GlobalAveragePool" and not _feeds_integer(graph, result, integer):
                continue  # the last pooling: its result is wanted in float
            integer.add(node.name)
            quantized.add(result)
    for node in graph.nodes:
        for tensor in node.input:
            if tensor in quantized:
                placement.read(tensor, node)
    return placement


def alternatives(graph: Graph) -> dict[str, frozenset[str]]:
    """Sets of nodes worth leaving in float, from none to all but the largest convolutions.

    Returns:
        name -> ``keep_float`` for ``place``; sets that quantize the same layers appear once, and
        those that quantize nothing not at all.
    """
    macs = multiply_adds_per_node(graph)
    convs = [n for n in graph.nodes if n.op_type == "Conv" and weight_of(graph, n) is not None]
    depthwise = {n.name for n in convs if attribute(n, "group", 1) > 1}
    before = {
        n.name
        for n in convs
        if (r := graph.only_consumer(n.output[0])) is not None and r.name in depthwise
    }
    found = {
        "all": frozenset(),
        "no depthwise": frozenset(depthwise),
        "no depthwise-separable": frozenset(depthwise | before),
    }
    for millions in (1, 4):
        small = frozenset(n.name for n in convs if macs[n.name] < millions * 1e6)
        found["at least %d M multiply-adds" % millions] = small
    distinct: dict[frozenset[str], str] = {}
    for name, kept in found.items():
        layers = frozenset(place(graph, kept).weights)
        if layers:
            distinct.setdefault(layers, name)
    return {name: found[name] for name in distinct.values()}


def result_of(graph: Graph, node: NodeProto) -> str:
    """The tensor that an integer kernel for ``node`` writes: behind its ReLU if it has one."""
    reader = graph.only_consumer(node.output[0])
    return reader.output[0] if reader is not None and reader.op_type == "Relu" else node.output[0]


def _feeds_integer(graph: Graph, tensor: str, integer: set[str]) -> bool:
    return any(n.name in integer for n in graph.consumers(tensor))


def _reason_for_float(node: NodeProto, shapes, on_main_path, keep_float) -> str | None:
    if node.name in keep_float:
        return CHOSEN_FLOAT
    if node.name not in on_main_path:
        return "attention branch"
    if node.op_type == "Gemm":
        return "neck or embedding layer"
    if tuple(shapes[node.input[0]][2:]) == (1, 1):
        return "1x1 map: a matrix-vector product"
    return None
