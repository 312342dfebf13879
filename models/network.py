"""The network every adapter builds: pixels -> backbone -> global pooling -> neck -> embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PixelNormalize(nn.Module):
    """``(x - mean) / std`` per channel, inside the graph, for networks that take 0..255 pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]):
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def bn_neck(dim: int) -> nn.Module:
    """BNNeck: BatchNorm on the pooled vector (Luo et al., "Bag of Tricks", CVPRW 2019)."""
    return nn.BatchNorm1d(dim)


def fc_neck(inputs: int, dim: int, *, bias: bool = True, relu: bool = True) -> nn.Module:
    """Linear, BatchNorm and optionally ReLU: (N, inputs) to (N, dim)."""
    layers: list[nn.Module] = [nn.Linear(inputs, dim, bias=bias), nn.BatchNorm1d(dim)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class ReidNetwork(nn.Module):
    """(N, 3, H, W) float pixels to (N, D) embeddings, never L2-normalised.

    Args:
        backbone: Feature extractor with an ``out_channels`` attribute.
        pool: (N, C, h, w) to (N, C).
        neck: (N, C) to (N, D), or ``None`` for networks whose embedding is the pooled vector.
        dim: D behind the neck; C where there is none.
        feature: ``"after_neck"`` or ``"before_neck"``.
        normalize: Applied to the pixels first.
    """

    def __init__(
        self,
        backbone: nn.Module,
        pool: nn.Module,
        neck: nn.Module | None = None,
        dim: int | None = None,
        feature: str = "after_neck",
        normalize: nn.Module | None = None,
    ):
        super().__init__()
        self.normalize = normalize
        self.backbone = backbone
        self.pool = pool
        self.neck = neck
        after_neck = neck is not None and feature == "after_neck"
        self.feature = "after_neck" if after_neck else "before_neck"
        channels = int(backbone.out_channels)  # type: ignore[arg-type]
        self.dim = int(dim) if after_neck and dim is not None else channels

    def forward(self, x: Tensor) -> Tensor:
        x = self._pooled(x)
        if self.feature == "after_neck":
            assert self.neck is not None
            x = self.neck(x)
        return x

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the losses of training read, from one pass; ``feature`` does not matter.

        Args:
            x: (N, 3, H, W), as for ``forward``.

        Returns:
            ``before``, (N, C or D), for metric losses: the pooled vector, or behind a neck's Linear
            where it begins with one; and ``after``, the vector behind the whole neck, for the
            classifier. They are the same tensor where nothing follows.
        """
        before = self._pooled(x)
        if self.neck is None:
            return before, before
        if isinstance(self.neck, nn.Linear):
            before = self.neck(before)
            return before, before
        if isinstance(self.neck, nn.Sequential) and isinstance(self.neck[0], nn.Linear):
            before = self.neck[0](before)
            return before, self.neck[1:](before)
        return before, self.neck(before)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.normalize is not None:
            x = self.normalize(x)
        return self.pool(self.backbone(x))
