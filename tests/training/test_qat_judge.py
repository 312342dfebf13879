"""Who is held out of fine-tuning with labels, and how a network is judged on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.nn import Identity

from models.checkpoint import LoadedNetwork
from runtime.contract import EmbeddingContract
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import CONTRACT
from training.data import TrainingCrop, TrainingSet, open_training_set
from training.qat_judge import RetrievalJudge, hold_out


def set_of(images: list[list[int]]) -> TrainingSet:
    """People by the cameras of their images."""
    crops = [
        TrainingCrop(Path(f"p{person}_{i}.jpg"), person, f"p{person}", camera)
        for person, cameras in enumerate(images)
        for i, camera in enumerate(cameras)
    ]
    return TrainingSet("drawn", "folders", tuple(crops))


@pytest.mark.parametrize(
    ("people", "held"), [(4, 2), (6, 3), (8, 4), (20, 4), (60, 12), (751, 100)]
)
def test_one_in_five_people_but_at_most_half(people, held):
    found = set_of([[1, 2]] * people)
    training, dataset = hold_out(found, seed=0)
    judged = {crop.path.name.split("_")[0] for crop in dataset.gallery}
    trained = {crop.person_name for crop in training.crops}
    assert len(judged) == held and len(trained) == people - held and not judged & trained
    assert {crop.person for crop in training.crops} == set(range(people - held))
    assert training.left_out == {"of people held out to judge": 2 * held}
    assert dataset.query == dataset.gallery and len(dataset.query) == 2 * held


def test_the_seed_draws_the_people():
    found = set_of([[1, 2]] * 20)
    names = [{crop.path.name for crop in hold_out(found, seed)[1].gallery} for seed in (0, 0, 1, 2)]
    assert names[0] == names[1] and len({frozenset(n) for n in names}) == 3


def test_only_people_whom_a_query_can_find_are_held_out():
    found = set_of([[1, 1, 1], [2, 2], [1, 2], [3], [1, 2, 2], [1, 2], [4, 4], [2, 3]])
    held = {crop.person_id for crop in hold_out(found, seed=3)[1].gallery}
    assert len(held) == 4 and held == {2, 4, 5, 7}


def test_without_cameras_every_image_is_its_own():
    found = set_of([[-1, -1]] * 4)
    dataset = hold_out(found, seed=0)[1]
    assert dataset.cameras == "unknown"
    assert len({crop.camera_id for crop in dataset.gallery}) == len(dataset.gallery) == 4


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([[1, 2]] * 3, "at least 4 people .* seen by two cameras; drawn has 3 and 3"),
        ([[1, 1]] * 8, "seen by two cameras; drawn has 8 and 0"),
        ([[-1, -1]] * 3 + [[-1]] * 9, "to hold out; drawn has 3 and 3"),
    ],
)
def test_too_few_people_are_said_with_what_else_to_do(images, sentence):
    with pytest.raises(
        ReidEdgeError, match=sentence + r"\. Give --eval DIR, more people, or leave"
    ):
        hold_out(set_of(images), seed=0)


def test_the_score_is_the_map_of_the_network_it_is_given(people):
    _, dataset = hold_out(open_training_set(people), seed=0)
    loaded = LoadedNetwork(Identity(), "none", "test", CONTRACT, EmbeddingContract(dim=8))
    judge = RetrievalJudge(dataset, loaded, "four people")
    assert judge.description == "mAP in percent on four people: 16 queries, 16 gallery images"
    ids = iter([crop.person_id for crop in dataset.gallery])

    def perfect(pixels):
        return np.eye(8, dtype=np.float32)[[next(ids) for _ in pixels]]

    assert judge(perfect) == pytest.approx(100.0)
    rng = np.random.default_rng(0)
    assert judge(lambda pixels: rng.standard_normal((len(pixels), 8)).astype(np.float32)) < 80
