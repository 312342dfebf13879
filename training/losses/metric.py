"""Metric learning within a batch: distances, batch-hard pairs, triplet, center and circle loss.

Features are (N, D) float, labels (N,) int64 identities of any value. Everything is computed in
float32 also under autocast (in float64 for float64).
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from runtime.errors import ReidEdgeError
from training.losses.classification import circle_terms
from training.losses.numerics import full_precision, mean_where, unit_rows

DISTANCES = ("euclidean", "cosine")


@full_precision
def pairwise_distance(x: Tensor, kind: str) -> Tensor:
    """Distances between all rows.

    Args:
        x: (N, D) float.
        kind: ``"euclidean"``, or ``"cosine"`` for 1 - cos.

    Returns:
        (N, N) float. Euclidean distances are summed from differences, so that equal rows are exactly
        at 0, where the gradient is 0 too. A zero row has cosine distance 1 to everything, itself
        included.

    Raises:
        ReidEdgeError: ``kind`` is unknown.
    """
    if kind == "euclidean":
        return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    if kind == "cosine":
        unit = unit_rows(x)
        return (1.0 - unit @ unit.T).clamp(min=0.0)
    raise ReidEdgeError(
        f"the distance must be one of {', '.join(DISTANCES)}, got {kind!r}: use 'euclidean'."
    )


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs share an identity and which do not.

    Args:
        labels: (N,) int64.

    Returns:
        (N, N) bool positives, never of a sample with itself, and (N, N) bool negatives.
    """
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def hardest_pairs(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Batch-hard mining: for each anchor its farthest positive and its nearest negative.

    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", arXiv:1703.07737,
    2017. An anchor is not its own positive. Where several pairs are equally hard, the gradient is
    shared among them.

    Args:
        distances: (N, N) float, row = anchor.
        labels: (N,) int64.

    Returns:
        (N,) distances to the hardest positives, (N,) to the hardest negatives, and (N,) bool: the
        anchor has both. Both distances of other anchors are 0, without gradient.

    Raises:
        ReidEdgeError: The shapes disagree.
    """
    if labels.dim() != 1 or distances.shape != (len(labels), len(labels)):
        raise ReidEdgeError(
            f"mining needs (N, N) distances and (N,) labels, got {tuple(distances.shape)} and"
            f" {tuple(labels.shape)}: pass both for the same batch."
        )
    positive, negative = pair_masks(labels)
    valid = positive.any(1) & negative.any(1)
    farthest = distances.masked_fill(~positive, -torch.inf).amax(1)
    nearest = distances.masked_fill(~negative, torch.inf).amin(1)
    return farthest.masked_fill(~valid, 0.0), nearest.masked_fill(~valid, 0.0), valid


class TripletLoss(nn.Module):
    """Batch-hard triplet loss, mean over the anchors that have a positive and a negative.

    ``max(0, d_p - d_n + margin)``, or with a soft margin ``log(1 + exp(d_p - d_n))``; see
    `hardest_pairs`. A batch without a valid anchor gives 0, with zero gradients.

    Args:
        margin: In units of the distance, >= 0; None for the soft margin.
        distance: ``"euclidean"`` or ``"cosine"``.

    Raises:
        ReidEdgeError: ``margin`` or ``distance`` is not one of these.
    """

    def __init__(self, margin: float | None = 0.3, distance: str = "euclidean"):
        super().__init__()
        if margin is not None and not margin >= 0.0:
            raise ReidEdgeError(
                f"the triplet margin must be at least 0, or None for a soft margin, got {margin}:"
                " use 0.3."
            )
        if distance not in DISTANCES:
            raise ReidEdgeError(
                f"the distance must be one of {', '.join(DISTANCES)}, got {distance!r}:"
                " use 'euclidean'."
            )
        self.margin, self.distance = margin, distance

    @full_precision
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D) features and (N,) labels to a scalar."""
        distances = pairwise_distance(features, self.distance)
        farthest, nearest, valid = hardest_pairs(distances, labels)
        gap = farthest - nearest
        loss = F.softplus(gap) if self.margin is None else F.relu(gap + self.margin)
        return mean_where(valid, loss)


class CenterLoss(nn.Module):
    """Half the squared distance of each feature to the center of its class, mean over the batch.

    Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016. The
    centers are not parameters: as in the paper's algorithm they follow the features by a rule of
    their own, after each batch in training mode: of the n samples of a class,
    ``c <- c - rate * sum(c - x) / (1 + n)``. So the weight of this loss and the optimiser's settings
    do not reach them, and a state dict keeps them. In eval mode they stay. Where several processes
    train together, they follow the features of all, so all must call this equally often.

    Args:
        classes: K identities; labels are in 0..K-1.
        dim: D of the features.
        rate: The paper's alpha, in [0, 1].

    Attributes:
        centers: (K, D), zero at first.

    Raises:
        ReidEdgeError: ``rate`` is outside [0, 1].
    """

    centers: Tensor

    def __init__(self, classes: int, dim: int, rate: float = 0.5):
        super().__init__()
        if not 0.0 <= rate <= 1.0:
            raise ReidEdgeError(f"the rate of centers must be in [0, 1], got {rate}: use 0.5.")
        self.rate = rate
        self.register_buffer("centers", torch.zeros(classes, dim))

    @full_precision
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D) features and (N,) labels to a scalar."""
        offset = features - self.centers[labels]
        if self.training:
            self._follow(offset.detach(), labels)
        return 0.5 * offset.square().sum(1).mean()

    @torch.no_grad()
    def _follow(self, offset: Tensor, labels: Tensor) -> None:
        """Move the centers; ``offset`` is (N, D) feature minus center."""
        pull = torch.zeros_like(self.centers).index_add_(0, labels, offset.to(self.centers.dtype))
        count = torch.bincount(labels, minlength=len(self.centers))
        if distributed.is_available() and distributed.is_initialized():
            # DDP hands out the first process's buffers, so that what only others know would be lost.
            distributed.all_reduce(pull)
            distributed.all_reduce(count)
        self.centers.add_(self.rate * pull / (1 + count)[:, None])


class CircleLoss(nn.Module):
    """Circle loss with pair-wise labels, mean over the anchors with a positive and a negative.

    Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020. With
    the cosines s to an anchor's positives p and negatives n,
    ``log(1 + sum_n exp(gamma [s_n + m]+ (s_n - m)) * sum_p exp(-gamma [1 + m - s_p]+ (s_p - 1 + m)))``,
    where the brackets pass no gradient. A batch without a valid anchor gives 0, with zero gradients.

    Args:
        scale: gamma, > 0.
        margin: m, in [0, 1).

    Raises:
        ReidEdgeError: ``scale`` or ``margin`` is out of range.
    """

    def __init__(self, scale: float = 128.0, margin: float = 0.25):
        super().__init__()
        if not (scale > 0.0 and 0.0 <= margin < 1.0):
            raise ReidEdgeError(
                f"circle loss needs a scale above 0 and a margin in [0, 1), got {scale} and {margin}:"
                " use 128 and 0.25."
            )
        self.scale, self.margin = scale, margin

    @full_precision
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """(N, D) features and (N,) labels to a scalar."""
        positive, negative = pair_masks(labels)
        valid = positive.any(1) & negative.any(1)
        unit = unit_rows(features)
        within, between = circle_terms(unit @ unit.T, self.margin)
        own = (-self.scale * within).masked_fill(~positive, -torch.inf).logsumexp(1)
        other = (self.scale * between).masked_fill(~negative, -torch.inf).logsumexp(1)
        return mean_where(valid, F.softplus(own + other))
