"""Writes a placement into the graph as QuantizeLinear/DequantizeLinear pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from export.graph import Graph
from export.placement.base import Placement, output_axis

# Smallest scale ever written: TensorRT 8.5 on Xavier fails on a zero (NVIDIA/TensorRT#4527).
MIN_SCALE = 1e-8


@dataclass(frozen=True)
class Scale:
    """Quantization of one activation tensor: ``q = clamp(round(x / scale) + zero_point)``."""

    scale: float
    zero_point: int = 0
    dtype: str = "int8"

    @property
    def limits(self) -> tuple[int, int]:
        return (-128, 127) if self.dtype == "int8" else (0, 255)


def symmetric(amax: float) -> Scale:
    """Signed int8 with zero-point 0 for the range -amax..amax (TensorRT's only form)."""
    return Scale(max(float(amax) / 127.0, MIN_SCALE))


def asymmetric(low: float, high: float) -> Scale:
    """uint8 for low..high, widened to contain zero, which must be exact."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = max((high - low) / 255.0, MIN_SCALE)
    return Scale(scale, int(np.clip(round(-low / scale), 0, 255)), "uint8")


def weight_scales(weight: np.ndarray, axis: int) -> np.ndarray:
    """Per-channel scales max|w|/127 along ``axis``; a dead channel gets the scale of its layer.

    A channel of zeros has no range; any positive scale represents it exactly, and zero is illegal.
    """
    amax = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != axis))
    layer = amax.max()
    amax = np.where(amax > 0, amax, layer if layer > 0 else 1.0)
    return np.maximum(amax / 127.0, MIN_SCALE).astype(np.float32)


def insert(
    graph: Graph,
    placement: Placement,
    scales: dict[str, Scale],
    *,
    weight_scale: dict[str, np.ndarray] | None = None,
    store_int8: bool = False,
) -> onnx.ModelProto:
    """Return the explicitly quantized model.

    Args:
        graph: The float graph the placement was made for; it is not changed.
        placement: What to quantize.
        scales: One entry per tensor of the placement.
        weight_scale: node name -> per-channel scales; by default from the weights' maxima.
        store_int8: Store weights as int8 behind a DequantizeLinear alone (a quarter of the size,
            for ONNX Runtime); otherwise as float behind a Q/DQ pair, as TensorRT's tools write them.
    """
    graph = graph.copy()
    by_name = {n.name: n for n in graph.nodes}
    for tensor, readers in placement.reads.items():
        s = scales[tensor]
        scale = graph.add_constant(tensor + "_scale", np.array(s.scale, np.float32))
        zero = graph.add_constant(tensor + "_zero_point", np.array(s.zero_point, s.dtype))
        quantized, restored = (
            graph.fresh(tensor + "_quantized"),
            graph.fresh(tensor + "_dequantized"),
        )
        graph.redirect(tensor, restored, only=[by_name[name] for name in sorted(readers)])
        graph.add_node(
            "QuantizeLinear", [tensor, scale, zero], [quantized], tensor + "_QuantizeLinear"
        )
        graph.add_node(
            "DequantizeLinear", [quantized, scale, zero], [restored], tensor + "_DequantizeLinear"
        )
    for name in placement.weights:
        node = by_name[name]
        _quantize_weight(graph, node, (weight_scale or {}).get(name), store_int8)
    return graph.to_model()


def _quantize_weight(graph: Graph, node, scale, store_int8: bool) -> None:
    name, axis = node.input[1], output_axis(node)
    weight = graph.initializers[name]
    scale = weight_scales(weight, axis) if scale is None else np.maximum(scale, MIN_SCALE)
    stem = node.name + "_weight"
    scale_name = graph.add_constant(stem + "_scale", scale.astype(np.float32))
    zero_name = graph.add_constant(stem + "_zero_point", np.zeros(len(scale), np.int8))
    if store_int8:
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        codes = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
        source = graph.add_constant(stem + "_int8", codes)
    else:
        source = graph.fresh(stem + "_quantized")
        graph.add_node(
            "QuantizeLinear",
            [name, scale_name, zero_name],
            [source],
            stem + "_QuantizeLinear",
            axis=axis,
        )
    restored = graph.fresh(stem + "_dequantized")
    graph.add_node(
        "DequantizeLinear",
        [source, scale_name, zero_name],
        [restored],
        stem + "_DequantizeLinear",
        axis=axis,
    )
    node.input[1] = restored
