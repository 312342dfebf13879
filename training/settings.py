"""The sections of a recipe: every setting with its default, its range and what it means."""

from __future__ import annotations

from typing import Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt


class Section(BaseModel):
    """A part of a recipe: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Section):
    cache: Literal["memory", "none"] = Field(
        default="memory",
        description="keep decoded, resized crops in memory, or decode in every epoch",
    )
    workers: int = Field(
        default=1, ge=0, description="processes that prepare batches; 0: none beside the trainer"
    )


class Sampler(Section):
    kind: Literal["pk", "uniform"] = Field(
        default="pk", description="pk: P persons with K images each per batch; uniform: any images"
    )
    persons: int = Field(default=16, ge=2, description="P, persons per batch (pk)")
    images: PositiveInt = Field(default=4, description="K, images of each person per batch (pk)")
    batch: PositiveInt = Field(default=64, description="images per batch (uniform)")
    rear_weight: PositiveFloat = Field(
        default=1.0,
        description="how much more often images labelled as seen from behind are drawn (pk)",
    )


class Classification(Section):
    weight: NonNegativeFloat = Field(default=1.0, description="factor of the loss; 0: off")
    head: Literal["linear", "arcface", "cosface", "circle"] = Field(
        default="linear", description="classifier over the training identities"
    )
    smoothing: float = Field(default=0.1, ge=0, lt=1, description="label smoothing")
    adaptive: bool = Field(
        default=False, description="smoothing grows with the network's confidence"
    )
    scale: Optional[PositiveFloat] = Field(
        default=None, description="logit scale of arcface, cosface and circle; null: the head's own"
    )
    margin: Optional[float] = Field(
        default=None,
        ge=0,
        lt=1,
        description="margin of arcface, cosface and circle; null: the head's own",
    )


class Triplet(Section):
    weight: NonNegativeFloat = Field(default=0.0, description="factor of the loss; 0: off")
    margin: Optional[float] = Field(default=0.3, ge=0, description="margin; null: soft margin")
    distance: Literal["euclidean", "cosine"] = Field(
        default="euclidean", description="between features"
    )


class Centre(Section):
    weight: NonNegativeFloat = Field(default=0.0, description="factor of the loss; 0: off")
    rate: float = Field(
        default=0.5, gt=0, le=1, description="how far the centres move in each step"
    )


class Circle(Section):
    weight: NonNegativeFloat = Field(
        default=0.0, description="factor of the pair-wise loss; 0: off"
    )
    scale: PositiveFloat = Field(default=64.0, description="gamma of the paper")
    margin: float = Field(default=0.25, ge=0, lt=1, description="m of the paper")


class Distillation(Section):
    weight: NonNegativeFloat = Field(default=0.0, description="factor of the loss; 0: off")
    temperature: PositiveFloat = Field(
        default=0.05, description="of the softmax over similarities (similarity only)"
    )
    bank: bool = Field(
        default=True,
        description="similarity only: compare with the teacher's embeddings of all training "
        "images, not with the batch; needs equal dimensions and a fixed teacher",
    )


class Losses(Section):
    classification: Classification = Classification()
    triplet: Triplet = Triplet()
    centre: Centre = Centre()
    circle: Circle = Circle()
    distill_features: Distillation = Field(
        default=Distillation(), description="cosine to the teacher's embedding"
    )
    distill_similarity: Distillation = Field(
        default=Distillation(), description="the teacher's similarities to other images"
    )

    @property
    def need_teacher(self) -> bool:
        return self.distill_features.weight > 0 or self.distill_similarity.weight > 0

    @property
    def needs_bank(self) -> bool:
        return self.distill_similarity.weight > 0 and self.distill_similarity.bank


class Teacher(Section):
    mode: Literal["fixed", "live"] = Field(
        default="fixed",
        description="fixed: embed each training image and its mirror image once; live: embed "
        "every augmented image (slower, sees what the student sees)",
    )


class Optimizer(Section):
    kind: Literal["adamw", "adam", "sgd"] = Field(
        default="adam", description="SGD uses Nesterov momentum"
    )
    learning_rate: PositiveFloat = Field(default=3.5e-4, description="peak learning rate")
    weight_decay: NonNegativeFloat = Field(
        default=5e-4, description="not applied to biases and norms"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd")
    clip_norm: Optional[PositiveFloat] = Field(
        default=None, description="largest gradient norm; null: off"
    )


class Schedule(Section):
    epochs: PositiveInt = Field(default=120, description="length of the run")
    kind: Literal["cosine", "step"] = Field(
        default="cosine", description="decay of the learning rate"
    )
    warmup_epochs: NonNegativeFloat = Field(default=10, description="linear rise to the peak")
    warmup_factor: float = Field(
        default=0.01, ge=0, le=1, description="share of the peak to start from"
    )
    milestones: tuple[NonNegativeFloat, ...] = Field(
        default=(40, 70), description="epochs of the steps (step)"
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor at each milestone (step)")
    floor: float = Field(
        default=0.0, ge=0, le=1, description="share of the peak at the end (cosine)"
    )
    freeze_backbone_epochs: int = Field(
        default=0, ge=0, description="epochs at the start in which the backbone is held still"
    )


class Ema(Section):
    decay: float = Field(
        default=0.999, gt=0, lt=1, description="of the running mean of the weights, per step"
    )
