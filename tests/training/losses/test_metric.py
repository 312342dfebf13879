"""Distances, mining and metric losses against hand-computed cases and plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from runtime.errors import ReidEdgeError
from training.losses.metric import (
    CenterLoss,
    CircleLoss,
    TripletLoss,
    hardest_pairs,
    pairwise_distance,
)

# On a line: distances to the hardest positive are 1, 1, 4, 4 and to the hardest negative 3, 2, 2, 6.
LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
LINE_LABELS = torch.tensor([5, 5, 9, 9])


@st.composite
def batches(draw):
    """Few identities and few distinct coordinates: ties, duplicates and lonely samples abound."""
    n, ids = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        features = torch.randint(-1, 2, (n, 2), generator=generator).double()
    else:
        features = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return features, torch.randint(ids, (n,), generator=generator)


def brute_force(distances, labels):
    """Hardest distances anchor by anchor; None where an anchor lacks a positive or a negative."""
    distances, labels = distances.tolist(), labels.tolist()
    found = []
    for i, row in enumerate(distances):
        positives = [d for j, d in enumerate(row) if j != i and labels[j] == labels[i]]
        negatives = [d for j, d in enumerate(row) if labels[j] != labels[i]]
        found.append((max(positives), min(negatives)) if positives and negatives else None)
    return found


def test_distances_by_hand():
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0], [3.0, 0.0], [0.0, 0.0]])
    euclidean = torch.tensor([[0, 5, 0, 3], [5, 0, 5, 4], [0, 5, 0, 3], [3, 4, 3, 0]]).float()
    assert torch.equal(pairwise_distance(x, "euclidean"), euclidean)
    cosine = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]]).float()
    assert torch.allclose(pairwise_distance(x, "cosine"), cosine)
    assert pairwise_distance(torch.tensor([[1.0], [-2.0]]), "cosine")[0, 1].item() == 2.0


def test_euclidean_distance_of_near_rows_is_exact():
    """Far from the origin, where the squares of the rows would swallow their difference."""
    x = torch.full((40, 64), 100.0)
    x[1, 0] += 2.0**-10
    distances = pairwise_distance(x, "euclidean")
    assert distances[0, 1].item() == 2.0**-10 and distances[0, 2].item() == 0.0


def test_distance_gradients():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    off = ~torch.eye(4, dtype=torch.bool)  # on the diagonal the norm has a kink
    assert gradcheck(lambda x: pairwise_distance(x, "euclidean")[off], x)
    assert gradcheck(lambda x: pairwise_distance(x, "cosine")[off], x)
    same = torch.ones(3, 2, requires_grad=True)
    pairwise_distance(same, "euclidean").sum().backward()
    assert torch.equal(same.grad, torch.zeros(3, 2))


@given(batch=batches(), factor=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_distance_properties(batch, factor):
    x, _ = batch
    for kind, scaled_by in (("euclidean", factor), ("cosine", 1.0)):
        distances = pairwise_distance(x, kind)
        assert (distances >= 0).all() and torch.allclose(distances, distances.T)
        scaled = pairwise_distance(factor * x, kind)
        assert torch.allclose(scaled, scaled_by * distances, atol=1e-9)


@given(batch=batches(), kind=st.sampled_from(["euclidean", "cosine"]))
@settings(max_examples=150, deadline=None)
def test_mining_is_brute_force(batch, kind):
    features, labels = batch
    distances = pairwise_distance(features, kind)
    farthest, nearest, valid = hardest_pairs(distances, labels)
    expected = brute_force(distances, labels)
    assert valid.tolist() == [pair is not None for pair in expected]
    for i, pair in enumerate(expected):
        assert (farthest[i].item(), nearest[i].item()) == (pair or (0.0, 0.0))


@given(batch=batches(), margin=st.sampled_from([None, 0.0, 0.3]))
@settings(max_examples=60, deadline=None)
def test_triplet_is_the_mean_over_mined_triplets(batch, margin):
    features, labels = batch
    found = brute_force(pairwise_distance(features, "euclidean"), labels)
    gaps = [pair[0] - pair[1] for pair in found if pair]
    terms = [math.log1p(math.exp(g)) if margin is None else max(0.0, g + margin) for g in gaps]
    loss = TripletLoss(margin)
    value = loss(features, labels).item()
    assert value == pytest.approx(sum(terms) / len(terms) if terms else 0.0)


def test_triplet_by_hand():
    assert TripletLoss(0.3)(LINE, LINE_LABELS).item() == pytest.approx(2.3 / 4)
    assert TripletLoss(1.5)(LINE, LINE_LABELS).item() == pytest.approx((0.5 + 3.5) / 4)
    soft = sum(math.log1p(math.exp(gap)) for gap in (-2, -1, 2, -2)) / 4
    assert TripletLoss(None)(LINE, LINE_LABELS).item() == pytest.approx(soft)
    # Unit vectors at 0, 60, 90 and 180 degrees: only the second and third anchor violate.
    angle = torch.tensor([0.0, 60.0, 90.0, 180.0]).deg2rad()
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    near = 1 - math.sqrt(3) / 2
    terms = [0.0, 0.5 - near + 0.1, 1.0 - near + 0.1, max(0.0, 1.0 - 1.5 + 0.1)]
    value = TripletLoss(0.1, "cosine")(circle, LINE_LABELS).item()
    assert value == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_triplet_gradient_flows_through_the_mined_pairs():
    x = LINE.clone().requires_grad_()
    TripletLoss(0.3)(x, LINE_LABELS).backward()
    # Only anchor 3 is active: (d(3, 7) - d(3, 1) + 0.3) / 4 = ((x3 - x2) - (x2 - x1) + 0.3) / 4.
    assert torch.allclose(x.grad, torch.tensor([[0.0], [0.25], [-0.5], [0.25]]))
    y = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1, 2, 7])
    for loss in (TripletLoss(3.0), TripletLoss(None), TripletLoss(1.0, "cosine")):
        assert gradcheck(lambda x, loss=loss: loss(x, labels), y)


@pytest.mark.parametrize("loss", [TripletLoss(), TripletLoss(None, "cosine"), CircleLoss()])
@pytest.mark.parametrize("labels", [[3], [1, 1, 1], [1, 2, 3]])
def test_batch_without_valid_anchors(loss, labels):
    x = torch.randn(len(labels), 4, requires_grad=True)
    value = loss(x, torch.tensor(labels))
    value.backward()
    assert value.item() == 0.0 and torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("loss", [TripletLoss(2.0), TripletLoss(None), CircleLoss()])
def test_lonely_anchors_count_only_as_negatives(loss):
    """A sample alone in its identity far away from all changes nothing."""
    x = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.9, 0.4], [1.0, 0.5]], requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    value = loss(x, labels)
    far = torch.tensor([[-1.0e3, -2.0e2]])
    more = loss(torch.cat([x, far]), torch.tensor([0, 0, 1, 1, 2]))
    assert value.item() > 0 and more.item() == pytest.approx(value.item(), rel=1e-5)


def test_metric_settings_out_of_range():
    with pytest.raises(ReidEdgeError, match="triplet margin must be at least 0"):
        TripletLoss(-0.1)
    with pytest.raises(ReidEdgeError, match="one of euclidean, cosine, got 'l1'"):
        TripletLoss(0.3, "l1")
    with pytest.raises(ReidEdgeError, match="one of euclidean, cosine, got 'l1'"):
        pairwise_distance(LINE, "l1")
    for wrong in ({"scale": 0.0}, {"margin": 1.0}):
        with pytest.raises(ReidEdgeError, match="scale above 0 and a margin"):
            CircleLoss(**wrong)
    with pytest.raises(ReidEdgeError, match=r"rate of centers must be in \[0, 1\]"):
        CenterLoss(3, 2, rate=1.5)
    with pytest.raises(ReidEdgeError, match=r"got \(4, 4\) and \(3,\)"):
        hardest_pairs(torch.zeros(4, 4), torch.zeros(3, dtype=torch.int64))


def test_center_loss_by_hand():
    loss = CenterLoss(3, 2, rate=0.5)
    x = torch.tensor([[2.0, 0.0], [0.0, 4.0], [6.0, 0.0]], requires_grad=True)
    labels = torch.tensor([1, 1, 2])
    value = loss(x, labels)
    value.backward()
    assert value.item() == pytest.approx((4 + 16 + 36) / 2 / 3)
    assert torch.allclose(x.grad, x.detach() / 3)
    # Class 1 has two samples that sum to (2, 4): half of a third of it. Class 2: half of 6 / 2.
    expected = torch.tensor([[0.0, 0.0], [1 / 3, 2 / 3], [1.5, 0.0]])
    assert torch.allclose(loss.centers, expected)
    assert "centers" in loss.state_dict() and not list(loss.parameters())


def test_centers_stay_in_eval_and_reach_the_mean_in_training():
    x, labels = torch.randn(8, 3), torch.arange(8) % 2
    loss = CenterLoss(2, 3).eval()
    loss(x, labels)
    assert torch.equal(loss.centers, torch.zeros(2, 3))
    loss.train()
    values = [loss(x, labels).item() for _ in range(40)]
    means = torch.stack([x[labels == k].mean(0) for k in (0, 1)])
    assert torch.allclose(loss.centers, means, atol=1e-4)
    assert all(b < a + 1e-6 for a, b in zip(values, values[1:])) and values[-1] < 0.9 * values[0]


def test_center_loss_gradient():
    loss = CenterLoss(4, 3).double().eval()
    loss.centers.normal_()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: loss(x, torch.tensor([0, 1, 1, 3, 3])), x)


@given(batch=batches(), scale=st.sampled_from([1.0, 16.0, 128.0]), margin=st.floats(0.0, 0.5))
@settings(max_examples=60, deadline=None)
def test_circle_loss_is_its_formula(batch, scale, margin):
    features, labels = batch
    cosine = (1 - pairwise_distance(features, "cosine")).tolist()
    ids, terms = labels.tolist(), []
    for i, row in enumerate(cosine):
        positives = [s for j, s in enumerate(row) if j != i and ids[j] == ids[i]]
        negatives = [s for j, s in enumerate(row) if ids[j] != ids[i]]
        if not positives or not negatives:
            continue
        n = sum(math.exp(scale * max(0, s + margin) * (s - margin)) for s in negatives)
        p = sum(math.exp(-scale * max(0, 1 + margin - s) * (s - 1 + margin)) for s in positives)
        terms.append(math.log(n) + math.log(p) + math.log1p(math.exp(-math.log(n) - math.log(p))))
    value = CircleLoss(scale, margin)(features, labels).item()
    assert value == pytest.approx(sum(terms) / len(terms) if terms else 0.0, rel=1e-6, abs=1e-9)


def test_circle_loss_gradient_is_the_papers():
    """For one positive and one negative: dL/ds_n = Z gamma (s_n + m), dL/ds_p = -Z gamma (1 + m - s_p)."""
    scale, margin = 8.0, 0.25
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss = CircleLoss(scale, margin)
    labels = torch.tensor([0, 0, 1])
    loss(x, labels).backward()
    unit = torch.nn.functional.normalize(x)
    expected = torch.zeros_like(x)
    for anchor, positive in ((0, 1), (1, 0)):
        s_p, s_n = unit[anchor] @ unit[positive], unit[anchor] @ unit[2]
        n, p = s_n.item(), s_p.item()
        exponent = scale * ((n + margin) * (n - margin) - (1 + margin - p) * (p - 1 + margin))
        z = 1 / (1 + math.exp(-exponent))
        by_n = torch.autograd.grad(s_n, x, retain_graph=True)[0]
        by_p = torch.autograd.grad(s_p, x, retain_graph=True)[0]
        expected += z * scale * ((n + margin) * by_n - (1 + margin - p) * by_p) / 2
    assert torch.allclose(x.grad, expected)


def test_circle_loss_ignores_length():
    x, labels = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    lengths = torch.tensor([[0.1], [1.0], [10.0], [3.0], [100.0], [0.5]])
    loss = CircleLoss()
    assert torch.allclose(loss(x, labels), loss(lengths * x, labels), rtol=1e-5)
