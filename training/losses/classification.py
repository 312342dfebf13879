"""Identity classification: heads that turn features into logits, and smoothed cross-entropy.

All heads are called alike, ``head(features, labels)``: (N, D) float features and (N,) int64 labels
in 0..K-1 give (N, K) logits for `SmoothedCrossEntropy`. Logits are float32 also under autocast
(float64 for float64). The labels matter only to margins, and margins exist only in training mode.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import ReidEdgeError
from training.losses.numerics import full_precision, unit_rows, upcast


class SmoothedCrossEntropy(nn.Module):
    """Cross-entropy with label smoothing, mean over the batch.

    Fixed smoothing (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016) spreads
    ``epsilon`` over all K classes, the true one included: its target is 1 - epsilon + epsilon / K,
    every other epsilon / K. This is the convention of torch's ``label_smoothing``; fast-reid spreads
    over the K - 1 others.

    Adaptive smoothing gives each sample its own ``epsilon * p(true class)``, where p is the network's
    current probability, without a gradient: nothing is smoothed while the network is wrong, and more
    the more confident it gets. The idea is fast-reid's (He et al., arXiv:2006.02631).

    Args:
        epsilon: Smoothed share of the target in [0, 1); 0 is plain cross-entropy.
        adaptive: Scale ``epsilon`` by each sample's confidence.

    Raises:
        ReidEdgeError: ``epsilon`` is outside [0, 1).
    """

    def __init__(self, epsilon: float = 0.1, adaptive: bool = False):
        super().__init__()
        if not 0.0 <= epsilon < 1.0:
            raise ReidEdgeError(
                f"epsilon is the smoothed share of a label and must be in [0, 1), got {epsilon}:"
                " use 0.1, or 0 for plain cross-entropy."
            )
        self.epsilon, self.adaptive = epsilon, adaptive

    @full_precision
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, K) float logits and (N,) int64 labels in 0..K-1 to a scalar."""
        log_probability = logits.log_softmax(1)
        true_class = F.nll_loss(log_probability, labels, reduction="none")
        all_classes = -log_probability.mean(1)
        epsilon: Tensor | float = self.epsilon
        if self.adaptive:
            epsilon = self.epsilon * true_class.detach().neg().exp()
        return ((1.0 - epsilon) * true_class + epsilon * all_classes).mean()


class LinearClassifier(nn.Module):
    """Logits ``features @ weight.T``, without bias, as behind a BNNeck (Luo et al., CVPRW 2019).

    Args:
        dim: D of the features.
        classes: K identities.
    """

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.weight, std=0.001)

    @full_precision
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.linear(features, upcast(self.weight))


class CosineClassifier(nn.Module):
    """Logits from the cosine between feature and class vector; subclasses put the margin in.

    In eval mode logits are ``scale * cosine``, whatever the subclass. A zero feature has cosine 0 with
    every class.

    Args:
        dim: D of the features.
        classes: K identities.
        scale: Factor of the logits, s or gamma in the papers, > 0.
        margin: As the subclass says.

    Raises:
        ReidEdgeError: ``scale`` or ``margin`` is out of range.
    """

    max_margin = 1.0

    def __init__(self, dim: int, classes: int, scale: float, margin: float):
        super().__init__()
        kind = type(self).__name__
        if not scale > 0.0:
            raise ReidEdgeError(f"{kind} needs a scale above 0, got {scale}: use 30.")
        if not 0.0 <= margin < self.max_margin:
            raise ReidEdgeError(
                f"{kind} needs a margin in [0, {self.max_margin:.4g}), got {margin}: use 0.3."
            )
        self.scale, self.margin = scale, margin
        # Only directions count, and those of a Gaussian are uniform.
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.weight, std=0.01)

    @full_precision
    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        cosine = unit_rows(features) @ unit_rows(upcast(self.weight)).T
        if not self.training:
            return self.scale * cosine
        classes = torch.arange(len(self.weight), device=labels.device)
        return self.scale * self.with_margin(cosine, labels[:, None] == classes)

    def with_margin(self, cosine: Tensor, is_true: Tensor) -> Tensor:
        """Logits before scaling.

        Args:
            cosine: (N, K) float.
            is_true: (N, K) bool, the sample's own class.
        """
        raise NotImplementedError(type(self).__name__)


class ArcFace(CosineClassifier):
    """``s cos(theta + m)`` for the true class, ``s cos(theta)`` for the others.

    Deng et al., "ArcFace: Additive Angular Margin Loss", CVPR 2019. The angle itself is never
    computed: ``cos(theta + m) = cos(theta) cos(m) - sin(theta) sin(m)``, and the square under the
    sine's root is kept above the dtype's epsilon, so that the gradient is finite at cos = 1 and -1
    (the logit there is off by at most ``s * sqrt(epsilon)``, 0.01 in float32 with s = 30).

    Beyond ``theta = pi - m`` the formula would rise again and pull a feature away from its class.
    From there on the logit is ``s (cos(theta) - (1 - cos(m)))``: it joins the formula without a step
    and keeps falling with the angle. (The authors' code subtracts ``m sin(m)`` instead of
    ``1 - cos(m)``, which falls too, but jumps there.)

    Args:
        dim: D of the features.
        classes: K identities.
        scale: s, > 0.
        margin: m in radians, in [0, pi / 2).
    """

    max_margin = math.pi / 2

    def __init__(self, dim: int, classes: int, scale: float = 30.0, margin: float = 0.3):
        super().__init__(dim, classes, scale, margin)

    def with_margin(self, cosine: Tensor, is_true: Tensor) -> Tensor:
        cos_m, sin_m = math.cos(self.margin), math.sin(self.margin)
        sine = (1.0 - cosine.square()).clamp(min=torch.finfo(cosine.dtype).eps).sqrt()
        widened = cosine * cos_m - sine * sin_m
        continued = cosine - (1.0 - cos_m)
        return torch.where(is_true, torch.where(cosine > -cos_m, widened, continued), cosine)


class CosFace(CosineClassifier):
    """``s (cos(theta) - m)`` for the true class, ``s cos(theta)`` for the others.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.

    Args:
        dim: D of the features.
        classes: K identities.
        scale: s, > 0.
        margin: m, a difference of cosines, in [0, 1).
    """

    def __init__(self, dim: int, classes: int, scale: float = 30.0, margin: float = 0.35):
        super().__init__(dim, classes, scale, margin)

    def with_margin(self, cosine: Tensor, is_true: Tensor) -> Tensor:
        return torch.where(is_true, cosine - self.margin, cosine)


class CircleClassifier(CosineClassifier):
    """Circle loss with class-level labels: each cosine is weighted by how far it is from its goal.

    Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020. With
    s the cosine, the true class gets ``gamma [1 + m - s]+ (s - (1 - m))`` and every other class
    ``gamma [s + m]+ (s - m)``; cross-entropy over these logits is the paper's loss. As there, the
    weights in brackets pass no gradient.

    Args:
        dim: D of the features.
        classes: K identities.
        scale: gamma, > 0.
        margin: m, in [0, 1).
    """

    def __init__(self, dim: int, classes: int, scale: float = 128.0, margin: float = 0.25):
        super().__init__(dim, classes, scale, margin)

    def with_margin(self, cosine: Tensor, is_true: Tensor) -> Tensor:
        own, other = circle_terms(cosine, self.margin)
        return torch.where(is_true, own, other)


def circle_terms(similarity: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Circle loss's weighted similarities, as if within a class and as if between classes.

    Args:
        similarity: Cosines of any shape.
        margin: m.

    Returns:
        ``[1 + m - s]+ (s - (1 - m))`` and ``[s + m]+ (s - m)``, brackets without gradient.
    """
    fixed = similarity.detach()
    within = (1.0 + margin - fixed).relu() * (similarity - (1.0 - margin))
    between = (fixed + margin).relu() * (similarity - margin)
    return within, between
