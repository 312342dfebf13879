"""Tiny trainings: data sets of drawn people, a recipe that takes moments, and a trainer for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from models.checkpoint import save_network
from models.spec import NetworkSpec, build_network
from models.zoo.demo import demo_crops
from runtime.contract import InputContract
from training.augment import Pipeline
from training.data import open_training_set
from training.distributed import Processes
from training.loader import BatchLoader, CropImages
from training.progress import SilentBar, silent
from training.recipe import Recipe, parse
from training.run_folder import RunFolder
from training.sampler import PKSampler, UniformSampler
from training.task import Task
from training.trainer import Interrupted, Trainer

CONTRACT = InputContract(64, 32)
SPEC = NetworkSpec("resnet18", width=8, height_px=64, width_px=32)
TINY: dict[str, Any] = {
    "name": "tiny",
    "network": SPEC.to_dict(),
    "data": {"workers": 0},
    "sampler": {"kind": "pk", "persons": 4, "images": 2},
    "losses": {"classification": {"weight": 1.0}, "triplet": {"weight": 1.0}},
    "optimizer": {"kind": "adam", "learning_rate": 0.002},
    "schedule": {"epochs": 2, "warmup_epochs": 0},
}
CPU = Processes(0, 1, torch.device("cpu"))


def write_jpeg(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


def write_people(root: Path, people: int, each: int, seed: int = 0) -> Path:
    """One folder per person: ``p01/0.jpg``, ..."""
    for number, (image, person, _) in enumerate(demo_crops(people, each, seed)):
        write_jpeg(root / f"p{person:02d}" / f"{number % each}.jpg", image)
    return root


def write_market(root: Path, people: int, each: int) -> Path:
    """Names and folders of Market-1501: ``people`` to train on, four others to test on."""
    for number, (image, person, camera) in enumerate(demo_crops(people + 4, each, seed=7)):
        part = "bounding_box_train"
        if person > people:
            part = "query" if camera == 1 else "bounding_box_test"
        write_jpeg(root / part / f"{person:04d}_c{camera}s1_{number:06d}_00.jpg", image)
    return root


def write_teacher(path: Path, spec: NetworkSpec = SPEC) -> Path:
    torch.manual_seed(11)
    save_network(path, build_network(spec), spec, {"recipe": "none"})
    return path


def recipe(changes: Mapping[str, Any] | None = None) -> Recipe:
    """``TINY`` with dotted fields changed."""
    content = {
        key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()
    }
    for dotted, value in (changes or {}).items():
        *path, last = dotted.split(".")
        section = content
        for part in path:
            section[part] = dict(section.get(part) or {})
            section = section[part]
        section[last] = value
    return parse(content, "tiny.yaml")


def make_trainer(
    data: Path,
    out: Path,
    settings: Recipe,
    progress=silent,
    teacher=None,
    evaluation=None,
) -> Trainer:
    """A trainer as a run would make it, in this process."""
    torch.manual_seed(settings.seed)
    found = open_training_set(data)
    paths = [crop.path for crop in found.crops]
    labels = np.array([crop.person for crop in found.crops], np.int64)
    contract = settings.network.input_contract()
    crops = CropImages.open(paths, contract, settings.data.cache == "memory", silent)
    pipeline = Pipeline.build(settings.augment, lambda rng: crops.read(0))
    folder = RunFolder(out)
    if not folder.recipe.exists():
        folder.create(settings.to_dict())
    sampler: PKSampler | UniformSampler
    if settings.sampler.kind == "uniform":
        sampler = UniformSampler(len(paths), settings.sampler.batch, settings.seed)
    else:
        sampler = PKSampler(
            labels,
            persons=settings.sampler.persons,
            images=settings.sampler.images,
            seed=settings.seed,
        )
    task = Task(
        settings,
        build_network(settings.network),
        labels,
        paths,
        sampler,
        BatchLoader(crops, pipeline, settings.seed, settings.data.workers),
        folder,
        {"recipe": settings.name},
        evaluation,
        teacher,
    )
    return Trainer(task, CPU, progress)


class Hook(SilentBar):
    """A progress bar that calls ``act(steps done)`` behind every step."""

    def __init__(self, act):
        self.act, self.steps = act, None

    def update(self, n: int) -> None:
        if self.steps is None:  # the first update says where the run begins
            self.steps = n
            return
        self.steps += n
        self.act(self.steps)


def run_with(trainer: Trainer, act) -> bool:
    """Train, with ``act(steps done)`` behind every step; whether it came to its end."""
    trainer._progress = lambda label, total: Hook(act)
    try:
        trainer.run()
    except Interrupted:
        return False
    return True
