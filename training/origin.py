"""Where a run comes from: the weights it started with, and the images it is judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.datasets import RetrievalSet
from runtime.errors import ReidEdgeError


def origin(record: Mapping[str, Any]) -> dict[str, str]:
    """What checkpoints say about the weights that the run of ``record`` started from."""
    init = record.get("init")
    if not init:
        return {}
    said = {"started_from": f"{init['file']} (SHA-256 {init['sha256'][:12]})"}
    if terms := init.get("terms"):
        said["start_was"] = "; ".join(terms)
    return said


def images_of(evaluation: RetrievalSet) -> dict[str, Any]:
    """An evaluation set in a run's record: enough to know it again after it was moved."""
    digest = hashlib.sha256()
    for part in (evaluation.query, evaluation.gallery):
        names = sorted(f"{crop.path.name} {crop.person_id}" for crop in part)
        digest.update("\n".join([*names, ""]).encode())
    return {
        "name": evaluation.name,
        "queries": len(evaluation.query),
        "gallery": len(evaluation.gallery),
        "images": digest.hexdigest()[:16],
    }


def check_same_evaluation(
    record: Mapping[str, Any], stored: Mapping[str, Any], folder: Path
) -> None:
    """Refuse to go on with other images to judge on: a best network is the best on one set.

    Raises:
        ReidEdgeError: Both the run's start and its continuation name a set, not the same.
    """
    now, then = record.get("evaluation"), stored.get("evaluation")
    if now and then and now["images"] != then["images"]:
        raise ReidEdgeError(
            f"{folder} was judged on {then['name']} with {then['queries']} queries and "
            f"{then['gallery']} gallery images, now other images are given with --eval "
            f"({now['name']}: {now['queries']} and {now['gallery']}); leave --eval out to resume, "
            "or start again in another --out."
        )
