"""A training run from folders and files: everything around the trainer."""

from __future__ import annotations

import hashlib
import platform
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import open_retrieval_set
from models.checkpoint import LoadedNetwork, load_network
from models.spec import build_network
from models.state_file import file_sha256
from runtime.errors import ReidEdgeError
from training.augment import Pipeline
from training.data import TrainingSet, check_readable, leave_out_unreadable, open_training_set
from training.distributed import Processes, join
from training.initialize import initialize
from training.loader import BatchLoader, CropImages, Progress
from training.recipe import Recipe
from training.run_folder import RunFolder
from training.sampler import PKSampler, UniformSampler
from training.teacher import LiveTeacher, embed_with_mirror, stored_embeddings
from training.trainer import Interrupted, Task, Trainer

Say = Callable[[str], Any]


@dataclass(frozen=True)
class TrainOptions:
    """What ``reid-train`` was asked for.

    Attributes:
        recipe: How to train.
        data: Folder of the training set.
        out: Folder of the run.
        evaluation: Folder of an evaluation set, or None.
        layout: Layout of ``data``; default: recognised.
        views: CSV file of view labels, or None.
        teacher: Checkpoint to learn from, or None.
        init: Checkpoint to start from, or None.
        resume: Continue the run in ``out``.
        skip_unreadable: Leave out images that cannot be decoded instead of refusing.
        device: ``"cpu"``, ``"cuda"``, ...; default: CUDA where there is one.
        threads: CPU threads; default: all cores.
    """

    recipe: Recipe
    data: Path
    out: Path
    evaluation: Path | None = None
    layout: str | None = None
    views: Path | None = None
    teacher: Path | None = None
    init: Path | None = None
    resume: bool = False
    skip_unreadable: bool = False
    device: str | None = None
    threads: int | None = None


def train(options: TrainOptions, progress: Progress, say: Say) -> dict[str, Any]:
    """Run a recipe to its end.

    Args:
        options: See ``TrainOptions``.
        progress: Makes progress bars.
        say: Receives lines for the user.

    Returns:
        The run's record, as stored in ``run.json``.

    Raises:
        ReidEdgeError: Anything the user can correct.
        Interrupted: SIGINT or SIGTERM; the run can be resumed.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    processes = join(options.device)
    quiet = not processes.first
    try:
        return _train(options, processes, _silent if quiet else progress, _mute if quiet else say)
    finally:
        processes.close()


def _train(options: TrainOptions, processes: Processes, progress: Progress, say: Say) -> dict:
    recipe, folder = options.recipe, RunFolder(options.out)
    if options.resume:
        _check_same_recipe(recipe, folder)
    _seed(recipe.seed)
    found = _open_data(options, progress, say)
    sampler = _sampler(recipe, found, processes)
    evaluation = open_retrieval_set(options.evaluation) if options.evaluation else None
    teacher = _load_teacher(options)
    if processes.first and not options.resume:
        folder.create(recipe.to_dict())
    processes.wait()

    contract = recipe.network.input_contract()
    paths = [crop.path for crop in found.crops]
    crops = CropImages.open(paths, contract, recipe.data.cache == "memory", progress)
    pipeline = Pipeline.build(recipe.augment, lambda rng: crops.read(int(rng.integers(len(crops)))))
    fingerprint = _fingerprint(found)
    signals = _teach(teacher, recipe, folder, paths, fingerprint, processes, progress)
    network = build_network(recipe.network)
    if options.init and not options.resume:
        say(str(initialize(network, options.init)))
    record = _record(options, found, teacher, processes)
    task = Task(
        recipe=recipe,
        network=network.to(processes.device),
        labels=np.array([crop.person for crop in found.crops], np.int64),
        paths=paths,
        sampler=sampler,
        loader=BatchLoader(crops, pipeline, recipe.seed, recipe.data.workers),
        folder=folder,
        provenance=_provenance(recipe, found, teacher),
        evaluation=evaluation,
        teacher=signals,
        fingerprint=fingerprint,
    )
    trainer = Trainer(task, processes, progress)
    if options.resume and (state := folder.load_state()) is not None:
        trainer.restore(state)
        say(f"resumed in epoch {trainer.position.epoch + 1}")
    return _run(trainer, record)


def _run(trainer: Trainer, record: dict[str, Any]) -> dict[str, Any]:
    """Train, and keep the record true whatever happens."""
    folder, first = trainer.task.folder, trainer.processes.first

    def write(status: str) -> None:
        record["status"] = status
        record["hours"] = round(trainer.position.elapsed_s / 3600, 3)
        record["epochs_done"] = trainer.position.epoch
        record["last"] = trainer.position.history[-1] if trainer.position.history else None
        if trainer.position.best >= 0:
            record["best_mAP"] = trainer.position.best
        if first:
            folder.write_record(record)

    write("running")
    try:
        with _stopped_by_signals(trainer.request_stop):
            trainer.run()
    except Interrupted:
        write("interrupted")
        raise
    except ReidEdgeError:
        write("failed")
        raise
    write("finished")
    return record


def _open_data(options: TrainOptions, progress: Progress, say: Say) -> TrainingSet:
    found = open_training_set(options.data, layout=options.layout, views=options.views)
    if options.skip_unreadable:
        found = leave_out_unreadable(found, progress)
    elif unreadable := check_readable(found, progress):
        raise ReidEdgeError(
            f"{len(unreadable)} of {len(found.crops)} training images cannot be read "
            f"({' '.join(unreadable[:3])}{' ...' if len(unreadable) > 3 else ''}); remove them or "
            "pass --skip-unreadable."
        )
    say(found.report())
    return found


def _sampler(recipe: Recipe, found: TrainingSet, processes: Processes):
    settings, place = recipe.sampler, (processes.rank, processes.world_size)
    if settings.kind == "uniform":
        return UniformSampler(len(found.crops), settings.batch, recipe.seed, *place)
    weights = None
    if settings.rear_weight != 1.0:
        if not any(crop.view for crop in found.crops):
            raise ReidEdgeError(
                f"sampler.rear_weight is {settings.rear_weight}, but no image of {found.name} is "
                "labelled with a view; pass --views FILE.csv or set it to 1."
            )
        weights = [settings.rear_weight if c.view == "rear" else 1.0 for c in found.crops]
    return PKSampler(
        [crop.person for crop in found.crops],
        persons=settings.persons,
        images=settings.images,
        seed=recipe.seed,
        weights=weights,
        rank=processes.rank,
        world_size=processes.world_size,
    )


def _load_teacher(options: TrainOptions) -> LoadedNetwork | None:
    needed, losses = options.recipe.losses.need_teacher, options.recipe.losses
    if needed != (options.teacher is not None):
        raise ReidEdgeError(
            f"Recipe {options.recipe.name} learns from a teacher; pass --teacher CHECKPOINT."
            if needed
            else f"Recipe {options.recipe.name} has no distillation loss; leave out --teacher or "
            "set losses.distill_features.weight."
        )
    if options.teacher is None:
        return None
    teacher = load_network(options.teacher)
    bank = losses.distill_similarity.weight > 0 and losses.distill_similarity.bank
    if bank and options.recipe.teacher.mode == "live":
        raise ReidEdgeError(
            "losses.distill_similarity.bank needs a fixed teacher; set teacher.mode fixed or "
            "bank false."
        )
    return teacher


def _teach(
    teacher: LoadedNetwork | None, recipe, folder, paths, fingerprint, processes, progress
) -> Tensor | LiveTeacher | None:
    if teacher is None:
        return None
    if recipe.teacher.mode == "live":
        colour = recipe.network.input_contract().color
        return LiveTeacher(teacher, colour, processes.device)

    def compute() -> Tensor:
        return embed_with_mirror(teacher, paths, processes.device, progress)

    key = f"{teacher.sha256} {fingerprint}"
    if processes.first:  # the others read what the first has stored
        stored_embeddings(folder.teacher, key, compute)
    processes.wait()
    return stored_embeddings(folder.teacher, key, compute)


def _check_same_recipe(recipe: Recipe, folder: RunFolder) -> None:
    stored = folder.stored_recipe()
    changed = [k for k, v in recipe.to_dict().items() if stored.get(k) != v]
    if changed:
        raise ReidEdgeError(
            f"{folder.path} was started with another recipe (different: {', '.join(changed)}); "
            "resume with the same one or start again in another --out."
        )


def _fingerprint(found: TrainingSet) -> str:
    """Changes with the names, order and labels of the training images."""
    digest = hashlib.sha256()
    for crop in found.crops:
        digest.update(f"{crop.path.name} {crop.person}\n".encode())
    return digest.hexdigest()[:16]


def _provenance(
    recipe: Recipe, found: TrainingSet, teacher: LoadedNetwork | None
) -> dict[str, str | int | float]:
    taught = f", taught by {teacher.arch} ({teacher.source})" if teacher else ""
    return {
        "recipe": f"{recipe.name}{taught}",
        "training_data": f"{found.name} ({found.layout}): {len(found.crops)} images of "
        f"{found.identities} people",
        "seed": recipe.seed,
    }


def _record(options, found, teacher, processes) -> dict[str, Any]:
    device = processes.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "schema": 1,
        "recipe": options.recipe.name,
        "arch": options.recipe.network.arch,
        "seed": options.recipe.seed,
        "data": found.record(),
        "teacher": teacher and {"arch": teacher.arch, "sha256": teacher.sha256},
        "init": options.init and {"file": options.init.name, "sha256": file_sha256(options.init)},
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": name,
        "processes": processes.world_size,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
    }


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]):
    """Let SIGINT and SIGTERM end the run behind a step; a second one ends it at once."""

    def handle(number, frame) -> None:
        stop()
        signal.signal(number, previous[number])
        print("\nstopping behind this step; again to stop at once", file=sys.stderr)

    try:
        previous = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller has the signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _SilentBar:
    def update(self, n: int) -> None: ...

    def close(self) -> None: ...

    def set_postfix_str(self, text: str) -> None: ...


def _silent(label: str, total: int) -> _SilentBar:
    return _SilentBar()


def _mute(text: str) -> None: ...
