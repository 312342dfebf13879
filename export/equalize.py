"""Activation equalisation in front of depthwise convolutions: exact in float, kinder to INT8.

A depthwise convolution treats each channel alone, so a factor taken out of a channel before it can
be put back into its weights: with a ReLU or nothing in between, ``B(A(x))`` is unchanged when output
channel i of A is divided by ``s_i`` and filter i of B multiplied by it (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019). Weights are quantized per
channel, so they do not care; the tensor in between has one range for all channels, and equal
channels make the most of it.
"""

from __future__ import annotations

import numpy as np
import torch
from onnx import NodeProto

from export.executor import Executor
from export.graph import Graph, attribute

# Beyond this the quietest channels would be scaled by noise.
MAX_FACTOR = 64.0


def equalize(graph: Graph, images: np.ndarray) -> int:
    """Give the channels of every tensor in front of a depthwise convolution the same range.

    Args:
        graph: The float graph, nodes named; its weights are changed in place.
        images: (N, 3, H, W) float32 calibration inputs; 32 suffice.

    Returns:
        The number of pairs equalised.
    """
    by_name = {n.name: n for n in graph.nodes}
    pairs = _pairs(graph)
    between = {by_name[follower].input[0] for follower in pairs.values()}
    amax: dict[str, torch.Tensor] = {}

    def remember(node: NodeProto, tensor: torch.Tensor) -> torch.Tensor:
        if node.output[0] in between:
            amax[node.output[0]] = tensor.abs().amax((0, 2, 3))
        return tensor

    if pairs:
        with torch.no_grad():
            Executor(graph)(torch.from_numpy(images), made=remember)
    for name, follower in pairs.items():
        first, second = by_name[name], by_name[follower]
        ranges = amax[second.input[0]].numpy().astype(np.float64)
        alive = ranges[ranges > 0]
        if not len(alive):
            continue
        factors = np.where(ranges > 0, ranges / alive.max(), 1.0)
        factors = np.clip(factors, 1.0 / MAX_FACTOR, 1.0).astype(np.float32)
        _scale(graph, first, 1, 1.0 / factors)
        if len(first.input) > 2:
            _scale(graph, first, 2, 1.0 / factors)
        _scale(graph, second, 1, factors)
    return len(pairs)


def _pairs(graph: Graph) -> dict[str, str]:
    """Conv -> depthwise Conv that alone reads it, directly or behind a ReLU."""
    pairs = {}
    for node in graph.nodes:
        if node.op_type != "Conv" or graph.constant(node.input[1]) is None:
            continue
        reader = graph.only_consumer(node.output[0])
        if reader is not None and reader.op_type == "Relu":
            reader = graph.only_consumer(reader.output[0])
        if reader is not None and _is_depthwise(graph, reader):
            pairs[node.name] = reader.name
    return pairs


def _is_depthwise(graph: Graph, node: NodeProto) -> bool:
    if node.op_type != "Conv" or (weight := graph.constant(node.input[1])) is None:
        return False
    return attribute(node, "group", 1) == weight.shape[0] and weight.shape[1] == 1


def _scale(graph: Graph, node: NodeProto, position: int, factors: np.ndarray) -> None:
    """Multiply output channels of a weight or bias, under a new name in case others share it."""
    value = graph.initializers[node.input[position]]
    scaled = value * factors.reshape((-1,) + (1,) * (value.ndim - 1))
    node.input[position] = graph.add_constant(node.input[position] + "_equalized", scaled)
