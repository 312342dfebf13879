"""Smoothed cross-entropy and the classification heads against their formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional as F

from runtime.errors import ReidEdgeError
from training.losses.classification import (
    ArcFace,
    CircleClassifier,
    CosFace,
    LinearClassifier,
    SmoothedCrossEntropy,
)

HEADS = [LinearClassifier, ArcFace, CosFace, CircleClassifier]


def sample(n, dim, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return features, torch.randint(classes, (n,), generator=generator)


def planar(head_type, angle, **settings):
    """A head of two classes at 0 and 90 degrees, and a unit feature at ``angle`` radians."""
    head = head_type(2, 2, **settings).double()
    head.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    return head, torch.tensor([[3 * math.cos(angle), 3 * math.sin(angle)]], dtype=torch.float64)


def test_smoothing_by_hand():
    # Probabilities 1/2, 1/4, 1/4; target for epsilon 0.3 is 0.8, 0.1, 0.1.
    logits, labels = torch.tensor([[2.0, 1.0, 1.0]]).log(), torch.tensor([0])
    expected = 0.8 * math.log(2) + 0.2 * math.log(4)
    assert SmoothedCrossEntropy(0.3)(logits, labels).item() == pytest.approx(expected, rel=1e-6)
    # Adaptive: epsilon is 0.3 * 1/2 = 0.15, target 0.9, 0.05, 0.05.
    expected = 0.9 * math.log(2) + 0.1 * math.log(4)
    adaptive = SmoothedCrossEntropy(0.3, adaptive=True)
    assert adaptive(logits, labels).item() == pytest.approx(expected, rel=1e-6)


@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 6),
    classes=st.integers(1, 9),
    epsilon=st.floats(0, 0.9),
)
@settings(max_examples=30, deadline=None)
def test_fixed_smoothing_is_torchs(seed, n, classes, epsilon):
    logits, labels = sample(n, classes, classes, seed)
    expected = F.cross_entropy(logits, labels, label_smoothing=epsilon)
    assert torch.allclose(SmoothedCrossEntropy(epsilon)(logits, labels), expected)


def test_smoothing_gradients():
    logits, labels = sample(4, 5, 5)
    logits.requires_grad_()
    assert gradcheck(lambda x: SmoothedCrossEntropy(0.1)(x, labels), logits)
    # Adaptive: probability minus target, as if each epsilon were a constant.
    SmoothedCrossEntropy(0.4, adaptive=True)(logits, labels).backward()
    p = logits.detach().softmax(1)
    epsilon = 0.4 * p[torch.arange(4), labels][:, None]
    target = (1 - epsilon) * F.one_hot(labels, 5) + epsilon / 5
    assert torch.allclose(logits.grad, (p - target) / 4)


def test_adaptive_smoothing_grows_with_confidence():
    def excess(confidence):
        logits = torch.tensor([[confidence, 0.0, 0.0]])
        labels = torch.tensor([0])
        plain = SmoothedCrossEntropy(0.0)(logits, labels)
        return (SmoothedCrossEntropy(0.1, adaptive=True)(logits, labels) - plain).item()

    assert 0 < excess(1.0) < excess(3.0) < excess(6.0)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, float("nan")])
def test_epsilon_out_of_range(epsilon):
    with pytest.raises(ReidEdgeError, match=r"epsilon .* \[0, 1\)"):
        SmoothedCrossEntropy(epsilon)


def test_linear_classifier():
    head = LinearClassifier(200, 50)
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert head.weight.std().item() == pytest.approx(0.001, rel=0.05)
    features, labels = torch.randn(3, 200), torch.zeros(3, dtype=torch.int64)
    assert torch.allclose(head(features, labels), features @ head.weight.T)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 2.0, 2.8])
def test_margins_by_hand(angle):
    """One feature of class 0; its cosine is cos(angle) to class 0 and sin(angle) to class 1."""
    label, own, other = torch.tensor([0]), math.cos(angle), math.sin(angle)
    head, x = planar(ArcFace, angle, scale=30.0, margin=0.3)
    expected = torch.tensor([[30 * math.cos(angle + 0.3), 30 * other]], dtype=torch.float64)
    assert torch.allclose(head(x, label), expected, atol=1e-6)
    head, x = planar(CosFace, angle, scale=20.0, margin=0.35)
    expected = torch.tensor([[20 * (own - 0.35), 20 * other]], dtype=torch.float64)
    assert torch.allclose(head(x, label), expected)
    head, x = planar(CircleClassifier, angle, scale=64.0, margin=0.25)
    own = 64 * (1.25 - own) * (own - 0.75)
    other = 64 * max(0.0, other + 0.25) * (other - 0.25)
    assert torch.allclose(head(x, label), torch.tensor([[own, other]], dtype=torch.float64))


@given(seed=st.integers(0, 1000), margin=st.floats(0.0, 1.5), scale=st.floats(1.0, 64.0))
@settings(max_examples=40, deadline=None)
def test_arcface_is_its_formula_below_pi_minus_m(seed, margin, scale):
    features, labels = sample(6, 4, 5, seed)
    head = ArcFace(4, 5, scale, margin).double()
    cosine = F.cosine_similarity(features[:, None], head.weight[None], dim=2)
    theta = cosine.clamp(-1, 1).arccos()
    is_true = F.one_hot(labels, 5).bool()
    expected = torch.where(is_true, (theta + margin).cos(), cosine) * scale
    in_domain = ~is_true | (theta < math.pi - margin - 1e-6)
    assert torch.allclose(head(features, labels)[in_domain], expected[in_domain], atol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.2])
def test_arcface_falls_with_the_angle_without_a_step(margin):
    head, _ = planar(ArcFace, 0.0, scale=1.0, margin=margin)
    angle = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    features = torch.stack([angle.cos(), angle.sin()], 1)
    logit = head(features, torch.zeros(2001, dtype=torch.int64))[:, 0]
    steps = logit.diff()
    assert (steps < 0).all()
    assert steps.abs().max() < 1.01 * math.pi / 2000  # slope at most 1 everywhere
    last = math.cos(math.pi) - (1 - math.cos(margin))
    assert logit[-1].item() == pytest.approx(last)


def test_arcface_gradient_is_finite_on_and_opposite_its_class():
    for dtype in (torch.float32, torch.float64):
        head = ArcFace(3, 2).to(dtype)
        w = head.weight.detach()
        features = torch.stack([w[0], -w[0], 50 * w[1]]).requires_grad_()
        logits = head(features, torch.tensor([0, 0, 1]))
        SmoothedCrossEntropy()(logits, torch.tensor([0, 0, 1])).backward()
        assert features.grad.isfinite().all() and head.weight.grad.isfinite().all()
        # On the class vector, in a valley of width sqrt(eps), the exact gradient is 30 sin(m) / |x|.
        assert (features.grad.norm(dim=1) * features.detach().norm(dim=1) < 30.0).all()


@pytest.mark.parametrize("head_type", HEADS)
def test_gradients_of_heads(head_type):
    features, labels = sample(4, 3, 5)
    head = head_type(3, 5).double()
    head.weight.data.normal_()  # as long as gradcheck's finite steps need
    features.requires_grad_()
    if head_type is CircleClassifier:
        # The weighting factors are constants: the gradient is that of the frozen expression.
        cosine = F.normalize(features) @ F.normalize(head.weight).T
        is_true = F.one_hot(labels, 5).bool()
        factor = torch.where(is_true, 1.25 - cosine, (cosine + 0.25).relu()).detach()
        shift = torch.where(is_true, 0.75, 0.25).double()
        upstream = torch.randn(4, 5, dtype=torch.float64)
        frozen = (128 * factor * (cosine - shift) * upstream).sum()
        expected = torch.autograd.grad(frozen, [features, head.weight])
        got = torch.autograd.grad(
            (head(features, labels) * upstream).sum(), [features, head.weight]
        )
        assert all(torch.allclose(g, e) for g, e in zip(got, expected))
    else:
        assert gradcheck(lambda x, w: head(x, labels), (features, head.weight))


def test_circle_with_cross_entropy_is_the_papers_loss():
    features, labels = sample(1, 4, 6)
    head = CircleClassifier(4, 6, scale=16.0, margin=0.25).double()
    cosine = (F.normalize(features) @ F.normalize(head.weight).T)[0].tolist()
    s_p = cosine.pop(int(labels))
    negatives = sum(math.exp(16 * max(0, s + 0.25) * (s - 0.25)) for s in cosine)
    positive = math.exp(-16 * max(0, 1.25 - s_p) * (s_p - 0.75))
    loss = SmoothedCrossEntropy(0.0)(head(features, labels), labels)
    assert loss.item() == pytest.approx(math.log1p(negatives * positive))


@pytest.mark.parametrize("head_type", HEADS[1:])
def test_eval_has_no_margin_and_length_does_not_matter(head_type):
    features, labels = sample(5, 4, 3)
    head = head_type(4, 3).double()
    lengths = torch.tensor([[0.1], [1.0], [7.0], [1e3], [1e-3]], dtype=torch.float64)
    assert torch.allclose(head(features, labels), head(features * lengths, labels))
    trained = head(features, labels)
    head.eval()
    plain = head.scale * F.normalize(features) @ F.normalize(head.weight).T
    assert torch.allclose(head(features, labels), plain)
    assert not torch.allclose(trained, plain)


@pytest.mark.parametrize("head_type", [ArcFace, CosFace])
def test_a_margin_only_lowers_the_true_class(head_type):
    features, labels = sample(20, 4, 3)
    head = head_type(4, 3).double()
    with_margin, plain = head(features, labels), head.eval()(features, labels)
    is_true = F.one_hot(labels, 3).bool()
    assert (with_margin[is_true] < plain[is_true]).all()
    assert torch.equal(with_margin[~is_true], plain[~is_true])


@pytest.mark.parametrize("head_type", HEADS[1:])
def test_head_settings_out_of_range(head_type):
    with pytest.raises(ReidEdgeError, match=head_type.__name__ + " needs a scale"):
        head_type(4, 3, scale=0.0)
    for margin in (-0.1, 1.6, float("nan")):
        with pytest.raises(ReidEdgeError, match=head_type.__name__ + " needs a margin"):
            head_type(4, 3, margin=margin)
