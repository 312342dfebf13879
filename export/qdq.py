"""Writes a placement into the graph as QuantizeLinear/DequantizeLinear pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from export.graph import Graph
from export.placement.base import Placement, output_axis

# Smallest scale ever written: TensorRT 8.5 on Xavier fails on a zero (NVIDIA/TensorRT#4527).
MIN_SCALE = 1e-8
MAX_BIAS_CODE = 2**30  # half of int32: the kernel adds the products to the bias


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
        store_int8: Store weights as int8 and biases as int32 behind a DequantizeLinear alone (a
            quarter of the size, and what ONNX Runtime's integer kernels need); otherwise weights as
            float behind a Q/DQ pair, as TensorRT's tools write them.
    """
    graph = graph.copy()
    by_name = {n.name: n for n in graph.nodes}
    original = {n.name: n.input[0] for n in graph.nodes}
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
        steps = (weight_scale or {}).get(name)
        if steps is None:
            steps = weight_scales(graph.initializers[node.input[1]], output_axis(node))
        steps = np.maximum(steps, MIN_SCALE).astype(np.float32)
        bias = graph.constant(node.input[2]) if store_int8 and len(node.input) > 2 else None
        if bias is not None:
            activation = original[name]
            # int32 must hold the bias of a channel that has hardly any weights left.
            least = np.abs(bias) / (scales[activation].scale * MAX_BIAS_CODE)
            steps = np.maximum(steps, least).astype(np.float32)
            _store(graph, node, 2, bias, scales[activation].scale * steps, 0, np.int32)
        _quantize_weight(graph, node, steps, store_int8)
    return graph.to_model()


def _quantize_weight(graph: Graph, node, scale: np.ndarray, store_int8: bool) -> None:
    name, axis = node.input[1], output_axis(node)
    if store_int8:
        _store(graph, node, 1, graph.initializers[name], scale, axis, np.int8)
        return
    stem = node.name + "_weight"
    scale_name = graph.add_constant(stem + "_scale", scale)
    zero_name = graph.add_constant(stem + "_zero_point", np.zeros(len(scale), np.int8))
    codes, restored = graph.fresh(stem + "_quantized"), graph.fresh(stem + "_dequantized")
    graph.add_node(
        "QuantizeLinear",
        [name, scale_name, zero_name],
        [codes],
        stem + "_QuantizeLinear",
        axis=axis,
    )
    graph.add_node(
        "DequantizeLinear",
        [codes, scale_name, zero_name],
        [restored],
        stem + "_DequantizeLinear",
        axis=axis,
    )
    node.input[1] = restored


def _store(graph: Graph, node, position: int, value, scale, axis: int, dtype) -> None:
    """Replace a constant input by its codes behind a DequantizeLinear."""
    stem = node.name + ("_weight" if position == 1 else "_bias")
    limit = 127 if dtype == np.int8 else np.iinfo(dtype).max
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    steps = value.astype(np.float64) / scale.reshape(shape)
    codes = np.clip(np.rint(steps), -limit, limit).astype(dtype)
    inputs = [
        graph.add_constant(stem + "_" + np.dtype(dtype).name, codes),
        graph.add_constant(stem + "_scale", scale.astype(np.float32)),
        graph.add_constant(stem + "_zero_point", np.zeros(len(scale), dtype)),
    ]
    restored = graph.fresh(stem + "_dequantized")
    graph.add_node("DequantizeLinear", inputs, [restored], stem + "_DequantizeLinear", axis=axis)
    node.input[position] = restored
