"""What a user may tell the running chain, and what it does."""

import math

import numpy as np
import pytest

from follow_robot.chain import follower_of, perception_of
from follow_robot.choices import KINDS, Choice, apply
from runtime.errors import ReidEdgeError
from runtime.lock_types import ENROLLING, IDLE, SEARCHING
from tests.follow_robot.recorded_run import CONFIG, DIM, observation


@pytest.fixture
def chain():
    """Perception that has seen three people, and a follower on hold."""
    rng = np.random.default_rng(0)
    perception = perception_of(CONFIG, None, embed=lambda crops: np.zeros((0, DIM)))
    looks = np.eye(DIM, dtype=np.float32)
    for index in range(3):
        seen, _ = observation(index, rng)
        perception.decide(seen, lambda rows: looks[rows])
    return perception, follower_of(CONFIG)


@pytest.mark.parametrize(
    "choice",
    [
        Choice("choose_front"),
        Choice("choose_point", (150.0, 150.0)),
        Choice("choose_box", (100.0, 60.0, 200.0, 205.0)),
    ],
)
def test_a_person_is_chosen_and_the_last_ones_place_forgotten(chain, choice):
    perception, follower = chain
    follower._target_s = 5.0
    apply(choice, perception, follower)
    assert perception.lock.state == ENROLLING
    assert follower._target_s == -math.inf
    apply(Choice("release"), perception, follower)
    assert perception.lock.state == IDLE


def test_photos_start_a_search(chain):
    perception, follower = chain
    apply(Choice("gallery", embeddings=np.eye(DIM)[:2]), perception, follower)  # float64
    assert perception.lock.state == SEARCHING
    kept = [e for v in perception.lock.memory.enrolled.values() for e in v]
    assert [e.dtype for e in kept] == [np.float32] * 2


def test_go_and_hold(chain):
    perception, follower = chain
    assert not follower.going
    apply(Choice("go"), perception, follower)
    assert follower.going
    apply(Choice("hold"), perception, follower)
    assert not follower.going


def test_settings_within_their_limits(chain):
    perception, follower = chain
    apply(Choice("set", (2.0,), "distance_m"), perception, follower)
    apply(Choice("set", (0.3,), "speed_mps"), perception, follower)
    settings = follower.controller.settings
    assert (settings.distance_m, settings.speed_mps) == (2.0, 0.3)
    for name, value, said in (
        ("distance_m", 0.1, "min_distance_m"),
        ("speed_mps", 9.0, "a hard cap"),
        ("allow_reverse", 1.0, "Only distance_m and speed_mps can be set"),
        ("drive", 1.0, "Only distance_m and speed_mps can be set"),
    ):
        with pytest.raises(ReidEdgeError, match=said):
            apply(Choice("set", (value,), name), perception, follower)
    assert follower.controller.settings == settings


def test_a_choice_of_nobody_changes_nothing(chain):
    perception, follower = chain
    follower._target_s = 5.0
    with pytest.raises(ReidEdgeError, match="Nobody is seen"):
        apply(Choice("choose_point", (1.0, 1.0)), perception, follower)
    assert perception.lock.state == IDLE and follower._target_s == 5.0


@pytest.mark.parametrize(
    "choice, said",
    [
        (Choice("jump"), "must be one of choose_box, choose_point"),
        (Choice("choose_box", (1.0, 2.0, 3.0)), "needs 4 finite numbers"),
        (Choice("choose_point", (math.nan, 2.0)), "needs 2 finite numbers"),
        (Choice("go", (1.0,)), "needs 0 finite numbers"),
        (Choice("gallery"), "needs embeddings"),
        (Choice("go", embeddings=np.zeros((1, 2))), "needs embeddings"),
    ],
)
def test_choices_that_make_no_sense(chain, choice, said):
    with pytest.raises(ReidEdgeError, match=said):
        apply(choice, *chain)


def test_every_kind_does_something(chain):
    perception, follower = chain
    for kind, count in KINDS.items():
        gallery = np.eye(DIM)[:1] if kind == "gallery" else None
        numbers = (150.0, 100.0, 200.0, 205.0)[:count] if kind != "set" else (1.5,)
        name = "distance_m" if kind == "set" else ""
        apply(Choice(kind, numbers, name, gallery), perception, follower)
