"""Judges a network while it is fine-tuned with labels: mAP on people it is not trained on."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from benchmarks.accuracy import measure_accuracy
from benchmarks.datasets import RetrievalSet
from calibration.layouts import UNKNOWN, Crop
from models.checkpoint import LoadedNetwork
from runtime.errors import ReidEdgeError
from training.data import TrainingSet
from training.qat_task import Embed

SHARE = 5  # one in five people is held out,
LEAST, MOST = 4, 100  # but so many, and at most half


class RetrievalJudge:
    """Scores a network by its mAP on one set, in percent.

    Args:
        dataset: Queries and gallery.
        loaded: For the contracts.
        about: What the set is, for people: ``"the 75 people held out of training"``.
    """

    def __init__(self, dataset: RetrievalSet, loaded: LoadedNetwork, about: str):
        self.dataset, self._loaded = dataset, loaded
        self.description = (
            f"mAP in percent on {about}: {len(dataset.query):,} queries, "
            f"{len(dataset.gallery):,} gallery images"
        )

    def __call__(self, run: Embed) -> float:
        report = measure_accuracy(
            {"int8": run}, self.dataset, self._loaded.input, self._loaded.embedding, resamples=0
        )
        return report.results["int8"].mAP


def hold_out(found: TrainingSet, seed: int) -> tuple[TrainingSet, RetrievalSet]:
    """Split a training set by people into those to train on and those to judge on.

    Where every image has a camera, only people seen by two or more are held out; else each image
    counts as its own camera, as in benchmarks/datasets.py. Every image of theirs is a query, and
    all are the gallery: the protocol keeps a query from finding its own camera.

    Args:
        found: The labelled images.
        seed: Draws the people.

    Raises:
        ReidEdgeError: Too few people to hold out two and train on two.
    """
    cameras: dict[int, set[int]] = defaultdict(set)
    images: dict[int, int] = defaultdict(int)
    known = all(crop.camera_id != UNKNOWN for crop in found.crops)
    for number, crop in enumerate(found.crops):
        cameras[crop.person].add(crop.camera_id if known else number)
        images[crop.person] += 1
    fit = [person for person in sorted(cameras) if len(cameras[person]) > 1]
    people, repeated = len(cameras), sum(count > 1 for count in images.values())
    count = min(max(people // SHARE, LEAST), MOST, people // 2, len(fit), repeated - 2)
    if count < 2:
        raise ReidEdgeError(
            "What labels teach is judged on people who are not trained on, so --labels needs at "
            f"least 4 people with two images or more, and 2 of them "
            f"{'seen by two cameras' if known else 'to hold out'}; {found.name} has {repeated} and "
            f"{len(fit)}. Give --eval DIR, more people, or leave out --labels."
        )
    rng = np.random.default_rng(seed)
    chosen = {fit[i] for i in rng.permutation(len(fit))[:count]}
    held = [
        Crop(crop.path, crop.person, crop.camera_id if known else number)
        for number, crop in enumerate(c for c in found.crops if c.person in chosen)
    ]
    dataset = RetrievalSet(
        name=f"{found.name}, held out",
        query=held,
        gallery=held,
        layout="held_out",
        cameras="from names" if known else "unknown",
        n_junk=0,
        seed=seed,
    )
    kept = [crop for crop in found.crops if crop.person not in chosen]
    return found.reduced(kept, "of people held out to judge"), dataset
