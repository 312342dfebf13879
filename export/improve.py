"""Makes a quantized network lose less than plain rounding would, without labels.

* Bias correction (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
  Correction", ICCV 2019, empirical form): rounding shifts the mean of each channel; the shift is
  measured on calibration crops, layer by layer in order, and taken out of the bias.
* Distillation: a short fine-tune of weights and scales so that the quantized embedding points where
  the float embedding of the same crop does. It sees calibration crops only, and no labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from export.executor import Executor
from export.fakequant import FakeQuantizer
from export.graph import Graph

METHODS = ("auto", "none", "bias", "distill")


def correct_biases(quantizer: FakeQuantizer, graph: Graph, images: np.ndarray) -> None:
    """Shift the bias of every quantized convolution so that its channel means match the float ones.

    Args:
        quantizer: Changed in place (its executor's biases).
        graph: The float graph it was made from.
        images: (N, 3, H, W) float32 calibration inputs; 32 suffice.
    """
    names = quantizer.quantized_with_bias()
    batch = torch.from_numpy(images)
    means: dict[str, torch.Tensor] = {}

    def remember(node, tensor):
        if node.name in names:
            means[node.name] = tensor.mean(_all_but_channels(tensor))
        return tensor

    def correct(node, tensor):
        if node.name not in names:
            return tensor
        shift = means[node.name] - tensor.mean(_all_but_channels(tensor))
        quantizer.executor.value(node.input[2]).add_(shift)
        return tensor + shift.reshape((1, -1) + (1,) * (tensor.ndim - 2))

    with torch.no_grad():
        Executor(graph)(batch, made=remember)
        quantizer(batch, made=correct)


def _all_but_channels(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(i for i in range(tensor.ndim) if i != 1)


def distill(
    quantizer: FakeQuantizer,
    graph: Graph,
    images: np.ndarray,
    *,
    steps: int = 150,
    batch: int = 32,
    weight_rate: float = 1e-3,
    scale_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> list[float]:
    """Fine-tune weights, biases and scales towards the float network's embeddings.

    Args:
        quantizer: Changed in place.
        graph: The float graph: the teacher.
        images: (N, 3, H, W) float32 calibration inputs.
        steps, batch: Optimiser steps and crops per step.
        weight_rate: Adam's step for weights and biases, relative to each tensor's RMS.
        scale_rate: Adam's step for the logarithms of the scales.
        seed: Order of the crops.
        progress: Called with 1 after every step.

    Returns:
        The loss (1 - cosine, mean over the batch) of each step.
    """
    rng = np.random.default_rng(seed)
    teacher = Executor(graph)
    with torch.no_grad():
        target = torch.cat(
            [
                F.normalize(teacher(torch.from_numpy(images[i : i + batch])))
                for i in range(0, len(images), batch)
            ]
        )
    groups: list[dict[str, Any]] = [
        {"params": [p], "lr": weight_rate * max(float(p.detach().square().mean().sqrt()), 1e-3)}
        for p in quantizer.executor.parameters()
    ]
    groups.append({"params": quantizer.activation_parameters, "lr": scale_rate})
    groups.append({"params": quantizer.weight_scale_parameters, "lr": scale_rate})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [g["lr"] for g in groups], total_steps=steps, pct_start=0.1
    )
    losses, order = [], np.empty(0, np.int64)
    for _ in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, rng.permutation(len(images))])
        chosen, order = order[:batch], order[batch:]
        optimizer.zero_grad()
        embedding = F.normalize(quantizer(torch.from_numpy(images[chosen])))
        loss = (1.0 - (embedding * target[chosen]).sum(1)).mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(1)
    return losses
