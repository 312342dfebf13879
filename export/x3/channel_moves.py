"""Shuffles and selections of channels as 1x1 convolutions.

ShuffleNets move channels by Reshape, Transpose, Gather and Split. The BPU has no kernels for the
first three, so each move would send the map to the CPU and back. A convolution by a matrix of zeros
and ones does the same exactly, and int8 holds such a matrix exactly too.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

from export.graph import Graph

MOVERS = ("Reshape", "Transpose", "Gather", "Split", "Slice", "Squeeze", "Unsqueeze", "Identity")


def convolve_channel_moves(graph: Graph, on_cpu: Collection[str]) -> int:
    """Replace what moves whole channels of a (1, C, H, W) map, where some of it is on the CPU.

    Args:
        graph: A float graph of static shapes, nodes named; changed in place.
        on_cpu: Names of the nodes that the BPU does not take.

    Returns:
        The number of convolutions put in. Moves that also change places inside a channel, such as a
        detector's flattening of its outputs, are left as they are.
    """
    graph.sort()
    shapes = graph.shapes()
    movers = {n.output[0]: n for n in graph.nodes if n.op_type in MOVERS}
    moved = {t for n in movers.values() for t in n.output}
    roots = dict.fromkeys(
        n.input[0]
        for n in movers.values()
        if n.input[0] not in moved and _is_map(shapes, n.input[0])
    )
    count = 0
    for root in roots:
        for tensor, channels in _selections(graph, root, shapes[root], set(on_cpu)).items():
            count += _replace(graph, root, tensor, channels, int(shapes[root][1]))
    graph.sort()
    return count


def _is_map(shapes: dict[str, tuple[int | str, ...]], tensor: str) -> bool:
    shape = shapes.get(tensor, ())
    return len(shape) == 4 and shape[0] == 1 and all(isinstance(side, int) for side in shape)


def _selections(
    graph: Graph, root: str, shape: tuple[int | str, ...], on_cpu: set[str]
) -> dict[str, np.ndarray]:
    """Tensor -> the channels of ``root`` it consists of, of those that others read."""
    sides = [int(side) for side in shape]
    # Where each value of a tensor comes from: its position in the root.
    origins = {root: np.arange(np.prod(sides), dtype=np.int64).reshape(sides)}
    through_cpu: dict[str, bool] = {root: False}
    selections: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op_type not in MOVERS or node.input[0] not in origins:
            continue
        arguments = [graph.constant(t) for t in node.input[1:]]
        if any(value is None for value in arguments):
            continue
        results = _run(node, origins[node.input[0]], arguments, graph.opset)
        for tensor, origin in zip(node.output, results, strict=True):
            origins[tensor] = origin
            through_cpu[tensor] = through_cpu[node.input[0]] or node.name in on_cpu
    for tensor, origin in origins.items():
        outside = [n for n in graph.consumers(tensor) if not _inside(n, origins)]
        if tensor != root and outside and through_cpu[tensor]:
            channels = _channels(origin, sides)
            if channels is not None:
                selections[tensor] = channels
    return selections


def _inside(node: NodeProto, origins: Collection[str]) -> bool:
    return bool(node.output) and node.output[0] in origins


def _run(
    node: NodeProto, data: np.ndarray, arguments: list[np.ndarray | None], opset: int
) -> list[np.ndarray]:
    names = list(node.input)
    values = [data, *arguments]
    inputs = [helper.make_tensor_value_info(t, onnx.TensorProto.INT64, None) for t in names]
    outputs = [helper.make_tensor_value_info(t, onnx.TensorProto.INT64, None) for t in node.output]
    model = helper.make_model(
        helper.make_graph([node], "move", inputs, outputs),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, values, strict=True))))


def _channels(origin: np.ndarray, sides: list[int]) -> np.ndarray | None:
    """The channels of the root that a tensor consists of; None where it is anything else."""
    positions = sides[2] * sides[3]
    if origin.ndim != 4 or origin.shape[0] != 1 or list(origin.shape[2:]) != sides[2:]:
        return None
    flat = origin.reshape(origin.shape[1], positions)
    channels = flat[:, 0] // positions
    whole = channels[:, None] * positions + np.arange(positions)
    return channels if np.array_equal(flat, whole) else None


def _replace(graph: Graph, root: str, tensor: str, channels: np.ndarray, count: int) -> int:
    """Let the readers of ``tensor`` read a convolution of ``root``."""
    readers = [n for n in graph.consumers(tensor) if n.op_type not in MOVERS]
    if np.array_equal(channels, np.arange(count)):
        graph.redirect(tensor, root, readers)
        return 0
    matrix = np.zeros((len(channels), count, 1, 1), np.float32)
    matrix[np.arange(len(channels)), channels] = 1.0
    made = graph.fresh(tensor + "_selected")
    weight = graph.add_constant(tensor + "_selection", matrix)
    graph.add_node(
        "Conv", [root, weight], [made], graph.fresh("select_" + tensor), kernel_shape=[1, 1]
    )
    graph.redirect(tensor, made, readers)
    return 1
