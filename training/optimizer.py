"""The optimizer of a learner, and holding its backbone still."""

from __future__ import annotations

import torch
from torch import nn

from training.learner import Learner
from training.settings import Optimizer

BACKBONE = "network.backbone."


def build_optimizer(learner: Learner, settings: Optimizer) -> torch.optim.Optimizer:
    """Optimizer of all parameters.

    Biases and normalisation parameters, all of one dimension, are not decayed: shrinking them
    does not regularise, it only shifts the statistics.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in learner.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim > 1].append(parameter)
    parameters = [
        {"params": groups[True], "weight_decay": settings.weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.kind == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(parameters, rate, momentum=settings.momentum, nesterov=nesterov)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.kind]
    return kind(parameters, rate)


def set_backbone_frozen(learner: Learner, frozen: bool) -> None:
    """Hold the backbone still, its BatchNorm statistics too, or let it learn."""
    for name, parameter in learner.named_parameters():
        if name.startswith(BACKBONE):
            parameter.requires_grad_(not frozen)
    learner.network.backbone.train(not frozen)
