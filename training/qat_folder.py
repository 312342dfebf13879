"""The folder that quantization-aware fine-tuning makes: reserved before the work, filled behind it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.errors import ReidEdgeError
from training.run_folder import explained

REMEDY = "start again"


class NewFolder:
    """A folder that does not exist yet.

    As a context it is made, empty, on entering, so that a place that cannot be written shows before
    hours of work and nobody else takes it meanwhile. It is removed again on leaving, with the
    parents made for it, unless ``fill`` has succeeded.

    Args:
        path: The folder.
        needed_bytes: What will be written, at least.
    """

    def __init__(self, path: Path, needed_bytes: int):
        self.path, self._needed = path, needed_bytes
        self._made: list[Path] = []  # by us, from the innermost

    def __enter__(self) -> NewFolder:
        """Make the folder.

        Raises:
            ReidEdgeError: It exists, cannot be made, or its disk is too full.
        """
        try:
            with explained(self.path, REMEDY):
                if self.path.exists() or self.path.is_symlink():
                    raise ReidEdgeError(f"{self.path} exists already; give a new folder as --out.")
                missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
                for folder in reversed(missing):
                    folder.mkdir()
                    self._made.insert(0, folder)
                free = shutil.disk_usage(self.path).free
            if free < self._needed:
                raise ReidEdgeError(
                    f"{self.path} needs {self._needed / 1e6:.0f} MB, but its disk has "
                    f"{free / 1e6:.0f} MB free; free some space or give another --out."
                )
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def fill(self, write: Callable[[Path], Any]) -> None:
        """Let ``write`` fill a folder, then put it in the place of the empty one.

        Raises:
            ReidEdgeError: Full disk or no permission; nothing is left behind.
        """
        with explained(self.path, REMEDY):
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".qat-") as made:
                folder = Path(made) / self.path.name
                folder.mkdir()  # a temporary folder itself is private
                write(folder)
                self.path.rmdir()
                folder.rename(self.path)
        self._made = []

    def _remove(self) -> None:
        for folder in self._made:
            try:
                folder.rmdir()
            except OSError:  # somebody has put something there: not ours to remove
                return
