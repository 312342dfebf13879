"""The embedder without a network: tells drawn people apart, and announces what it is."""

import logging
import time

import numpy as np
import pytest

from follow_robot.simulator import appearance
from follow_robot.simulator.camera import Camera
from follow_robot.simulator.looks import Look
from follow_robot.simulator.people import Walker, Waypoint
from follow_robot.simulator.plane import Pose, Walls
from follow_robot.simulator.rendering import Renderer
from follow_robot.simulator.viewer import Viewer, stranger_crops

ROOM = Walls(np.array([[-3, -4, 9, -4], [9, -4, 9, 4], [9, 4, -3, 4], [-3, 4, -3, -4]]))
SEEDS = range(500, 524)


def crops_of(looks, seed, face_deg=0.0, gain=1.0):
    """One crop of each, at a place, a step and a box that differ with the seed."""
    view, rng, crops = Renderer(Camera(), ROOM, seed), np.random.default_rng(seed), []
    for look in looks:
        at = (rng.uniform(1.8, 3.5), rng.uniform(-0.5, 0.5))
        walker = Walker("a", look, (Waypoint(at, face_deg=face_deg + rng.uniform(-20, 20)),))
        walker.phase, walker.velocity = rng.uniform(), (0.8, 0.0)
        picture = view.render(Pose(0, 0, rng.uniform(-0.1, 0.1)), [walker], gain)
        box = np.array(picture.people[0].seen_box) + rng.normal(0, 2, 4)
        left, top, right, bottom = np.clip(np.rint(box), 0, [320, 240] * 2).astype(int)
        crops.append(picture.image[top:bottom, left:right])
    return crops


def cosines(a, b):
    """Of every pair, without what drawn people have in common."""
    mean = appearance.embed(stranger_crops()).mean(axis=0)
    a, b = appearance.embed(a) - mean, appearance.embed(b) - mean
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (
        b / np.linalg.norm(b, axis=1, keepdims=True)
    ).T


@pytest.fixture(scope="module")
def looks():
    return [Look.random(seed) for seed in SEEDS]


def test_embeddings_have_unit_length():
    found = appearance.embed(stranger_crops(5))
    assert found.shape == (5, appearance.DIM) and found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert appearance.embed([]).shape == (0, appearance.DIM)


@pytest.mark.parametrize("face_deg, genuine", [(0.0, 0.75), (90.0, 0.6), (180.0, 0.6)])
def test_people_are_like_themselves_and_unlike_others(looks, face_deg, genuine):
    found = cosines(crops_of(looks, 1), crops_of(looks, 2, face_deg))
    same, other = np.diag(found), found[~np.eye(len(looks), dtype=bool)]
    assert same.mean() > genuine and np.quantile(same, 0.1) > 0.4
    assert other.mean() < 0.15 and np.quantile(other, 0.95) < 0.58
    assert (found.argmax(axis=1) == np.arange(len(looks))).mean() > 0.9


def test_dimmer_light_does_not_make_a_stranger(looks):
    found = cosines(crops_of(looks, 1), crops_of(looks, 2, gain=0.65))
    assert np.diag(found).mean() > 0.7


def test_look_alikes_are_between_the_two(looks):
    doubles = [look.double(seed) for seed, look in zip(SEEDS, looks)]
    alike = np.diag(cosines(crops_of(looks, 1), crops_of(doubles, 2)))
    one_detail = [look.double(seed, details=1) for seed, look in zip(SEEDS, looks)]
    more_alike = np.diag(cosines(crops_of(looks, 1), crops_of(one_detail, 2)))
    assert 0.1 < alike.mean() < 0.4
    assert more_alike.mean() > alike.mean()


def test_it_costs_next_to_nothing():
    crops = stranger_crops(8)
    took_ms = []
    for _ in range(10):
        started_s = time.process_time()
        appearance.embed(crops)
        took_ms.append(1e3 * (time.process_time() - started_s) / len(crops))
    assert min(took_ms) < 0.5


def test_it_is_announced_as_what_it_is(caplog):
    with caplog.at_level(logging.WARNING):
        Viewer.of()
    assert "not by a ReID network" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        viewer = Viewer.of(embed=lambda crops: np.ones((len(crops), 4), np.float32) / 2)
    assert not caplog.text and viewer.strangers.shape == (24, 4)
