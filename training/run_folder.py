"""The folder of one training run: its state for resuming, its networks, its curves."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from runtime.errors import ReidEdgeError

STATE_SCHEMA = 1


class RunFolder:
    """Files of a run; everything is written to a temporary name first, then renamed.

    =================  ==================================================================
    ``recipe.yaml``    the recipe with every field filled in
    ``state.pt``       everything needed to continue; overwritten as the run goes on
    ``last.pth``       the network as it is now (its running mean, where the recipe has one)
    ``best.pth``       the network with the best mAP so far, with ``--eval``
    ``curves.csv``     one line per epoch; ``curves.png`` is the same as a picture
    ``run.json``       what was trained on what, by which versions, and how it ended
    =================  ==================================================================

    Args:
        path: The folder; made by ``create``.
    """

    def __init__(self, path: Path):
        self.path = path
        self.recipe, self.state = path / "recipe.yaml", path / "state.pt"
        self.last, self.best = path / "last.pth", path / "best.pth"
        self.curves_csv, self.curves_png = path / "curves.csv", path / "curves.png"
        self.record, self.teacher = path / "run.json", path / "teacher.npz"

    def create(self, recipe: Mapping[str, Any]) -> None:
        """Start a new run.

        Raises:
            ReidEdgeError: The folder holds a run already, or cannot be made.
        """
        if self.state.exists() or self.recipe.exists():
            raise ReidEdgeError(
                f"{self.path} already holds a training run; continue it with --resume or give "
                "another --out."
            )
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.write_text(self.recipe, yaml.safe_dump(dict(recipe), sort_keys=False))

    def stored_recipe(self) -> dict[str, Any]:
        """The recipe the run was started with.

        Raises:
            ReidEdgeError: There is no run here.
        """
        if not self.recipe.is_file():
            raise ReidEdgeError(f"No training run in {self.path} to resume; leave out --resume.")
        return yaml.safe_load(self.recipe.read_text(encoding="utf-8"))

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``state.pt``; a crash or a full disk leaves the old one."""
        self.replace(self.state, lambda part: torch.save({"schema": STATE_SCHEMA, **state}, part))

    def load_state(self) -> dict[str, Any] | None:
        """Contents of ``state.pt``, or None where the run was stopped before its first.

        Raises:
            ReidEdgeError: A damaged file, or one of another version.
        """
        if not self.state.is_file():
            return None
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = str(error).splitlines()[0]
            raise ReidEdgeError(
                f"{self.state} cannot be read ({reason}); start again in another --out."
            ) from None
        if state.get("schema") != STATE_SCHEMA:
            raise ReidEdgeError(
                f"{self.state} has schema {state.get('schema')!r}, expected {STATE_SCHEMA}; "
                "resume with the version of reid-edge that wrote it."
            )
        return state

    def write_curves(self, history: list[dict[str, float]]) -> None:
        """Replace ``curves.csv``: one row per epoch, the union of all columns."""
        columns = list(dict.fromkeys(key for row in history for key in row))

        def write(part: Path) -> None:
            with open(part, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(history)

        self.replace(self.curves_csv, write)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        self.write_text(self.record, json.dumps(record, indent=2) + "\n")

    def write_text(self, path: Path, text: str) -> None:
        """Replace a text file."""
        self.replace(path, lambda part: part.write_text(text, encoding="utf-8"))

    def replace(self, path: Path, write: Callable[[Path], Any]) -> None:
        """Let ``write`` make a temporary file, then put it in place of ``path``.

        Raises:
            ReidEdgeError: Full disk or no permission; ``path`` is as it was.
        """
        part = path.with_name(f".{path.stem}.part{path.suffix}")
        with explained(path):
            try:
                write(part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)


@contextmanager
def explained(path: Path):
    """Turn a failed write into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ReidEdgeError(
                f"The disk is full while writing {path}; free some space and continue with "
                "--resume."
            ) from None
        raise ReidEdgeError(f"Cannot write {path}: {error.strerror or error}.") from None
    except RuntimeError as error:  # torch's zip writer reports a full disk so
        if "PytorchStreamWriter" not in str(error) and "inline_container" not in str(error):
            raise
        raise ReidEdgeError(
            f"Cannot write {path}, probably because the disk is full; free some space and "
            "continue with --resume."
        ) from None
