"""Training on real people: it learns what it should, and an interruption changes nothing."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from benchmarks.accuracy import measure_accuracy
from benchmarks.datasets import open_retrieval_set
from benchmarks.metrics import evaluate_retrieval
from calibration.layouts import parse_reid_name
from models.checkpoint import load_network
from models.spec import build_network
from runtime.contract import EmbeddingContract
from training.evaluate import evaluate
from training.progress import silent
from training.recipe import parse
from training.run import TrainOptions, train
from training.run_folder import RunFolder
from training.trainer import Interrupted, Trainer

PEOPLE = 50
MARGIN = 10.0  # points of mAP that three epochs must bring, over the untrained network and chance
RECIPE = parse(
    {
        "name": "trial",
        "network": {"backbone": "resnet18", "width": 16, "height_px": 128, "width_px": 64},
        "data": {"workers": 0},
        "sampler": {"persons": 8, "images": 4},
        "losses": {"classification": {"weight": 1}, "triplet": {"weight": 1}},
        "optimizer": {"kind": "adam", "learning_rate": 0.002},
        "schedule": {"epochs": 3, "warmup_epochs": 0.5},
    },
    "trial",
)


@pytest.fixture(scope="module")
def split(shared, tmp_path_factory):
    """Fifty people of Market-1501: of each camera of a person one image is left out of training;
    the first left-out image asks for those of the other cameras."""
    root = tmp_path_factory.mktemp("split")
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        (root / part).mkdir()
    people = {}
    for path in sorted((shared / "data" / "market1501" / "bounding_box_train").glob("*.jpg")):
        person, camera = parse_reid_name(path.name)
        people.setdefault(person, {}).setdefault(camera, []).append(path)
    chosen = [
        cameras
        for cameras in people.values()
        if len(cameras) > 1 and min(map(len, cameras.values())) > 1
    ][:PEOPLE]
    assert len(chosen) == PEOPLE
    for cameras in chosen:
        for i, (first, *others) in enumerate(cameras.values()):
            shutil.copy(first, root / ("bounding_box_test" if i else "query"))
            for path in others:
                shutil.copy(path, root / "bounding_box_train")
    return root


def chance(dataset):
    """mAP of random embeddings."""
    rng = np.random.default_rng(0)
    figures = []
    for _ in range(5):
        parts = []
        for crops in (dataset.query, dataset.gallery):
            parts += [rng.normal(size=(len(crops), 32)).astype(np.float32)]
            parts += [
                np.array([c.person_id for c in crops]),
                np.array([c.camera_id for c in crops]),
            ]
        figures.append(evaluate_retrieval(*parts).mAP)
    return float(np.mean(figures))


@pytest.mark.slow
def test_three_epochs_on_fifty_people(split, tmp_path, monkeypatch):
    options = TrainOptions(RECIPE, split, tmp_path / "whole", split, device="cpu", threads=1)
    before = torch.get_num_threads()
    try:
        whole = train(options, silent, lambda line: None)
        real, done = Trainer._step, []

        def stopping(self, *given):
            done.append(1)
            if len(done) == 30:
                self.request_stop()
            return real(self, *given)

        monkeypatch.setattr(Trainer, "_step", stopping)
        part = TrainOptions(RECIPE, split, tmp_path / "part", split, device="cpu", threads=1)
        with pytest.raises(Interrupted):
            train(part, silent, lambda line: None)
        position = RunFolder(part.out).load_state()["position"]
        assert position["epoch"] == 1 and position["step"] > 0
        resumed = train(dataclasses.replace(part, resume=True), silent, lambda line: None)
    finally:
        torch.set_num_threads(before)

    states = [torch.load(tmp_path / n / "state.pt", weights_only=True) for n in ("whole", "part")]
    history, other = (state["position"]["history"] for state in states)
    losses = [row["total_loss"] for row in history]
    assert losses[0] > losses[1] > losses[2]
    assert [row["total_loss"] for row in other] == losses
    assert resumed["last"]["mAP"] == whole["last"]["mAP"]
    for key, value in states[0]["learner"].items():
        assert torch.equal(value, states[1]["learner"][key]), key

    dataset, contract = open_retrieval_set(split), RECIPE.network.input_contract()
    torch.manual_seed(0)
    untrained = build_network(RECIPE.network)
    embedding = EmbeddingContract(dim=untrained.dim, feature="after_neck", l2_normalize=True)
    start = evaluate(untrained, dataset, contract, embedding, progress=False)["mAP"]
    floor = max(start, chance(dataset))
    print(f"losses {losses}, mAP {floor:.1f} -> {whole['last']['mAP']:.1f}")
    assert whole["last"]["mAP"] > floor + MARGIN

    # What was saved is what was judged, by the runtime's own preprocessing.
    loaded = load_network(tmp_path / "whole" / "best.pth")

    def run(pixels):
        with torch.inference_mode():
            return loaded.network(torch.from_numpy(pixels)).numpy()

    report = measure_accuracy(
        {"best": run}, dataset, loaded.input, loaded.embedding, progress=False, resamples=0
    )
    assert report.results["best"].to_dict()["mAP"] == pytest.approx(whole["best_mAP"], abs=0.1)
