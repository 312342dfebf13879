"""What the optimizer decays, moves and leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.spec import NetworkSpec, build_network
from tests.training.drawn_people import CONTRACT
from training.learner import Learner
from training.optimizer import build_optimizer, set_backbone_frozen
from training.settings import Losses, Optimizer

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = torch.tensor([0, 0, 1, 1])


def made():
    torch.manual_seed(2)
    spec = NetworkSpec("resnet18", width=8, height_px=64, width_px=32, pool="gem")
    return Learner(build_network(spec), CONTRACT, Losses(), 3)


def images():
    return torch.randint(0, 256, (4, 64, 32, 3), dtype=torch.uint8)


def test_biases_and_norms_are_not_decayed():
    learner = made()
    optimizer = build_optimizer(learner, Optimizer(weight_decay=0.25))
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for module_name, module in learner.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                assert id(parameter) not in decay, "the bias of a BNNeck is not trained"
                continue
            filters = isinstance(module, (nn.Conv2d, nn.Linear)) and name == "weight"
            filters = filters or module_name == "heads.classifier"
            assert decay.pop(id(parameter)) == (0.25 if filters else 0.0), (module_name, name)
    assert not decay


def test_kinds_and_their_settings():
    learner = made()
    rate = {"learning_rate": 0.5}
    sgd = build_optimizer(learner, Optimizer(kind="sgd", momentum=0.8, **rate))
    assert type(sgd) is torch.optim.SGD
    assert all(g["momentum"] == 0.8 and g["nesterov"] and g["lr"] == 0.5 for g in sgd.param_groups)
    plain = build_optimizer(learner, Optimizer(kind="sgd", momentum=0.0, **rate))
    assert not any(group["nesterov"] for group in plain.param_groups)
    assert type(build_optimizer(learner, Optimizer(kind="adam"))) is torch.optim.Adam
    assert type(build_optimizer(learner, Optimizer(kind="adamw"))) is torch.optim.AdamW


def test_decay_pulls_filters_and_leaves_norms():
    """One step of plain SGD with zero gradients multiplies filters by 1 - rate * decay."""
    learner = made()
    settings = Optimizer(kind="sgd", momentum=0.0, learning_rate=0.1, weight_decay=0.5)
    optimizer = build_optimizer(learner, settings)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    for parameter in learner.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in learner.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        assert torch.allclose(parameter, before[name] * factor, atol=1e-7), name


def test_frozen_backbone_keeps_weights_and_statistics_and_then_moves():
    learner = made().train()
    optimizer = build_optimizer(learner, Optimizer(learning_rate=0.01, weight_decay=0.5))

    def changed():
        before = {k: v.clone() for k, v in learner.state_dict().items()}
        optimizer.zero_grad()
        learner(images(), LABELS)[0].backward()
        optimizer.step()
        return {k for k, v in learner.state_dict().items() if not torch.equal(v, before[k])}

    set_backbone_frozen(learner, True)
    moved = changed()
    assert not any(name.startswith("network.backbone.") for name in moved)
    assert {"network.neck.weight", "network.neck.running_mean", "heads.classifier.weight"} <= moved
    set_backbone_frozen(learner, False)
    everything = {name for name in learner.state_dict() if name != "network.neck.bias"}
    assert changed() == everything
