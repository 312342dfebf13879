"""The record of a run, ``run.json``: what was trained on what, by which versions, on which machine."""

from __future__ import annotations

import hashlib
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


def fingerprint(found: TrainingSet) -> str:
    """Changes with the names, order and labels of the training images."""
    digest = hashlib.sha256()
    for crop in found.crops:
        digest.update(f"{crop.path.name} {crop.person}\n".encode())
    return digest.hexdigest()[:16]
