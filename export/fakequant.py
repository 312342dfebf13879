"""Quantization simulated inside the torch executor, differentiable in weights and scales."""

from __future__ import annotations

import numpy as np
import torch
from onnx import NodeProto

from export.executor import Executor
from export.graph import Graph
from export.placement.base import Placement, output_axis
from export.qdq import MIN_SCALE, Scale, weight_scales

Tensor = torch.Tensor


def fake_quantize(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Round ``x`` to the grid; gradients pass straight through the rounding, and reach ``scale``.

    The gradient of the scale is that of Esser et al., "Learned Step Size Quantization", ICLR 2020.
    """
    codes = x / scale + zero_point
    clipped = torch.clamp(codes, low, high)
    rounded = clipped + (torch.round(clipped) - clipped).detach()
    return (rounded - zero_point) * scale


class FakeQuantizer(torch.nn.Module):
    """The quantized network: an Executor whose reads are quantized where a Placement says so.

    Attributes:
        executor: The float network; its parameters are the weights being quantized.
    """

    def __init__(self, graph: Graph, placement: Placement, scales: dict[str, Scale]):
        super().__init__()
        self.executor = Executor(graph)
        self._placement = placement
        self._form = {t: scales[t] for t in placement.tensors}
        self._activation = {t: "a%d" % i for i, t in enumerate(placement.tensors)}
        for tensor, name in self._activation.items():
            value = torch.tensor(float(np.log(scales[tensor].scale)), dtype=torch.float32)
            self.register_parameter(name, torch.nn.Parameter(value))
        self._quantized = set(placement.weights)
        self._axis: dict[str, int] = {}
        self._weight: dict[str, str] = {}
        for i, node in enumerate(n for n in graph.nodes if n.name in self._quantized):
            self._axis[node.name], self._weight[node.name] = output_axis(node), "w%d" % i
            scale = weight_scales(graph.initializers[node.input[1]], output_axis(node))
            self.register_parameter("w%d" % i, torch.nn.Parameter(torch.from_numpy(np.log(scale))))

    def quantized_with_bias(self) -> set[str]:
        """Names of the quantized nodes that have a bias."""
        nodes = self.executor.graph.nodes
        return {
            n.name for n in nodes if n.name in self._quantized and len(n.input) > 2 and n.input[2]
        }

    @property
    def activation_parameters(self) -> list[torch.nn.Parameter]:
        return [getattr(self, n) for n in self._activation.values()]

    @property
    def weight_scale_parameters(self) -> list[torch.nn.Parameter]:
        return [getattr(self, n) for n in self._weight.values()]

    def forward(self, images: Tensor, made=None) -> Tensor:
        """(N, 3, H, W) to (N, D); ``made`` as in Executor.forward."""
        cache: dict[str, Tensor] = {}

        def read(node: NodeProto, position: int, tensor: Tensor) -> Tensor:
            name = node.input[position]
            if self._placement.covers(node, position):
                if name not in cache:
                    form = self._form[name]
                    scale = torch.exp(getattr(self, self._activation[name]))
                    cache[name] = fake_quantize(tensor, scale, form.zero_point, *form.limits)
                return cache[name]
            if position == 1 and node.name in self._quantized:
                shape = [-1 if i == self._axis[node.name] else 1 for i in range(tensor.ndim)]
                scale = torch.exp(getattr(self, self._weight[node.name])).reshape(shape)
                return fake_quantize(tensor, scale, 0, -127, 127)
            return tensor

        return self.executor(images, read=read, made=made)

    def scales(self) -> dict[str, Scale]:
        """The activation scales as they are now."""
        return {
            t: Scale(
                max(float(torch.exp(getattr(self, n)).detach()), MIN_SCALE),
                form.zero_point,
                form.dtype,
            )
            for (t, n), form in zip(self._activation.items(), self._form.values())
        }

    def weight_scale(self) -> dict[str, np.ndarray]:
        """node name -> per-channel weight scales as they are now."""
        return {
            n: torch.exp(getattr(self, p)).detach().numpy().copy() for n, p in self._weight.items()
        }
