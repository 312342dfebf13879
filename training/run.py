"""A training run from folders and files: everything around the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import open_retrieval_set
from models.checkpoint import LoadedNetwork
from models.spec import build_network
from runtime.errors import ReidEdgeError
from training import determinism
from training.augment import Pipeline
from training.data import TrainingSet, limit_identities, open_training_set, require_pairs
from training.distributed import Processes, join
from training.image_check import check_images, write_problems
from training.initialize import Start, initialize, read_network
from training.loader import BatchLoader, CropImages
from training.options import TrainOptions
from training.origin import check_same_evaluation, images_of, origin
from training.progress import Progress, silent
from training.recipe import Recipe, needs_start
from training.record import (
    check_same_images,
    continued_record,
    fingerprint,
    machine_change,
    new_record,
    provenance,
)
from training.run_folder import RunFolder
from training.sampling import build_sampler, smaller_batch
from training.signals import stopped_by_signals
from training.task import Task
from training.teacher import LiveTeacher, embed_with_mirror, stored_embeddings
from training.trainer import Interrupted, Trainer

Say = Callable[[str], Any]


def train(options: TrainOptions, progress: Progress, say: Say) -> dict[str, Any] | None:
    """Run a recipe to its end.

    Args:
        options: See ``TrainOptions``.
        progress: Makes progress bars.
        say: Receives lines for the user.

    Returns:
        The run's record, as stored in ``run.json``; None in other processes than the first.

    Raises:
        ReidEdgeError: Anything the user can correct.
        Interrupted: SIGINT or SIGTERM; the run can be resumed.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    processes = join(options.device)
    try:
        if processes.first:
            return _train(options, processes, progress, say)
        _train(options, processes, silent, _mute)
        return None
    finally:
        processes.close()


def _train(options: TrainOptions, processes: Processes, progress: Progress, say: Say) -> dict:
    """``train`` in a group of processes; mistakes are found before the first file is written."""
    recipe, folder = options.recipe, RunFolder(options.out)
    state = None
    if options.resume:
        _check_same_recipe(recipe, folder)
        state = folder.load_state()
    elif processes.first:  # the others may come here when the first has made it
        folder.check_free()
    stored = folder.stored_record() if options.resume else None
    start = None
    if options.init and state is None:
        start = Start(options.init, options.init_arch, options.allow_pickle)
    elif recipe.fine_tune and state is None:
        raise ReidEdgeError(needs_start(f"Recipe {recipe.name}"))
    determinism.fix(recipe.seed, processes.device)
    found = _open_data(options, progress, say)
    images = fingerprint(found)
    if state is not None:
        check_same_images(state["fingerprint"], images, folder.path)
        _check_same_processes(state["world_size"], processes.world_size, folder)
    sampler = build_sampler(recipe, found, processes, options.views is not None)
    evaluation = open_retrieval_set(options.evaluation) if options.evaluation else None
    teacher = _load_teacher(options)
    network = build_network(recipe.network)
    if teacher is not None:
        _check_bank(recipe, network.dim, teacher)
    taken = None
    if start is not None:
        taken = initialize(network, start, recipe.network)
        for line in (str(taken), *taken.differences, *taken.terms):
            say(line)
    record = new_record(recipe, found, teacher, options.init, processes)
    if taken is not None:
        record["init"]["terms"] = list(taken.terms)
    record["asked"] = options.asked((stored or {}).get("asked", {}))
    record["evaluation"] = evaluation and images_of(evaluation)
    if stored is not None:
        if state is not None and (change := machine_change(record, stored)):
            say(change)
        check_same_evaluation(record, stored, folder.path)
        record = continued_record(record, stored, state is not None)

    paths = [crop.path for crop in found.crops]
    in_memory = recipe.data.cache == "memory"
    crops = CropImages.open(paths, recipe.network.input_contract(), in_memory, progress)
    pipeline = Pipeline.build(recipe.augment, lambda rng: crops.read(int(rng.integers(len(crops)))))
    with _folder_of(folder, recipe, processes.first and not options.resume):
        if processes.first and (written := write_problems(found, folder.path)):
            say(written)
        processes.wait()
        task = Task(
            recipe=recipe,
            network=network.to(processes.device),
            labels=np.array([crop.person for crop in found.crops], np.int64),
            paths=paths,
            sampler=sampler,
            loader=BatchLoader(crops, pipeline, recipe.seed, recipe.data.workers),
            folder=folder,
            provenance={**provenance(recipe, found, teacher), **origin(record)},
            evaluation=evaluation,
            teacher=_teach(teacher, recipe, folder, paths, images, processes, progress),
            # Judging a start that is partly random would only cost time.
            judge_start=taken is not None and not taken.left,
            fingerprint=images,
        )
        trainer = Trainer(task, processes, progress)
    if state is not None:
        trainer.restore(state)
        say(f"resumed in epoch {trainer.position.epoch + 1}")
    return _run(trainer, record)


@contextmanager
def _folder_of(folder: RunFolder, recipe: Recipe, new: bool) -> Iterator[None]:
    """The run's folder, taken away again when something fails before training begins."""
    if new:
        folder.create(recipe.to_dict())
    try:
        yield
    except BaseException:
        if new:
            folder.discard()
        raise


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
            record["best_epoch"] = trainer.position.best_epoch
        if trainer.position.start is not None:
            record["start"] = trainer.position.start
        if first:
            folder.write_record(record)

    write("running")
    try:
        with stopped_by_signals(trainer.request_stop):
            trainer.run()
    except BaseException as error:
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        with suppress(ReidEdgeError):  # on a full disk, say: what stopped the run matters more
            write("interrupted" if stopped else "failed")
        if isinstance(error, torch.OutOfMemoryError):
            raise ReidEdgeError(
                f"The GPU has too little memory for batches of {trainer.task.sampler.batch} images "
                f"of this network; pass {smaller_batch(trainer.task.recipe.sampler)} or "
                "--set precision=bf16."
            ) from None
        raise
    write("finished")
    return record


def _open_data(options: TrainOptions, progress: Progress, say: Say) -> TrainingSet:
    found = open_training_set(
        options.data,
        layout=options.layout,
        include_val=options.include_val,
        protocol=options.protocol,
        views=options.views,
    )
    if options.identities is not None:
        found = limit_identities(found, options.identities)
    sampler = options.recipe.sampler
    pairs = sampler.images if sampler.kind == "pk" else 1
    found = check_images(found, progress, say, options.skip_unreadable)
    say(found.report(pairs))
    if pairs > 1:
        require_pairs(found)
    return found


def _load_teacher(options: TrainOptions) -> LoadedNetwork | None:
    needed = options.recipe.losses.need_teacher
    if needed != (options.teacher is not None):
        raise ReidEdgeError(
            f"Recipe {options.recipe.name} learns from a teacher; pass --teacher CHECKPOINT."
            if needed
            else f"Recipe {options.recipe.name} has no distillation loss; leave out --teacher or "
            "set losses.distill_features.weight."
        )
    if options.teacher is None:
        return None
    return read_network(
        options.teacher, "--teacher-arch", options.teacher_arch, options.allow_pickle
    )


def _check_bank(recipe: Recipe, dim: int, teacher: LoadedNetwork) -> None:
    if recipe.losses.needs_bank and dim != teacher.embedding.dim:
        raise ReidEdgeError(
            f"losses.distill_similarity.bank needs a network whose embedding is as long as the "
            f"teacher's, {teacher.embedding.dim}, got {dim}; set network.dim or bank false."
        )


def _teach(
    teacher: LoadedNetwork | None,
    recipe: Recipe,
    folder: RunFolder,
    paths: Sequence[Path],
    images: str,
    processes: Processes,
    progress: Progress,
) -> Tensor | LiveTeacher | None:
    """What the teacher says: prepared now, or asked in every step. ``images`` is a fingerprint."""
    if teacher is None:
        return None
    if recipe.teacher.mode == "live":
        colour = recipe.network.input_contract().color
        return LiveTeacher(teacher, colour, processes.device)

    def compute() -> Tensor:
        return embed_with_mirror(teacher, paths, processes.device, progress)

    key = f"{teacher.sha256} {images}"
    if processes.first:  # the others read what the first has stored
        stored_embeddings(folder.teacher, key, compute)
    processes.wait()
    return stored_embeddings(folder.teacher, key, compute)


def _check_same_recipe(recipe: Recipe, folder: RunFolder) -> None:
    stored = Recipe.model_construct().model_dump(mode="json", exclude={"network"})
    stored.update(folder.stored_recipe())  # fields that are newer than the run have their default
    changed = [k for k, v in recipe.to_dict().items() if stored.get(k) != v]
    if changed:
        raise ReidEdgeError(
            f"{folder.path} was started with another recipe (different: {', '.join(changed)}); "
            "resume with the same one or start again in another --out."
        )


def _check_same_processes(then: int, now: int, folder: RunFolder) -> None:
    if then != now:
        raise ReidEdgeError(
            f"{folder.path} was started with another number of processes ({then}, now {now}); "
            "resume with the same or start again in another --out."
        )


def _mute(text: str) -> None: ...
