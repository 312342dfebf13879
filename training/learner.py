"""The network together with everything that is only there to train it: classifier and losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.network import ReidNetwork
from runtime.contract import InputContract
from training.losses.classification import (
    ArcFace,
    CircleClassifier,
    CosFace,
    LinearClassifier,
    SmoothedCrossEntropy,
)
from training.losses.distill import FeatureDistillation, SimilarityDistillation
from training.losses.metric import CenterLoss, CircleLoss, TripletLoss
from training.settings import Classification, Losses

BEHIND_NECK = ("classification", "distill_features", "distill_similarity")


class PixelPreparation(nn.Module):
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 as ``runtime.preprocess`` computes it."""

    gain: Tensor
    offset: Tensor

    def __init__(self, contract: InputContract):
        super().__init__()
        # Rounded once, from float64, as the runtime's are.
        mean, std = (
            torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1)
            for v in (contract.mean, contract.std)
        )
        self.register_buffer("gain", (contract.scale / std).float(), persistent=False)
        self.register_buffer("offset", (-mean / std).float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        # The permuted view of HWC memory is exactly channels_last, the fast layout for training.
        return images.permute(0, 3, 1, 2) * self.gain + self.offset


def classifier(settings: Classification, dim: int, classes: int) -> nn.Module:
    """The classification head a recipe asks for: (N, dim) features to (N, classes) logits."""
    if settings.head == "linear":
        return LinearClassifier(dim, classes)
    head = {"arcface": ArcFace, "cosface": CosFace, "circle": CircleClassifier}[settings.head]
    given = {"scale": settings.scale, "margin": settings.margin}
    return head(dim, classes, **{k: v for k, v in given.items() if v is not None})


def metric_dim(network: ReidNetwork) -> int:
    """Length of the feature that metric losses see."""
    own_channels = network.neck is None or isinstance(network.neck, nn.BatchNorm1d)
    return int(network.backbone.out_channels) if own_channels else network.dim  # type: ignore[arg-type]


class Learner(nn.Module):
    """uint8 crops and labels to the losses of one step.

    Losses on the classifier and on the teacher see the embedding behind the neck, metric losses
    the feature before it (Luo et al., "Bag of Tricks", CVPRW 2019). A BatchNorm stands before the
    classifier where the neck has none, so that classification does not fix the embedding's scale.

    Args:
        network: What is trained.
        contract: Its input.
        losses: The recipe's section.
        classes: Identities.
        teacher_dim: Length of the teacher's embedding, None without one.
        bf16: Run the network in bfloat16 autocast; losses are computed in float32.
    """

    def __init__(
        self,
        network: ReidNetwork,
        contract: InputContract,
        losses: Losses,
        classes: int,
        teacher_dim: int | None = None,
        bf16: bool = False,
    ):
        super().__init__()
        self.network, self.bf16 = network, bf16
        self.prepare = PixelPreparation(contract)
        self.heads = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        dim = network.dim
        if losses.classification.weight:
            if network.neck is None or isinstance(network.neck, nn.Linear):
                self.heads["norm"] = nn.BatchNorm1d(dim)
            self.heads["classifier"] = classifier(losses.classification, dim, classes)
            smoothed = SmoothedCrossEntropy(
                losses.classification.smoothing, losses.classification.adaptive
            )
            self._add("classification", smoothed, losses.classification.weight)
        if losses.triplet.weight:
            triplet = TripletLoss(losses.triplet.margin, losses.triplet.distance)
            self._add("triplet", triplet, losses.triplet.weight)
        if losses.centre.weight:
            self._add(
                "centre",
                CenterLoss(classes, metric_dim(network), losses.centre.rate),
                losses.centre.weight,
            )
        if losses.circle.weight:
            circle = CircleLoss(losses.circle.scale, losses.circle.margin)
            self._add("circle", circle, losses.circle.weight)
        if teacher_dim is not None and losses.distill_features.weight:
            features = FeatureDistillation(dim, teacher_dim)
            self._add("distill_features", features, losses.distill_features.weight)
        self.use_bank = losses.distill_similarity.bank
        if teacher_dim is not None and losses.distill_similarity.weight:
            similarity = SimilarityDistillation(losses.distill_similarity.temperature)
            self._add("distill_similarity", similarity, losses.distill_similarity.weight)

    def _add(self, name: str, loss: nn.Module, weight: float) -> None:
        self.heads[name] = loss
        self.weights[name] = weight

    @property
    def loss_names(self) -> Sequence[str]:
        """Names of the active losses, in a fixed order."""
        return tuple(self.weights)

    @property
    def trains_neck(self) -> bool:
        """Whether a loss sees what is behind the neck, so that the neck has gradients."""
        return any(name in self.weights for name in BEHIND_NECK)

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        teacher: Tensor | None = None,
        bank: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Losses of one batch.

        Args:
            images: (N, H, W, 3) uint8.
            labels: (N,) int64.
            teacher: (N, D) float embeddings of the same people by the teacher.
            bank: (M, D) L2-normalised teacher embeddings to compare with.

        Returns:
            The weighted sum, and (len(loss_names),) unweighted values, detached.
        """
        pixels = self.prepare(images)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bf16):
            metric, embedding = self.network.features(pixels)
        metric, embedding = metric.float(), embedding.float()
        values = {
            name: self._loss(name, metric, embedding, labels, teacher, bank)
            for name in self.weights
        }
        total = torch.stack([self.weights[n] * v for n, v in values.items()]).sum()
        return total, torch.stack([v.detach() for v in values.values()])

    def _loss(self, name, metric, embedding, labels, teacher, bank) -> Tensor:
        head = self.heads[name]
        if name == "classification":
            if "norm" in self.heads:
                embedding = self.heads["norm"](embedding)
            return head(self.heads["classifier"](embedding, labels), labels)
        if name == "distill_features":
            return head(embedding, teacher)
        if name == "distill_similarity":
            return head(embedding, teacher, bank if self.use_bank else None)
        return head(metric, labels)
