"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EmaNetwork:
    """A running mean of a network's weights, which generalises better than its last state.

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992. The decay
    grows from 0 with the number of updates, so that the random start is forgotten.

    Args:
        network: The network being trained; copied.
        decay: Share of the old mean kept in each update, once warmed up.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the mean towards ``network``; integer buffers are copied."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        current = network.state_dict()
        floats = {k: v for k, v in self.network.state_dict().items() if v.is_floating_point()}
        torch._foreach_lerp_(
            list(floats.values()), [current[k].to(v) for k, v in floats.items()], 1 - decay
        )
        for key, value in self.network.state_dict().items():
            if key not in floats:
                value.copy_(current[key])

    def state_dict(self) -> dict:
        """For resuming."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        """Continue from ``state_dict()``."""
        self.network.load_state_dict(state["network"])
        self.updates = int(state["updates"])
