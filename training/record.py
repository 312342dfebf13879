"""The record of a run, ``run.json``: what was trained on what, by which versions, on which machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from models.checkpoint import LoadedNetwork
from models.state_file import file_sha256
from runtime.errors import ReidEdgeError
from training.data import TrainingSet
from training.distributed import Processes
from training.recipe import Recipe

SCHEMA = 1
# Of what a fingerprint notices; the first, without a number, knew file names and people only.
_FINGERPRINT = 2


def new_record(
    recipe: Recipe,
    found: TrainingSet,
    teacher: LoadedNetwork | None,
    init: Path | None,
    processes: Processes,
) -> dict[str, Any]:
    """The record of a run that begins now; the trainer's figures are added as it goes on."""
    device = processes.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "arch": recipe.network.arch,
        "seed": recipe.seed,
        "data": found.record(),
        "teacher": teacher
        and {"file": teacher.source, "sha256": teacher.sha256, "arch": teacher.arch},
        "init": init and {"file": init.name, "sha256": file_sha256(init)},
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


def continued_record(
    record: Mapping[str, Any], stored: Mapping[str, Any], has_state: bool
) -> dict[str, Any]:
    """The record of a run that goes on.

    Args:
        record: As ``new_record`` makes it now.
        stored: As the run left it.
        has_state: Whether the run goes on from saved weights, so that what it was started from
            need not be given again.

    Raises:
        ReidEdgeError: The teacher, or the network to start from, is another one than before.
    """
    for what in ("teacher", "init"):
        now, then = record[what], stored.get(what)
        if what == "init" and now is None and has_state:
            continue
        if (now and now["sha256"]) != (then and then["sha256"]):
            raise ReidEdgeError(
                f"The run was started with --{what} {then['file']}, now another file or none is "
                "given; resume with the same."
                if then
                else f"The run was started without --{what}; leave it out to resume."
            )
    return {**record, "init": stored.get("init"), "started": stored.get("started")}


def provenance(
    recipe: Recipe, found: TrainingSet, teacher: LoadedNetwork | None
) -> dict[str, str | int | float]:
    """What each checkpoint of the run says about itself."""
    taught = f", taught by {teacher.arch} ({teacher.source})" if teacher else ""
    return {
        "recipe": f"{recipe.name}{taught}",
        "training_data": f"{found.name} ({found.layout}): {len(found.crops)} images of "
        f"{found.identities} people",
        "seed": recipe.seed,
    }


def machine_change(record: Mapping[str, Any], stored: Mapping[str, Any]) -> str | None:
    """What differs between the machine a run goes on on and that it was on, as a line for people."""
    facts = [
        (name, entry.get(name), now.get(name))
        for now, entry, names in (
            (record, stored, ("device", "threads")),
            (record["versions"], stored.get("versions", {}), ("torch", "numpy", "opencv")),
        )
        for name in names
    ]
    changed = [f"{name} {then}, now {now}" for name, then, now in facts if then != now]
    if not changed:
        return None
    return (
        f"the run was on another machine or set-up ({'; '.join(changed)}): images come in the same "
        "order, but weights may differ in rounding from those of a run without interruption"
    )


def fingerprint(found: TrainingSet) -> str:
    """Changes with the training images: their order, folders, sizes, people and views.

    What is in the files is not read; another image of the very same size is not noticed. The folder
    itself may be moved.
    """
    above = Path(os.path.commonpath([crop.path.parent for crop in found.crops]))
    digest = hashlib.sha256()
    for crop in found.crops:
        name = crop.path.relative_to(above).as_posix()
        line = (name, _size(crop.path), crop.person, crop.view)
        digest.update(f"{json.dumps(line)}\n".encode())
    return f"{_FINGERPRINT}:{digest.hexdigest()[:16]}"


def check_same_images(then: str, now: str, folder: Path) -> None:
    """Refuse to resume on other images.

    Args:
        then, now: Fingerprints of the run's start and of today.
        folder: The run's folder.

    Raises:
        ReidEdgeError: They differ, or cannot be compared.
    """
    again = f"start again in another --out, from {folder / 'last.pth'} with --init if that is there"
    if ":" not in then:
        raise ReidEdgeError(
            f"{folder} was started by an older reid-edge, which did not note sizes, folders and "
            "views of the training images, so that nobody can tell whether they are the same now; "
            f"resume with that version or {again}."
        )
    if then != now:
        raise ReidEdgeError(
            f"{folder} was started with other training images, labels or views ({then}, now {now}); "
            f"resume with the same or {again}."
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ReidEdgeError(f"Cannot read image {path}: {error.strerror or error}.") from None
