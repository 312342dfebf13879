"""The default network and the drawn people."""

import json

import numpy as np
import pytest
import torch

from benchmarks.accuracy import measure_accuracy
from benchmarks.datasets import open_retrieval_set
from models.checkpoint import source_state_dict
from models.state_file import file_sha256
from models.zoo import (
    ProvenanceCard,
    default_calibration_table,
    default_network,
    demo_crops,
)
from models.zoo.default import ZOO, untrained_network
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize, preprocess


@pytest.fixture(scope="module")
def untrained():
    return untrained_network()


@pytest.fixture
def zoo(tmp_path, untrained):
    """A zoo folder with weights and a card."""
    weights = tmp_path / "default.pth"
    torch.save({"state_dict": source_state_dict(untrained.network, "microsoft-rga")}, weights)
    card = {
        "schema": 1,
        "weights": "default.pth",
        "sha256": file_sha256(weights),
        "arch": "rga_sc_resnet18_w32",
        "training_data": "drawn people",
        "recipe": "none",
        "seed": 5,
        "hours": 0.5,
        "accuracy": {"set": "nobody", "fp32": {"mAP": 61.25, "rank1": 80}},
        "intended_use": "tests",
        "limits": "do not use",
        "calibration_table": None,
    }

    def write(**changes):
        content = {k: v for k, v in {**card, **changes}.items() if v != "absent"}
        (tmp_path / "default.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_without_card_the_network_is_untrained(tmp_path):
    loaded = default_network(tmp_path)
    assert not loaded.trained and loaded.source is None
    assert any("untrained demonstration weights" in note for note in loaded.notes)
    assert loaded.input.shape == (3, 256, 128) and loaded.embedding.dim <= 512


def test_untrained_is_deterministic_and_alive(untrained):
    again = untrained_network().network.state_dict()
    assert all(torch.equal(a, again[k]) for k, a in untrained.network.state_dict().items())
    crops = demo_crops(10, 4, seed=7)
    with torch.no_grad():
        got = untrained.network(
            torch.from_numpy(preprocess([c[0] for c in crops], untrained.input))
        ).numpy()
    assert 0.3 < got.std() < 3 and np.abs(got).max() < 30
    assert (got.std(0) > 1e-3).all()  # no dead output
    # Random features still see clothes, so demonstrations end in figures between 0 and 100 %.
    unit = l2_normalize(got)
    similarity = unit @ unit.T - 2 * np.equal.outer([c[2] for c in crops], [c[2] for c in crops])
    persons = np.array([c[1] for c in crops])
    assert (persons[similarity.argmax(1)] == persons).mean() > 0.3


def test_card_loads_weights(zoo, untrained):
    loaded = default_network(zoo())
    assert loaded.trained and loaded.source == "default.pth" and len(loaded.sha256) == 64
    assert "trained on drawn people" in loaded.notes and "limits: do not use" in loaded.notes
    assert "recipe: none (seed 5, 0.5 h)" in loaded.notes
    assert "measured on nobody: fp32 mAP 61.2 Rank-1 80.0" in loaded.notes
    assert torch.equal(
        loaded.network.backbone.conv1.weight, untrained.network.backbone.conv1.weight
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"weights": "gone.pth"}, "missing"),
        ({"weights": "../default.pth"}, "own folder"),
        ({"schema": 2}, "schema 1"),
        ({"arch": "absent"}, "lacks .*arch"),
        ({"colour": "red"}, "unknown entries .*colour"),
        ({"arch": "osnet_x1_0"}, "osnet_x1_0 expects"),
        ({"options": {"last_stride": 2}}, "last stride 2"),
    ],
)
def test_broken_card(zoo, changes, message):
    with pytest.raises(ReidEdgeError, match=message):
        default_network(zoo(**changes))


def test_card_that_is_not_json(tmp_path):
    (tmp_path / "default.json").write_text("{")
    with pytest.raises(ReidEdgeError, match="not valid JSON"):
        default_network(tmp_path)


def test_demo_crops():
    crops = demo_crops(5, 6, seed=3)
    assert [person for _, person, _ in crops] == [p for p in range(1, 6) for _ in range(6)]
    assert {camera for _, _, camera in crops} == {1, 2, 3, 4}
    for image, _, _ in crops:
        assert image.dtype == np.uint8 and image.shape[2] == 3
        assert 160 <= image.shape[0] <= 320 and 60 <= image.shape[1] <= 140
        assert image.std() > 10
    again = demo_crops(5, 6, seed=3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(crops, again))
    other = demo_crops(5, 6, seed=4)
    assert not any(
        a[0].shape == b[0].shape and np.array_equal(a[0], b[0]) for a, b in zip(crops, other)
    )


def test_demo_crops_of_nobody():
    with pytest.raises(ReidEdgeError, match="at least one"):
        demo_crops(0, 3)


def test_the_shipped_default_is_trained_small_and_says_where_it_comes_from():
    loaded = default_network()
    assert loaded.trained and loaded.family == "reid-edge" and loaded.arch.startswith("rga_")
    assert (ZOO / loaded.source).stat().st_size <= 12_000_000
    notes = "\n".join(loaded.notes)
    for said in ("research use only", "seed 0", "intended use: ", "limits: ", "int8 mAP"):
        assert said in notes
    card = ProvenanceCard.read(ZOO)
    assert card.accuracy["fp32"]["mAP"] >= 62 and card.accuracy["fp32"]["rank1"] >= 80
    assert card.accuracy["fp32"]["mAP"] - card.accuracy["int8"]["mAP"] <= 0.3
    assert default_calibration_table() == ZOO / card.calibration_table


@pytest.mark.slow
def test_the_card_tells_the_truth(shared):
    """fp32 accuracy of the stored weights, measured again."""
    loaded, card = default_network(), ProvenanceCard.read(ZOO)
    dataset = open_retrieval_set(shared / "data" / "market1501")
    torch.set_num_threads(2)

    def run(pixels):
        with torch.no_grad():
            return loaded.network(torch.from_numpy(pixels)).numpy()

    report = measure_accuracy({"fp32": run}, dataset, loaded.input, loaded.embedding)
    assert report.results["fp32"].mAP == pytest.approx(card.accuracy["fp32"]["mAP"], abs=0.1)
    assert report.results["fp32"].rank1 == pytest.approx(card.accuracy["fp32"]["rank1"], abs=0.2)
