"""The folder of one training run: its state for resuming, its networks, its curves."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
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
        self.problems = path / "problems.txt"

    def check_free(self) -> None:
        """Refuse a folder that holds a run already; one that ended before it kept anything may go.

        Raises:
            ReidEdgeError: It does.
        """
        if self.state.exists() or (self.recipe.exists() and not self._ended_empty()):
            raise ReidEdgeError(
                f"{self.path} already holds a training run; continue it with --resume or give "
                "another --out."
            )

    def _ended_empty(self) -> bool:
        """Whether a run failed or was stopped here with nothing to continue or to export."""
        if self.last.exists() or self.best.exists():
            return False
        try:
            record = self.stored_record()
        except ReidEdgeError:
            return False
        return record is not None and record.get("status") in ("failed", "interrupted")

    def discard(self) -> None:
        """Take a run away that never began to train, and its folder if nothing else is in it."""
        for path in (self.recipe, self.record, self.teacher, self.problems):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()

    def create(self, recipe: Mapping[str, Any]) -> None:
        """Start a new run.

        Raises:
            ReidEdgeError: The folder holds a run already, or cannot be made.
        """
        self.check_free()
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.record.unlink(missing_ok=True)  # of a run that ended before it kept anything
        write_text(self.recipe, yaml.safe_dump(dict(recipe), sort_keys=False))

    def stored_recipe(self) -> dict[str, Any]:
        """The recipe the run was started with.

        Raises:
            ReidEdgeError: There is no run here.
        """
        if not self.recipe.is_file():
            raise ReidEdgeError(f"No training run in {self.path} to resume; leave out --resume.")
        return _mapping(self.recipe, yaml.safe_load)

    def stored_record(self) -> dict[str, Any] | None:
        """``run.json``, or None where the run was stopped before its first.

        Raises:
            ReidEdgeError: A damaged file.
        """
        return _mapping(self.record, json.loads) if self.record.is_file() else None

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace ``state.pt``; a crash or a full disk leaves the old one."""
        buffer = io.BytesIO()  # torch's own file writer reports a full disk in many ways
        torch.save({"schema": STATE_SCHEMA, **state}, buffer)
        replace_file(self.state, lambda part: part.write_bytes(buffer.getbuffer()))

    def load_state(self) -> dict[str, Any] | None:
        """Contents of ``state.pt``, or None where the run was stopped before its first.

        Raises:
            ReidEdgeError: A damaged file, or one of another version.
        """
        if not self.state.is_file():
            return None
        try:
            with zipfile.ZipFile(self.state) as archive:
                if damaged := archive.testzip():  # torch does not compare the checksums
                    raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = " ".join(str(error).split())[:200]
            raise ReidEdgeError(
                f"{self.state} cannot be read ({reason}); start again in another --out, from "
                f"{self.last} with --init if that is there."
            ) from None
        schema = state.get("schema") if isinstance(state, dict) else None
        if schema != STATE_SCHEMA:
            raise ReidEdgeError(
                f"{self.state} has schema {schema!r}, expected {STATE_SCHEMA}; resume with the "
                "version of reid-edge that wrote it."
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

        replace_file(self.curves_csv, write)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace ``run.json``."""
        write_text(self.record, json.dumps(record, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a text file; errors as ``replace_file``."""
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a temporary file, then put it in place of ``path``.

    Raises:
        ReidEdgeError: Full disk or no permission; ``path`` is as it was.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")  # the suffix decides some formats
    with explained(path):
        try:
            write(part)
            with open(part, "rb+") as file:
                os.fsync(file.fileno())  # else a power failure could leave an empty file
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def _mapping(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """A file of the run that holds a mapping."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        content = " ".join(str(error).split())
    if not isinstance(content, dict):
        raise ReidEdgeError(
            f"{path} is damaged ({str(content)[:200]}); start again in another --out."
        )
    return content


@contextmanager
def explained(path: Path, remedy: str = "continue with --resume"):
    """Turn a failed write into one sentence; ``remedy`` is what to do once there is space."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ReidEdgeError(
                f"The disk is full while writing {path}; free some space and {remedy}."
            ) from None
        raise ReidEdgeError(f"Cannot write {path}: {error.strerror or error}.") from None
