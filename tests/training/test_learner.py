"""What the losses of a step see, and that pixels are prepared as on the robot."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.spec import NetworkSpec, build_network
from runtime.contract import InputContract
from runtime.preprocess import preprocess
from tests.training.drawn_people import CONTRACT, SPEC
from training.learner import Learner, PixelPreparation, classifier, metric_dim
from training.losses.classification import ArcFace, CircleClassifier, CosFace, LinearClassifier
from training.recipe import read_recipe, shipped
from training.settings import Classification, Losses

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = 5
LABELS = torch.tensor([0, 0, 3, 3, 4, 4])


def crops(count=6, height=64, width=32):
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), np.uint8)


def made(losses, head="bnneck", dim=None, teacher_dim=None, bf16=False):
    torch.manual_seed(5)
    spec = NetworkSpec("resnet18", width=8, head=head, dim=dim, height_px=64, width_px=32)
    network = build_network(spec)
    return Learner(network, CONTRACT, Losses.model_validate(losses), CLASSES, teacher_dim, bf16)


def forward(learner, **given):
    """Losses by name, the total, and (before, after) the neck, computed independently."""
    images = torch.from_numpy(crops())
    pixels = torch.from_numpy(preprocess([c[:, :, ::-1] for c in crops()], CONTRACT))
    before, after = copy.deepcopy(learner.network).features(pixels)
    total, values = learner(images, LABELS, **given)
    assert not values.requires_grad and total.requires_grad
    return dict(zip(learner.loss_names, values.tolist())), total.item(), before, after


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_pixels_are_those_of_the_runtime(color):
    contract = InputContract(
        64, 32, color=color, mean=(0.1, 0.4, 0.7), std=(0.2, 0.31, 0.17), scale=1 / 255
    )
    seen = crops()
    given = seen[..., ::-1] if color == "RGB" else seen  # the runtime takes BGR
    ours = PixelPreparation(contract)(torch.from_numpy(seen))
    np.testing.assert_allclose(ours, preprocess(list(given), contract), rtol=0, atol=1e-6)
    assert ours.is_contiguous(memory_format=torch.channels_last) and ours.dtype == torch.float32


@pytest.mark.parametrize(
    ("head", "kind", "scale"),
    [
        ("linear", LinearClassifier, None),
        ("arcface", ArcFace, 30.0),
        ("cosface", CosFace, 30.0),
        ("circle", CircleClassifier, 128.0),
    ],
)
def test_recipe_chooses_the_classifier(head, kind, scale):
    default = classifier(Classification(head=head), 7, CLASSES)
    assert type(default) is kind and default.weight.shape == (CLASSES, 7)
    assert getattr(default, "scale", None) == scale
    if scale is not None:
        given = classifier(Classification(head=head, scale=12.0, margin=0.1), 7, CLASSES)
        assert (given.scale, given.margin) == (12.0, 0.1)


def test_classification_sees_the_embedding_behind_the_neck():
    learner = made({"classification": {"weight": 2.0, "smoothing": 0.2}})
    values, total, before, after = forward(learner)
    weight = learner.heads["classifier"].weight
    expected = F.cross_entropy(after @ weight.T, LABELS, label_smoothing=0.2).item()
    assert values == {"classification": pytest.approx(expected, abs=1e-5)}
    assert total == pytest.approx(2 * expected, abs=1e-4)
    assert not torch.allclose(before, after), "or the test shows nothing"
    assert learner.trains_neck


def test_metric_losses_see_the_feature_before_the_neck():
    learner = made(
        {"classification": {"weight": 0}, "triplet": {"weight": 1}, "centre": {"weight": 0.5}}
    )
    values, total, before, _ = forward(learner)
    distance = torch.cdist(before, before).detach().numpy()
    anchors = range(6)
    gaps = [
        max(distance[a, p] for p in anchors if p != a and LABELS[p] == LABELS[a])
        - min(distance[a, n] for n in anchors if LABELS[n] != LABELS[a])
        for a in anchors
    ]
    triplet = np.mean([max(gap + 0.3, 0) for gap in gaps])
    centre = 0.5 * before.square().sum(1).mean().item()  # centres start at 0
    assert values["triplet"] == pytest.approx(triplet, abs=1e-4)
    assert values["centre"] == pytest.approx(centre, rel=1e-5)
    assert total == pytest.approx(triplet + 0.5 * centre, rel=1e-4)
    assert not learner.trains_neck
    assert learner.heads["centre"].centers.abs().sum() > 0, "the centres move"


def test_pairwise_circle_loss_sees_the_feature_before_the_neck():
    learner = made(
        {"classification": {"weight": 0}, "circle": {"weight": 1, "scale": 8, "margin": 0.25}}
    )
    values, _, before, _ = forward(learner)
    s = (
        F.normalize(before).detach().double().numpy()
        @ F.normalize(before).detach().double().numpy().T
    )
    losses = []
    for a in range(6):
        own = sum(
            np.exp(-8 * max(1.25 - s[a, p], 0) * (s[a, p] - 0.75))
            for p in range(6)
            if p != a and LABELS[p] == LABELS[a]
        )
        other = sum(
            np.exp(8 * max(s[a, n] + 0.25, 0) * (s[a, n] - 0.25))
            for n in range(6)
            if LABELS[n] != LABELS[a]
        )
        losses.append(np.log1p(own * other))
    assert values["circle"] == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("head", "dim", "normed", "length"),
    [("bnneck", None, False, 64), ("reduction", 12, False, 12), ("linear", 12, True, 12)],
)
def test_a_batchnorm_stands_before_the_classifier_of_linear_heads_only(head, dim, normed, length):
    learner = made({"triplet": {"weight": 1}, "centre": {"weight": 1}}, head, dim)
    assert ("norm" in learner.heads) == normed
    assert metric_dim(learner.network) == length
    assert learner.heads["centre"].centers.shape == (CLASSES, length)
    values, _, before, after = forward(learner)
    assert before.shape == (6, length)
    if normed:
        after = F.batch_norm(after, None, None, training=True)
    logits = after @ learner.heads["classifier"].weight.T
    expected = F.cross_entropy(logits, LABELS, label_smoothing=0.1).item()
    assert values["classification"] == pytest.approx(expected, abs=1e-5)


def test_distillation_sees_the_embedding_and_projects_where_dimensions_differ():
    settings = {
        "classification": {"weight": 0},
        "distill_features": {"weight": 3},
        "distill_similarity": {"weight": 1, "temperature": 0.5, "bank": False},
    }
    teacher = F.normalize(torch.randn(6, 20, generator=torch.Generator().manual_seed(1)))
    learner = made(settings, teacher_dim=20)
    values, total, _, after = forward(learner, teacher=teacher)
    projected = F.linear(after, learner.heads["distill_features"].project.weight)
    assert values["distill_features"] == pytest.approx(
        (1 - F.cosine_similarity(projected, teacher)).mean().item(), abs=1e-5
    )
    rows = []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        log_q = (F.normalize(after)[others] @ F.normalize(after)[i] / 0.5).log_softmax(0)
        log_p = (teacher[others] @ teacher[i] / 0.5).log_softmax(0)
        rows.append((log_p.exp() * (log_p - log_q)).sum().item())
    assert values["distill_similarity"] == pytest.approx(np.mean(rows), abs=1e-5)
    assert total == pytest.approx(3 * values["distill_features"] + np.mean(rows), abs=1e-4)


def test_bank_is_used_if_the_recipe_says_so():
    settings = {
        "classification": {"weight": 0},
        "distill_similarity": {"weight": 1, "temperature": 0.5},
    }
    teacher, bank = F.normalize(torch.randn(6, 64)), F.normalize(torch.randn(9, 64))
    values, _, _, after = forward(made(settings, teacher_dim=64), teacher=teacher, bank=bank)
    log_q = (F.normalize(after) @ bank.T / 0.5).log_softmax(1)
    log_p = (teacher @ bank.T / 0.5).log_softmax(1)
    expected = (log_p.exp() * (log_p - log_q)).sum(1).mean().item()
    assert values["distill_similarity"] == pytest.approx(expected, abs=1e-5)
    settings["distill_similarity"]["bank"] = False
    other, *_ = forward(made(settings, teacher_dim=64), teacher=teacher, bank=bank)
    assert other["distill_similarity"] != pytest.approx(expected, abs=1e-3)


def test_bf16_runs_the_network_in_bfloat16_and_the_losses_in_float32():
    settings = {"triplet": {"weight": 1}, "centre": {"weight": 0.1}}
    learner = made(settings, bf16=True)
    seen = {}
    first = learner.network.backbone.get_submodule("layer1.0.conv1")
    first.register_forward_hook(lambda module, given, result: seen.update(conv=result.dtype))
    learner.heads["classifier"].register_forward_hook(
        lambda module, given, result: seen.update(features=given[0].dtype, logits=result.dtype)
    )
    total, values = learner(torch.from_numpy(crops()), LABELS)
    assert seen == {
        "conv": torch.bfloat16, "features": torch.float32, "logits": torch.float32,
    }  # fmt: skip
    assert total.dtype == values.dtype == torch.float32
    exact, _ = made(settings)(torch.from_numpy(crops()), LABELS)
    assert total.item() == pytest.approx(exact.item(), rel=0.05)
    total.backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32
        for p in learner.parameters()
        if p.requires_grad
    )


def test_classifier_and_losses_are_no_part_of_the_network():
    learner = made({"triplet": {"weight": 1}, "centre": {"weight": 1}})
    assert set(learner.network.state_dict()) == set(build_network(SPEC).state_dict())
    saved = {key for key in learner.state_dict() if not key.startswith("network.")}
    assert saved == {"heads.classifier.weight", "heads.centre.centers"}


def test_network_without_a_neck_gets_a_batchnorm_too():
    network = build_network(SPEC)
    network.neck = None
    learner = Learner(network, CONTRACT, Losses(), CLASSES)
    assert isinstance(learner.heads["norm"], nn.BatchNorm1d) and metric_dim(network) == 64


@pytest.mark.parametrize("name", shipped())
def test_losses_of_a_shipped_recipe(name):
    """Those with a weight, weighted, and together they train every parameter."""
    losses = read_recipe(name, network=lambda: SPEC).losses
    weights = {key: value.weight for key, value in losses if value.weight}
    taught = {"teacher_dim": 64} if losses.need_teacher else {}
    learner = made(losses.model_dump(), **taught)
    assert set(learner.loss_names) == set(weights)
    given = {key: F.normalize(torch.randn(6, 64)) for key in ("teacher", "bank")} if taught else {}
    values, total, _, _ = forward(learner, **given)
    expected = sum(weights[key] * value for key, value in values.items())
    assert total == pytest.approx(expected, rel=1e-4)
    learner(torch.from_numpy(crops()), LABELS, **given)[0].backward()
    for key, parameter in learner.named_parameters():
        assert not parameter.requires_grad or parameter.grad.abs().sum() > 0, key
