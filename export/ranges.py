"""Which tensors get a range, and what a calibration run has to say about them."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx

from calibration.table import CalibrationTable
from export.graph import Graph
from export.placement import cpu, xavier
from export.placement.base import main_path, output_axis, weight_of


def tensors_to_calibrate(graph: Graph) -> list[str]:
    """Every tensor that any target may quantize, in graph order.

    The feature maps on the main path are included whole: TensorRT's implicit INT8 (the DLA's only
    kind on Xavier) wants a scale for each tensor between two layers it may fuse.
    """
    shapes, on_main_path = graph.shapes(), main_path(graph)
    wanted = set(xavier.place(graph).tensors) | set(cpu.place(graph).tensors)
    ordered = [graph.input_name]
    for node in graph.nodes:
        for tensor in node.output:
            feature_map = len(shapes.get(tensor, ())) == 4 and node.name in on_main_path
            if tensor in wanted or (feature_map and tensor != graph.output_name):
                ordered.append(tensor)
    return ordered


def model_sha256(model: onnx.ModelProto) -> str:
    """SHA-256 of the model as it is written to a file."""
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def dead_parts(graph: Graph, table: CalibrationTable) -> list[str]:
    """Sentences on tensors that were always zero and on output channels with no weights left.

    Their scale would be zero, which TensorRT 8.5 on Xavier aborts on; they get a harmless positive
    one instead, but the user should know that part of the network does nothing.
    """
    sentences = []
    if table.dead:
        sentences.append(
            "%d tensors were zero on every calibration crop (%s ...): part of the network does nothing."
            % (len(table.dead), ", ".join(table.dead[:3]))
        )
    for node in graph.nodes:
        weight = weight_of(graph, node)
        if weight is None:
            continue
        axis = output_axis(node)
        dead = int(
            (np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != axis)) == 0).sum()
        )
        if dead:
            sentences.append(
                "%s has %d dead output channels of %d." % (node.name, dead, weight.shape[axis])
            )
    return sentences


def cache_scales(graph: Graph, table: CalibrationTable, kept_float: list[str]) -> dict[str, float]:
    """Scales for a TensorRT calibration cache: all but what the layers kept in float read and make."""
    excluded = {t for n in graph.nodes if n.name in kept_float for t in (n.input[0], *n.output)}
    return {name: scale for name, scale in table.scales.items() if name not in excluded}
