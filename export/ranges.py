"""Which tensors get a range, and what a calibration run has to say about them."""

from __future__ import annotations

import hashlib

import onnx

from calibration.table import CalibrationTable
from export.graph import Graph
from export.placement import cpu, xavier
from export.placement.base import main_path, output_axis, weight_of
from runtime.errors import ReidEdgeError


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


def refuse_dead(graph: Graph, table: CalibrationTable) -> None:
    """Refuse to quantize what never carries a value: its scale would be zero.

    TensorRT 8.5 on Xavier aborts on a zero scale, and any other would hide that this part of the
    network does nothing.

    Raises:
        ReidEdgeError: A tensor was zero on every crop, or a layer has no weight but zeros.
    """
    empty = [n.name for n in graph.nodes if (w := weight_of(graph, n)) is not None and not w.any()]
    if empty:
        raise ReidEdgeError(
            "All weights of %s are zero, so INT8 has no scale for it; check the checkpoint, or export "
            "with --precision fp32 or fp16." % empty[0]
        )
    if table.dead:
        raise ReidEdgeError(
            "Tensor %s (and %d more) was zero on every calibration crop, so INT8 has no scale for it; "
            "check the checkpoint and --calib, or export with --precision fp32 or fp16."
            % (table.dead[0], len(table.dead) - 1)
        )


def dead_channels(graph: Graph) -> list[str]:
    """One sentence on output channels without weights, if there are any.

    They are harmless (they get the scale of their layer) but wasted.
    """
    counts: dict[str, int] = {}
    for node in graph.nodes:
        weight = weight_of(graph, node)
        if weight is not None:
            axes = tuple(i for i in range(weight.ndim) if i != output_axis(node))
            dead = int((~weight.any(axis=axes)).sum())
            if dead:
                counts[node.name] = dead
    if not counts:
        return []
    return [
        "%d output channels in %d layers have no weights left (most in %s); they are exported as zeros."
        % (sum(counts.values()), len(counts), max(counts, key=lambda name: counts[name]))
    ]


def cache_scales(graph: Graph, table: CalibrationTable, kept_float: list[str]) -> dict[str, float]:
    """Scales for a TensorRT calibration cache: all but what the layers kept in float read and make."""
    excluded = {t for n in graph.nodes if n.name in kept_float for t in (n.input[0], *n.output)}
    return {name: scale for name, scale in table.scales.items() if name not in excluded}
