"""Judging a network in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import training.evaluate
from benchmarks.datasets import open_retrieval_set
from benchmarks.metrics import evaluate_retrieval
from models.spec import build_network
from runtime.contract import EmbeddingContract
from runtime.preprocess import l2_normalize, preprocess, read_image
from tests.training.drawn_people import CONTRACT, SPEC
from training.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")
EMBEDDING = EmbeddingContract(dim=64, feature="after_neck", l2_normalize=True)


@pytest.fixture
def network():
    torch.manual_seed(1)
    return build_network(SPEC).train()


def test_figures_are_those_of_the_network_in_eval_mode(network, market):
    dataset = open_retrieval_set(market)
    found = evaluate(network, dataset, CONTRACT, EMBEDDING, batch=5, progress=False)
    assert network.training
    network.eval()
    given = []
    for crops in (dataset.query, dataset.gallery):
        pixels = preprocess([read_image(crop.path) for crop in crops], CONTRACT)
        with torch.no_grad():
            given.append(l2_normalize(network(torch.from_numpy(pixels)).numpy()))
        given += [np.array([c.person_id for c in crops]), np.array([c.camera_id for c in crops])]
    assert found == pytest.approx(evaluate_retrieval(*given).to_dict(), abs=1e-3)
    assert {"mAP", "rank1"} <= set(found) and all(type(v) is float for v in found.values())


@pytest.mark.parametrize("training_mode", [True, False])
def test_mode_and_statistics_are_as_before_also_behind_a_failure(
    network, market, monkeypatch, training_mode
):
    network.train(training_mode)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    evaluate(network, open_retrieval_set(market), CONTRACT, EMBEDDING, progress=False)

    def fail(runners, *given, **more):
        runners["fp32"](np.zeros((1, 3, 64, 32), np.float32))
        raise OSError

    monkeypatch.setattr(training.evaluate, "measure_accuracy", fail)
    with pytest.raises(OSError):
        evaluate(network, open_retrieval_set(market), CONTRACT, EMBEDDING)
    assert network.training == training_mode
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
