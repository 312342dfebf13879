"""Quantization-aware fine-tuning from end to end, on networks small enough for seconds."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import training.qat_task
from export.parity import compare
from export.quantize import Quantizer
from models.checkpoint import LoadedNetwork
from runtime.errors import ReidEdgeError, VerificationError
from tests.export.cli_helpers import HEIGHT, WIDTH, drawn_pixels
from tests.export.small_models import run as onnx_run
from tests.training.qat_networks import (
    Shallow,
    batches_of,
    embeddings,
    filled,
    loaded_of,
    seen_by,
    settled,
)
from training.qat import QatOptions, QatResult, quantization_aware_finetune
from training.qat_task import float_graph


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return loaded_of(settled(Shallow()))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return drawn_pixels(64)


@pytest.fixture(scope="module")
def outlier(images) -> np.ndarray:
    """Calibration crops of which one is far too bright: min-max ranges become coarse."""
    crops = images[:8].copy()
    crops[0] *= 6.0
    return crops


def test_fine_tuning_heals_coarse_ranges(loaded, images, outlier):
    before = copy.deepcopy(loaded.network.state_dict())
    options = QatOptions(method="minmax", epochs=4, scale_rate=2e-2, threads=1)
    steps: list[tuple[int, float]] = []
    seen: list[np.ndarray] = []
    result = quantization_aware_finetune(
        loaded,
        batches_of(images[:48]),
        outlier,
        options,
        judge=seen_by(images[48:], seen),
        progress=lambda epoch, loss: steps.append((epoch, loss)),
    )
    assert [epoch for epoch, _ in steps] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    assert [loss for _, loss in steps] == result.losses
    assert np.mean(result.losses[-6:]) < 0.5 * np.mean(result.losses[:2])
    reference = embeddings(loaded.network, images[48:])
    cosines = [compare(reference, e).cosine_mean for e in seen]
    assert cosines[-1] > cosines[0] + 0.3 * (1 - cosines[0])  # on crops nothing was learned from
    assert (result.kept_epoch, len(result.scores)) == (4, 5)
    assert "epoch 4 of 4" in result.summary
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, before[key]), "the network given was changed: " + key
    changed = {k for k, v in before.items() if not torch.equal(v, result.state_dict[k])}
    assert not any("running" in k or ("bn" in k and k.endswith("weight")) for k in changed)
    assert {k for k in changed if "conv" in k} == {"conv%d.weight" % i for i in range(1, 5)}
    assert not result.frozen
    assert not any(value.requires_grad for value in result.state_dict.values())


def test_same_seed_same_network(loaded, images):
    class Noisy(nn.Module):
        """Draws from torch's generator, as dropout does."""

        def forward(self, embedding, labels):
            return (torch.rand(len(labels)) * embedding.square().mean(1)).mean() * 0.1

    def finetune(seed: int) -> QatResult:
        options = QatOptions(method="mse", epochs=1, seed=seed, threads=1)
        return quantization_aware_finetune(
            loaded, batches_of(images[:16]), images[:8], options, objective=Noisy()
        )

    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    first, second, other = finetune(0), finetune(0), finetune(1)
    assert first.losses == second.losses != other.losses
    for key, value in first.state_dict.items():
        assert torch.equal(value, second.state_dict[key]), key
    assert first.table.tensors == second.table.tensors
    assert torch.equal(torch.rand(3), expected), "the caller's generator was used"


def test_an_objective_learns_from_labels_and_its_parameters_with_it(loaded, images):
    class Classifier(nn.Module):
        def __init__(self, dim: int):
            super().__init__()
            torch.manual_seed(1)
            self.linear = nn.Linear(dim, 16)
            self.seen: list[int] = []

        def forward(self, embedding, labels):
            self.seen += labels.tolist()
            return nn.functional.cross_entropy(self.linear(embedding), labels)

    classifier = Classifier(loaded.embedding.dim)
    weight = classifier.linear.weight.detach().clone()
    options = QatOptions(method="mse", epochs=8, learning_rate=1e-3, objective_rate=3e-2, threads=1)
    result = quantization_aware_finetune(
        loaded, batches_of(images[:16]), images[:8], options, objective=classifier
    )
    assert sorted(classifier.seen) == sorted(list(range(16)) * 8)
    assert np.mean(result.losses[-2:]) < 0.8 * np.mean(result.losses[:2])
    assert not torch.equal(weight, classifier.linear.weight)


def test_what_got_worse_is_thrown_away(loaded, images):
    options = QatOptions(method="mse", epochs=2, learning_rate=0.5, threads=1)
    result = quantization_aware_finetune(loaded, batches_of(images[:16]), images[:8], options)
    assert max(result.scores[1:]) < result.scores[0] and result.kept_epoch == 0
    assert "No epoch scored better than the start" in result.summary
    assert result.table.selection["kept_epoch"] == 0
    trained = filled(loaded, result)
    # Weights are the given ones; the biases are corrected for rounding, so a little moves.
    before = loaded.network.state_dict()
    changed = {k for k, v in result.state_dict.items() if not torch.equal(v, before[k])}
    assert all(k.endswith("bias") for k in changed)
    graph = float_graph(trained)
    quantizer = Quantizer(graph, "xavier", result.table, images[:4], images[:8], threads=1)
    again = onnx_run(quantizer.run(result.table.method, "none").model, quantizer.held_out)
    reference = embeddings(loaded.network, images[:8])
    assert compare(reference, again).cosine_mean == pytest.approx(result.scores[0], abs=1e-3)


def test_layers_that_are_kept_in_float_read_no_rounded_values(loaded, images):
    kept = frozenset(n.name for n in float_graph(loaded).nodes if "conv3" in n.name)
    options = QatOptions(method="mse", epochs=1, keep_float=kept, threads=1)
    result = quantization_aware_finetune(loaded, batches_of(images[:8]), images[:8], options)
    full = quantization_aware_finetune(
        loaded, batches_of(images[:8]), images[:8], replace(options, keep_float=frozenset())
    )
    fewer, all_ = (set(r.table.selection["learned"]) for r in (result, full))
    assert fewer < all_ and len(all_ - fewer) >= 1
    assert result.scores[0] > full.scores[0]


def test_loss_that_is_not_finite_is_an_error(loaded, images):
    def objective(embedding, labels):
        return embedding.sum() * float("nan")

    with pytest.raises(ReidEdgeError, match=r"became nan in epoch 1, step 1; lower the learning"):
        quantization_aware_finetune(
            loaded,
            batches_of(images[:8]),
            images[:8],
            QatOptions(method="mse", threads=1),
            objective=objective,
        )


@pytest.mark.parametrize(
    ("batches", "sentence"),
    [
        (lambda epoch: [], "Epoch 1 .* got no batches"),
        (lambda epoch: iter([(np.zeros((2, 3, 8, 8), np.float32), None)]), "a batch as float32"),
        (lambda epoch: [(np.zeros((2, 3, HEIGHT, WIDTH)), None)], "float64"),
    ],
)
def test_batches_that_do_not_fit_are_refused(loaded, images, batches, sentence):
    with pytest.raises(ReidEdgeError, match=sentence):
        quantization_aware_finetune(
            loaded, batches, images[:4], QatOptions(method="mse", threads=1)
        )


def test_calibration_crops_that_do_not_fit_are_refused(loaded):
    with pytest.raises(ReidEdgeError, match="the calibration crops as float32"):
        quantization_aware_finetune(loaded, lambda e: [], np.zeros((0, 3, 8, 8)), QatOptions())


def test_a_judge_without_a_number_is_refused(loaded, images):
    with pytest.raises(ReidEdgeError, match="must be a number, got nan"):
        quantization_aware_finetune(
            loaded,
            batches_of(images[:8]),
            images[:4],
            QatOptions(method="mse", threads=1),
            judge=lambda run: float("nan"),
        )


def test_weights_that_do_not_go_back_are_an_error(loaded, images, monkeypatch):
    real = training.qat_task.unfold

    def wrong(*arguments):
        state = real(*arguments)
        state["conv3.weight"] *= 1.01
        return state

    monkeypatch.setattr(training.qat_task, "unfold", wrong)
    with pytest.raises(VerificationError, match="does not fit back into the network"):
        quantization_aware_finetune(
            loaded, batches_of(images[:8]), images[:4], QatOptions(method="mse", threads=1)
        )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": "tpu"}, "target .* must be one of xavier, cpu, got 'tpu'"),
        ({"target": "x3"}, "target .* must be one of xavier, cpu, got 'x3': the X3's toolchain"),
        ({"method": "best"}, "method .* must be one of auto, minmax"),
        ({"epochs": 0}, "at least 1 epoch, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"learning_rate": float("nan")}, "learning rate .* 0 or more, got nan"),
        ({"distill_weight": -1.0}, "distill weight .* 0 or more, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(changes, sentence):
    with pytest.raises(ReidEdgeError, match=sentence):
        QatOptions(**changes)
