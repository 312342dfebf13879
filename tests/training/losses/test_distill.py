"""Distillation losses against hand-computed cases and plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional as F

from runtime.errors import ReidEdgeError
from training.losses.distill import FeatureDistillation, SimilarityDistillation, others


def pair(n, student_dim, teacher_dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(n, student_dim, generator=generator, dtype=torch.float64)
    return student, torch.randn(n, teacher_dim, generator=generator, dtype=torch.float64)


def divergence(teacher, student, temperature):
    """KL between the softmaxes of two lists of similarities."""
    t, s = ([math.exp(v / temperature) for v in values] for values in (teacher, student))
    t, s = [v / sum(t) for v in t], [v / sum(s) for v in s]
    return sum(p * math.log(p / q) for p, q in zip(t, s))


def test_features_by_hand():
    student = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    teacher = torch.tensor([[5.0, 0.0], [0.0, -1.0], [1.0, 0.0], [1.0, 0.0]])
    loss = FeatureDistillation(2, 2)
    assert isinstance(loss.project, nn.Identity) and not list(loss.parameters())
    terms = [0.0, 2.0, 1 - math.sqrt(0.5), 1.0]
    assert loss(student, teacher).item() == pytest.approx(sum(terms) / 4)
    assert loss(student[:1], teacher[:1]).item() == 0.0


def test_features_of_other_length_are_projected():
    student, teacher = pair(5, 3, 4)
    loss = FeatureDistillation(3, 4).double()
    assert [name for name, _ in loss.named_parameters()] == ["project.weight"]
    projected = student @ loss.project.weight.T
    expected = (1 - F.cosine_similarity(projected, teacher)).mean()
    assert torch.allclose(loss(student, teacher), expected)
    student.requires_grad_()
    weight = loss.project.weight
    assert gradcheck(lambda x, w: loss(x, teacher), (student, weight))


def test_features_ignore_length_and_order():
    student, teacher = pair(6, 4, 4)
    loss, order = FeatureDistillation(4, 4), torch.randperm(6)
    value = loss(student, teacher)
    assert torch.allclose(loss(7 * student, 0.01 * teacher), value)
    assert torch.allclose(loss(student[order], teacher[order]), value)


def test_the_teacher_gets_no_gradient():
    student, teacher = (x.requires_grad_() for x in pair(4, 3, 3))
    bank = F.normalize(torch.randn(5, 3, dtype=torch.float64)).requires_grad_()
    for value in (
        FeatureDistillation(3, 3)(student, teacher),
        SimilarityDistillation()(student, teacher),
        SimilarityDistillation()(student, teacher, bank),
    ):
        student.grad = None
        value.backward()
        assert teacher.grad is None and bank.grad is None and student.grad.abs().sum() > 0


def test_others():
    square = torch.arange(9).reshape(3, 3)
    assert others(square).tolist() == [[1, 2], [3, 5], [6, 7]]
    assert others(square[:1, :1]).shape == (1, 0)


@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 6),
    dims=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    temperature=st.sampled_from([0.05, 0.2, 1.0]),
)
@settings(max_examples=50, deadline=None)
def test_similarity_within_the_batch_is_its_formula(seed, n, dims, temperature):
    student, teacher = pair(n, *dims, seed=seed)
    s, t = (F.cosine_similarity(x[:, None], x[None], dim=2).tolist() for x in (student, teacher))
    expected = 0.0
    for i in range(n if n > 1 else 0):
        rows = ([v for j, v in enumerate(square[i]) if j != i] for square in (t, s))
        expected += divergence(*rows, temperature) / n
    value = SimilarityDistillation(temperature)(student, teacher).item()
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-9) and value > -1e-12


def test_similarity_by_hand():
    """One anchor sees cosines 1 and 0 where the teacher sees 0 and 1; by symmetry so does another."""
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    p = math.e / (1 + math.e)  # softmax of (1, 0) at temperature 1
    swapped = (2 * p - 1) * 1.0  # KL of (p, q) and (q, p) = (p - q) log(p / q), and log(p / q) = 1
    # Anchor 1: the student sees (1, 0), the teacher (0, 0); anchor 2 sees (0, 0) and (1, 0).
    flat_teacher = -math.log(2) - 0.5 * (math.log(p) + math.log(1 - p))
    flat_student = math.log(2) + p * math.log(p) + (1 - p) * math.log(1 - p)
    expected = (swapped + flat_teacher + flat_student) / 3
    assert SimilarityDistillation(1.0)(student, teacher).item() == pytest.approx(expected)


def test_similarity_with_a_bank_is_its_formula():
    student, teacher = pair(3, 4, 4)
    bank = F.normalize(torch.randn(7, 4, dtype=torch.float64))
    s, t = ((F.normalize(x) @ bank.T).tolist() for x in (student, teacher))
    expected = sum(divergence(t[i], s[i], 0.1) for i in range(3)) / 3
    loss = SimilarityDistillation(0.1)
    assert loss(student, teacher, bank).item() == pytest.approx(expected)
    # One crop is enough here, and the order of the bank says nothing.
    assert loss(student[:1], teacher[:1], bank).item() == pytest.approx(divergence(t[0], s[0], 0.1))
    assert torch.allclose(loss(student, teacher, bank.flip(0)), loss(student, teacher, bank))


def test_similarity_is_zero_only_for_the_same_geometry():
    student, teacher = pair(6, 4, 4)
    bank = F.normalize(torch.randn(9, 4, dtype=torch.float64))
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    loss = SimilarityDistillation()
    assert abs(loss(3 * teacher @ rotation, teacher).item()) < 1e-9
    assert abs(loss(3 * teacher, teacher, bank).item()) < 1e-9
    assert loss(student, teacher).item() > 0.01
    assert loss(teacher @ rotation, teacher, bank).item() > 0.01  # a bank fixes the axes
    order = torch.randperm(6)
    assert torch.allclose(loss(student[order], teacher[order]), loss(student, teacher))


def test_similarity_gradients():
    student, teacher = pair(4, 3, 5)
    student.requires_grad_()
    loss = SimilarityDistillation(0.2)
    assert gradcheck(lambda x: loss(x, teacher), student)
    bank = F.normalize(torch.randn(6, 3, dtype=torch.float64))
    assert gradcheck(lambda x: loss(x, teacher[:, :3], bank), student)


@pytest.mark.parametrize("n", [1, 2])
def test_nothing_to_compare_gives_zero(n):
    student, teacher = pair(n, 3, 4)
    student.requires_grad_()
    value = SimilarityDistillation()(student, teacher)
    value.backward()
    assert value.item() == 0.0 and torch.equal(student.grad, torch.zeros_like(student))


def test_a_student_can_learn_from_a_bank():
    """Following the gradient brings the student's embeddings to the teacher's."""
    teacher, bank = F.normalize(torch.randn(6, 4)), F.normalize(torch.randn(64, 4))
    student = torch.randn(6, 4, requires_grad=True)
    optimizer = torch.optim.Adam([student], lr=0.1)
    loss = SimilarityDistillation(0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss(student, teacher, bank).backward()
        optimizer.step()
    assert (F.cosine_similarity(student, teacher) > 0.99).all()


def test_wrong_shapes_and_settings():
    student, teacher = torch.zeros(4, 3), torch.zeros(4, 5)
    with pytest.raises(ReidEdgeError, match="a student of that dimension, got 3"):
        SimilarityDistillation()(student, teacher, torch.zeros(7, 5))
    for bank in (torch.zeros(7, 3), torch.zeros(0, 5), torch.zeros(5)):
        with pytest.raises(ReidEdgeError, match=r"the bank must hold \(M, 5\)"):
            SimilarityDistillation()(student, teacher, bank)
    with pytest.raises(ReidEdgeError, match="for the same crops"):
        SimilarityDistillation()(student, teacher[:3])
    with pytest.raises(ReidEdgeError, match="temperature must be above 0"):
        SimilarityDistillation(0.0)
    for loss in (FeatureDistillation(3, 4), FeatureDistillation(4, 5)):
        with pytest.raises(ReidEdgeError, match=r"got \(4, 3\) and \(4, 5\)"):
            loss(student, teacher)
