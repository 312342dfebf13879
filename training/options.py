"""What ``reid-train`` was asked for, and what a run that goes on is not asked again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import ReidEdgeError
from training.recipe import Recipe

FOLDERS_AND_FILES = ("data", "evaluation", "views", "protocol", "teacher", "init")
CHOICES = ("layout", "include_val", "identities", "skip_unreadable", "allow_pickle")
ARCHITECTURES = ("init_arch", "teacher_arch")
# Others are compared by what is in them: a data set or a checkpoint may have moved.
SAME_CHOICE = ("views", "protocol", "layout", "identities", *ARCHITECTURES)


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
        include_val: Also train on MSMT17's validation images.
        protocol: The new protocol's file, for CUHK03 under its own file names.
        identities: Train on the first so many people only.
        teacher: Checkpoint to learn from, or None.
        teacher_arch: Its architecture, where it is not recognised.
        init: Checkpoint to start from, or None.
        init_arch: Its architecture, where it is not recognised.
        allow_pickle: Also read ``init`` and ``teacher`` where they are whole pickled objects.
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
    include_val: bool = False
    protocol: Path | None = None
    identities: int | None = None
    teacher: Path | None = None
    teacher_arch: str | None = None
    init: Path | None = None
    init_arch: str | None = None
    allow_pickle: bool = False
    resume: bool = False
    skip_unreadable: bool = False
    device: str | None = None
    threads: int | None = None

    def asked(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What a run keeps of it, JSON-able: paths are absolute.

        Args:
            before: What it kept when it was started; empty where it begins.
        """
        kept: dict[str, Any] = {}
        for name in (*FOLDERS_AND_FILES, *CHOICES, *ARCHITECTURES):
            value = getattr(self, name)
            if isinstance(value, Path):
                value = str(value.resolve())
            kept[name] = value or before.get(name)
        return kept


def completed(given: Mapping[str, Any], kept: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The options of a run that goes on: those given now, for the rest those it was started with.

    Args:
        given: Option names, as ``TrainOptions`` has them, to values; None and False are not given.
        kept: ``TrainOptions.asked`` of its start; empty for a run of an older version.
        out: The run's folder, named in errors.

    Raises:
        ReidEdgeError: An option contradicts the one of the start.
    """
    whole: dict[str, Any] = {}
    for name in (*FOLDERS_AND_FILES, *CHOICES, *ARCHITECTURES):
        now, then = given.get(name), kept.get(name)
        if name in FOLDERS_AND_FILES and then is not None:
            then = Path(then)
        if now in (None, False):
            whole[name] = then if then is not None else now
            continue
        same = now.resolve() == then if isinstance(now, Path) else now == then
        if kept and name in SAME_CHOICE and not same:
            option = f"--{name.replace('_', '-')}"
            raise ReidEdgeError(
                f"{out} was started {f'with {option} {then}' if then else f'without {option}'}, "
                f"now it is {now}; leave it out to resume, or start again in another --out."
            )
        whole[name] = now
    return whole
