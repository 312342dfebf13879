"""The quantized network while it is fine-tuned: what may change in it, and what follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from export.executor import Executor
from export.fakequant import FakeQuantizer
from export.graph import Graph
from export.improve import correct_biases
from export.placement.base import Placement, output_axis
from export.qdq import MIN_SCALE, Scale

State = dict[str, Tensor]
_STEP = 16  # images per run when nothing is learned
# Above 1, so that the largest weight of a channel never counts as clipped and keeps its gradient.
_HEADROOM = 1.0 + 1e-6


def embed(module: torch.nn.Module, images: np.ndarray, device: str = "cpu") -> np.ndarray:
    """(N, 3, H, W) to (N, D) float32, without gradients."""
    with torch.no_grad():
        parts = [
            module(torch.from_numpy(images[i : i + _STEP]).to(device)).cpu().numpy()
            for i in range(0, len(images), _STEP)
        ]
    return np.concatenate(parts)


class _Quantizer(FakeQuantizer):
    """A FakeQuantizer that offers only those biases for correction that may change."""

    def __init__(
        self, graph: Graph, placement: Placement, scales: dict[str, Scale], tunable: set[str]
    ):
        super().__init__(graph, placement, scales)
        self._tunable = tunable

    def quantized_with_bias(self) -> set[str]:
        names = super().quantized_with_bias()
        nodes = self.executor.graph.nodes
        return {n.name for n in nodes if n.name in names and n.input[2] in self._tunable}


class Student(torch.nn.Module):
    """A FakeQuantizer whose weights have scales from their maxima, as the export gives them.

    Args:
        graph: The float graph.
        placement: Where it is quantized.
        scales: Activation tensor -> scale to start from.
        masks: Initializer name -> mask that broadcasts to it, 1 where it may change; initializers
            that are not named may not.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        scales: dict[str, Scale],
        masks: dict[str, np.ndarray],
    ):
        super().__init__()
        self.graph, self.device = graph, "cpu"
        self.fake = _Quantizer(graph, placement, scales, set(masks))
        nodes = {n.name: n for n in graph.nodes}
        self._scaled = [
            (parameter, nodes[name].input[1], output_axis(nodes[name]))
            for name, parameter in zip(self.fake.weight_scale(), self.fake.weight_scale_parameters)
        ]
        self.requires_grad_(False)
        for parameter in self.fake.activation_parameters:
            parameter.requires_grad_(True)
        self._masks = {name: torch.from_numpy(mask) for name, mask in masks.items()}
        for name, mask in self._masks.items():
            if mask.any():
                value = self.fake.executor.value(name).requires_grad_(True)
                value.register_hook(lambda g, mask=mask: g * mask.to(g.device))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, D)."""
        self._set_weight_scales()
        return self.fake(images)

    def move(self, device: str) -> Student:
        """Run and train on another device, as torch names it."""
        self.device = device
        return self.to(device)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 to (N, D) float32."""
        return embed(self, images, self.device)

    def parameter_groups(self, weight_rate: float, scale_rate: float) -> list[dict[str, Any]]:
        """Groups for an optimizer, each with its peak learning rate as ``lr``.

        Args:
            weight_rate: For weights and biases, relative to the RMS of each.
            scale_rate: For the logarithms of the activation scales.
        """
        groups: list[dict[str, Any]] = [
            {"params": [p], "lr": weight_rate * max(float(p.detach().square().mean().sqrt()), 1e-3)}
            for p in self.fake.executor.parameters()
            if p.requires_grad
        ]
        return groups + [{"params": self.fake.activation_parameters, "lr": scale_rate}]

    def correct_biases(self, images: np.ndarray) -> None:
        """``export.improve.correct_biases``, of the biases that may change; on the CPU only."""
        executor = self.fake.executor
        nodes = [n for n in self.graph.nodes if n.name in self.fake.quantized_with_bias()]
        before = {n.input[2]: executor.value(n.input[2]).detach().clone() for n in nodes}
        self._set_weight_scales()
        correct_biases(self.fake, self.graph, images)
        with torch.no_grad():
            for name, old in before.items():
                bias = executor.value(name)
                bias.copy_(torch.where(self._masks[name] > 0, bias, old))

    def state(self) -> State:
        """A copy of all tensors, for ``load_state_dict``."""
        return {key: value.detach().clone() for key, value in self.state_dict().items()}

    def tuned(self) -> Graph:
        """A copy of the graph with the weights and biases as they are now."""
        graph = self.graph.copy()
        self.to("cpu")
        self.fake.executor.write_back(graph)
        self.to(self.device)
        return graph

    def scales(self) -> dict[str, Scale]:
        """Activation tensor -> scale as it is now."""
        return self.fake.scales()

    def _set_weight_scales(self) -> None:
        with torch.no_grad():
            for parameter, name, axis in self._scaled:
                weight = self.fake.executor.value(name).abs()
                amax = weight.amax([i for i in range(weight.ndim) if i != axis])
                # A channel without weights gets the scale of its layer, as in export.qdq.
                amax = torch.where(amax > 0, amax, amax.max())
                parameter.copy_(torch.log((amax * (_HEADROOM / 127.0)).clamp(min=MIN_SCALE)))


def teacher(graph: Graph, device: str) -> torch.nn.Module:
    """The float network, for its embeddings alone."""
    return Executor(graph).requires_grad_(False).to(device)
