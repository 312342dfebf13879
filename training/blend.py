"""A fine-tuned network mixed with the one it came from."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class StartBlend:
    """The mean of a network's weights and those it started from.

    Few images of few people teach a network what is special about these and let it forget what it
    knew of others; the weights half way between know both (WiSE-FT, Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022).

    Args:
        network: With the weights to start from; copied.
        share: How much of them is kept, from 0 to 1.
    """

    def __init__(self, network: nn.Module, share: float):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.share = share
        self._start = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def mixed(self, network: nn.Module) -> nn.Module:
        """``network``'s weights mixed with the start's, BatchNorm statistics too; in eval mode.

        The same module is returned each time, with other weights.
        """
        for (key, value), now in zip(
            self.network.state_dict().items(), network.state_dict().values()
        ):
            if value.is_floating_point():
                start = self._start[key].to(value)
                value.copy_(torch.lerp(now.to(value), start, self.share))
            else:
                value.copy_(now)
        return self.network

    def state_dict(self) -> dict[str, Tensor]:
        """For resuming: the weights of the start."""
        return self._start

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from ``state_dict()``."""
        self._start = dict(state)
