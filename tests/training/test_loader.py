"""Batches: the same whoever prepares them, in whatever order, and wherever a run was interrupted."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal

import cv2
import numpy as np
import pytest
import torch

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from tests.training.drawn_people import CONTRACT
from tests.training.small_data import Bar
from training.augment import Pipeline, item_rng
from training.loader import BatchLoader, CropImages
from training.progress import silent
from training.sampler import PKSampler, UniformSampler

pytestmark = pytest.mark.usefixtures("one_thread")
EVERYTHING = {
    "flip": {"probability": 0.5},
    "detector_jitter": {"probability": 1.0},
    "pad_crop": {},
    "patch": {"probability": 0.5},
    "policy": {},
    "colour_jitter": {"probability": 1.0},
    "erasing": {"probability": 0.5},
    "cutout": {},
}


def crops_of(people, in_memory=True, contract=CONTRACT):
    return CropImages.open(sorted(people.rglob("*.jpg")), contract, in_memory, silent)


def loader_of(crops, augment=EVERYTHING, workers=0):
    return BatchLoader(
        crops,
        Pipeline.build(augment, lambda rng: crops.read(int(rng.integers(len(crops))))),
        3,
        workers,
    )


def plan_of(crops, batch=8):
    return UniformSampler(len(crops), batch, 3).epoch(1)


def assert_same(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other) > 0
    for a, b in zip(one, other):
        assert all(torch.equal(x, y) for x, y in zip(a, b))


def test_crops_are_those_of_opencv(people):
    paths = sorted(people.rglob("*.jpg"))
    expected = [cv2.resize(cv2.imread(str(p)), (32, 64))[:, :, ::-1] for p in paths]
    crops = crops_of(people)
    assert len(crops) == len(paths) == 32
    assert all(np.array_equal(crops.read(i), image) for i, image in enumerate(expected))
    bgr = crops_of(people, contract=InputContract(64, 32, color="BGR"))
    assert np.array_equal(bgr.read(5), expected[5][:, :, ::-1])


def test_cache_or_not_is_the_same(people):
    cached, lazy = crops_of(people), crops_of(people, in_memory=False)
    assert cached.cache is not None and lazy.cache is None
    plan = plan_of(cached)
    assert_same(loader_of(cached).batches(plan, 1), loader_of(lazy).batches(plan, 1))


@pytest.mark.parametrize("in_memory", [True, False])
def test_workers_change_nothing(people, in_memory):
    crops = crops_of(people, in_memory)
    plan = plan_of(crops)
    alone = loader_of(crops, workers=0).batches(plan, 1)
    assert_same(alone, loader_of(crops, workers=2).batches(plan, 1))


def test_batches_hold_what_the_plan_says(people):
    crops = crops_of(people)
    plan = plan_of(crops)
    pipeline = Pipeline.build({"flip": {"probability": 0.5}})
    loader = BatchLoader(crops, pipeline, 3, 0)
    mirrored = 0
    for step, batch in enumerate(loader.batches(plan, 4)):
        assert batch.images.shape == (8, 64, 32, 3) and batch.images.dtype == torch.uint8
        assert batch.indices.tolist() == plan[step].tolist()
        for i, (image, index, flipped) in enumerate(zip(*batch)):
            expected, mirror = pipeline(crops.read(int(index)), item_rng(3, 4, step * 8 + i))
            assert np.array_equal(image, expected) and bool(flipped) == mirror
            mirrored += mirror
    assert 0 < mirrored < 32


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_epoch_goes_on_with_the_same_batches(people, workers):
    crops = crops_of(people)
    plan = plan_of(crops)
    whole = list(loader_of(crops).batches(plan, 2))
    assert_same(whole[2:], loader_of(crops, workers=workers).batches(plan, 2, first_step=2))
    assert list(loader_of(crops, workers=workers).batches(plan, 2, first_step=4)) == []


def test_epochs_differ(people):
    crops = crops_of(people)
    plan = plan_of(crops)
    one, other = (next(iter(loader_of(crops).batches(plan, epoch))) for epoch in (0, 1))
    assert torch.equal(one.indices, other.indices) and not torch.equal(one.images, other.images)


def test_ranks_are_disjoint_parts_of_the_batches_of_one_process(people):
    """Two processes with four images each see what one sees with eight, augmentation included."""
    crops = crops_of(people)
    labels = [i // 4 for i in range(32)]
    whole = list(
        loader_of(crops).batches(PKSampler(labels, persons=4, images=2, seed=3).epoch(1), 1)
    )
    halves = []
    for rank in (0, 1):
        sampler = PKSampler(labels, persons=2, images=2, seed=3, rank=rank, world_size=2)
        halves.append(list(loader_of(crops).batches(sampler.epoch(1), 1, 0, rank, 2)))
    for batch, left, right in zip(whole, *halves, strict=True):
        assert torch.equal(batch.images, torch.cat([left.images, right.images]))
        assert torch.equal(batch.indices, torch.cat([left.indices, right.indices]))
        assert not set(left.indices.tolist()) & set(right.indices.tolist())


def test_workers_ignore_signals_meant_for_the_trainer(people):
    crops = crops_of(people)
    plan = np.tile(plan_of(crops, 4), (4, 1))
    expected = list(loader_of(crops).batches(plan, 0))
    batches = loader_of(crops, workers=2).batches(plan, 0)
    seen = [next(batches)]
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    assert_same(expected, [*seen, *batches])


def test_leaving_an_epoch_early_ends_its_workers(people):
    crops = crops_of(people)
    batches = loader_of(crops, workers=2).batches(plan_of(crops, 4), 0)
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    batches.close()
    del batches
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_preparing_batches_leaves_torch_random_numbers_alone(people, workers):
    crops = crops_of(people)
    before = torch.get_rng_state()
    list(loader_of(crops, workers=workers).batches(plan_of(crops), 0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_image_that_disappears_is_one_sentence_also_from_a_worker(people, tmp_path, workers):
    for number, path in enumerate(sorted(people.rglob("*.jpg"))[:4]):
        (tmp_path / f"{number}.jpg").write_bytes(path.read_bytes())
    crops = crops_of(tmp_path, in_memory=False)
    (tmp_path / "2.jpg").write_bytes(b"no image")
    with pytest.raises(ReidEdgeError, match=r"2\.jpg is not an image") as error:
        list(loader_of(crops, {}, workers).batches(np.arange(4).reshape(2, 2), 0))
    assert "\n" not in str(error.value)


def test_unreadable_image_stops_the_reading_and_closes_the_bar(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    bars = []

    def progress(label, total):
        bars.append(Bar(label, total))
        return bars[-1]

    with pytest.raises(ReidEdgeError, match="not an image"):
        CropImages.open([tmp_path / "a.jpg"], CONTRACT, True, progress)
    assert bars[0].closed and bars[0].done == 0
