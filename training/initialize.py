"""Start a network from weights that somebody trained: fine-tuning and ImageNet backbones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models.checkpoint import load_network, read_state_dict
from runtime.errors import ReidEdgeError

SMALLEST_SHARE = 0.5  # of the tensors; below it the weights are of another network


@dataclass(frozen=True)
class Initialized:
    """What was taken over.

    Attributes:
        source: Where from, e.g. ``"microsoft-rga checkpoint rga.pth"``.
        taken: Tensors copied.
        left: Names of the network's tensors that keep their random start.
    """

    source: str
    taken: int
    left: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(self.left[:3]) + (", ..." if len(self.left) > 3 else "")
        rest = f"; {len(self.left)} start at random ({named})" if self.left else ""
        return f"{self.taken} tensors from {self.source}{rest}"


def initialize(network: nn.Module, path: Path) -> Initialized:
    """Copy every tensor that fits from a checkpoint into ``network``.

    Any checkpoint that ``reid-export`` reads will do, and plain ImageNet classifiers with
    torchvision's key names (``conv1.weight``, ``layer1.0...``).

    Args:
        network: Changed in place.
        path: The checkpoint.

    Raises:
        ReidEdgeError: It cannot be read, or fits less than half of the network's backbone.
    """
    state, source = _state_of(path)
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    backbone = [k for k in own if k.startswith("backbone.") and ".attention." not in k]
    share = sum(k in fitting for k in backbone) / max(len(backbone), 1)
    if share < SMALLEST_SHARE:
        raise ReidEdgeError(
            f"{path} fits only {share:.0%} of the backbone; --init needs weights of the "
            "architecture that the recipe's network section describes."
        )
    network.load_state_dict(fitting, strict=False)
    left = tuple(k for k in own if k not in fitting and not k.endswith("num_batches_tracked"))
    return Initialized(source, len(fitting), left)


def _state_of(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors under the names of ``ReidNetwork``."""
    try:
        loaded = load_network(path)
        return dict(loaded.network.state_dict()), f"{loaded.family} checkpoint {path.name}"
    except ReidEdgeError as unknown:
        state, _ = read_state_dict(path)
        if "conv1.weight" not in state:
            raise unknown from None
    return {f"backbone.{k}": v for k, v in state.items()}, f"ImageNet weights {path.name}"
