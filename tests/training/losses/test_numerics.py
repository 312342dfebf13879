"""Precision and safety, of the helpers and of every loss built on them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from training.losses.classification import (
    ArcFace,
    CircleClassifier,
    CosFace,
    LinearClassifier,
    SmoothedCrossEntropy,
)
from training.losses.distill import FeatureDistillation, SimilarityDistillation
from training.losses.metric import CenterLoss, CircleLoss, TripletLoss
from training.losses.numerics import full_precision, mean_where, unit_rows, upcast

DIM, CLASSES = 12, 5


class Classified(nn.Module):
    """A head and cross-entropy, called as a metric loss is."""

    def __init__(self, head, adaptive=False):
        super().__init__()
        self.head, self.loss = head, SmoothedCrossEntropy(0.1, adaptive)

    def forward(self, features, labels):
        return self.loss(self.head(features, labels), labels)


class Distilled(nn.Module):
    """A distillation loss towards a fixed teacher, called as a metric loss is."""

    def __init__(self, loss, teacher_dim, bank=None):
        super().__init__()
        self.loss, self.teacher_dim, self.bank = loss, teacher_dim, bank

    def forward(self, features, labels):
        generator = torch.Generator().manual_seed(99)
        teacher = torch.randn(len(features), self.teacher_dim, generator=generator)
        # Rounded first, so that every dtype is given the same numbers.
        given = [teacher] if self.bank is None else [teacher, self.bank]
        return self.loss(features, *(x.bfloat16().to(features.dtype) for x in given))


def spread(head):
    """A head with class vectors of length about 1, so that logits matter from the start."""
    nn.init.normal_(head.weight, std=DIM**-0.5)
    return head


LOSSES = {
    "linear": lambda: Classified(spread(LinearClassifier(DIM, CLASSES))),
    "adaptive": lambda: Classified(spread(LinearClassifier(DIM, CLASSES)), adaptive=True),
    "arcface": lambda: Classified(ArcFace(DIM, CLASSES)),
    "cosface": lambda: Classified(CosFace(DIM, CLASSES)),
    "circle_classes": lambda: Classified(CircleClassifier(DIM, CLASSES)),
    "triplet": lambda: TripletLoss(0.3),
    "triplet_soft": lambda: TripletLoss(None),
    "triplet_cosine": lambda: TripletLoss(0.3, "cosine"),
    "center": lambda: CenterLoss(CLASSES, DIM),
    "circle_pairs": lambda: CircleLoss(),
    "features": lambda: Distilled(FeatureDistillation(DIM, DIM), DIM),
    "features_projected": lambda: Distilled(FeatureDistillation(DIM, 7), 7),
    "similarity": lambda: Distilled(SimilarityDistillation(), 7),
    "similarity_bank": lambda: Distilled(
        SimilarityDistillation(), DIM, F.normalize(torch.randn(20, DIM))
    ),
}


DISTILLATION = {"features", "features_projected", "similarity", "similarity_bank"}


@pytest.fixture(params=sorted(LOSSES))
def loss(request):
    return LOSSES[request.param]()


def value_and_gradient(loss, features, labels):
    features = features.clone().requires_grad_()
    value = loss(features, labels)
    value.backward()
    return value.detach(), features.grad


def test_bf16_autocast_does_not_reach_the_losses(loss):
    """bf16 features under autocast give what the same numbers give in float64, to float32 accuracy."""
    features = torch.randn(8, DIM).bfloat16()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 4, 3])
    expected, _ = value_and_gradient(copy.deepcopy(loss).double(), features.double(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(loss, features, labels)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    assert gradient.dtype == torch.bfloat16 and gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_degenerate_batches_stay_finite(loss, dtype):
    one = torch.randn(1, DIM)
    batches = {
        "single": (one, torch.tensor([3])),
        "identical": (one.repeat(4, 1), torch.tensor([0, 0, 1, 1])),
        "zeros": (torch.zeros(4, DIM), torch.tensor([0, 0, 1, 1])),
        "opposite": (torch.cat([one, one, -one, -one]), torch.tensor([0, 1, 0, 1])),
        "one identity": (torch.randn(4, DIM), torch.tensor([2, 2, 2, 2])),
        "no pair": (torch.randn(4, DIM), torch.tensor([0, 1, 2, 3])),
        "tiny": (1e-7 * torch.randn(4, DIM), torch.tensor([0, 0, 1, 1])),
        "large": (1e4 * torch.randn(4, DIM).clamp(-3, 3), torch.tensor([0, 0, 1, 1])),
    }
    for name, (features, labels) in batches.items():
        with torch.autocast("cpu", torch.bfloat16):
            value, gradient = value_and_gradient(loss, features.to(dtype), labels)
        assert value.isfinite(), name
        assert gradient.isfinite().all(), name
        assert all(p.grad is None or p.grad.isfinite().all() for p in loss.parameters()), name


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - DISTILLATION), indirect=True)
def test_order_of_the_batch_does_not_matter(loss):
    """Not those with a fixed teacher: test_distill.py permutes both networks."""
    features, labels = torch.randn(8, DIM), torch.tensor([0, 0, 1, 1, 2, 2, 4, 3])
    order = torch.randperm(8)
    value, gradient = value_and_gradient(copy.deepcopy(loss), features, labels)
    moved, moved_gradient = value_and_gradient(loss, features[order], labels[order])
    assert torch.allclose(value, moved, rtol=1e-4)
    assert torch.allclose(gradient[order], moved_gradient, rtol=1e-3, atol=1e-4)


def test_full_precision_widens_arguments_and_turns_autocast_off():
    @full_precision
    def product(a, factor, *, b=None):
        assert not torch.is_autocast_enabled("cpu")
        return factor * (a @ b)

    a = torch.full((1, 1), 1.0078125).bfloat16()  # 1 + 2**-7, the next bf16 number after 1
    with torch.autocast("cpu", torch.bfloat16):
        result = product(a, 2, b=a)
        assert torch.is_autocast_enabled("cpu")
    assert result.dtype == torch.float32
    assert result.item() == 2 * 1.0078125**2  # bf16 would round the square
    assert product(a.double(), 2, b=a.double()).dtype == torch.float64


def test_upcast_leaves_other_things_alone():
    labels = torch.tensor([1, 2])
    assert upcast(labels) is labels and upcast(None) is None
    assert upcast(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
    assert upcast(torch.ones(1, dtype=torch.float16)).dtype == torch.float32


def test_unit_rows():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -1e-6]], requires_grad=True)
    unit = unit_rows(x)
    assert torch.allclose(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))
    unit[1].sum().backward()
    assert torch.equal(x.grad[1], torch.ones(2))  # not 1e12
    y = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, y)


def test_mean_where():
    values = torch.tensor([1.0, 5.0, 9.0], requires_grad=True)
    assert mean_where(torch.tensor([True, False, True]), values).item() == 5.0
    nothing = mean_where(torch.zeros(3, dtype=torch.bool), values)
    nothing.backward()
    assert nothing.item() == 0.0 and torch.equal(values.grad, torch.zeros(3))
