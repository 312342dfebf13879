"""What is wrong with the files of a training set: images that cannot be read, or show two people."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image
from training.data import TrainingCrop, TrainingSet

PROBLEMS_FILE = "problems.txt"
_NAMED = 3  # files named in an error; all are said before it
_THREADS = 4

Progress = Callable[[str, int], Any]
Result = TypeVar("Result")


def check_images(
    training_set: TrainingSet,
    progress: Progress,
    say: Callable[[str], Any],
    skip_unreadable: bool = False,
) -> TrainingSet:
    """Read every image; what is wrong with the files becomes problems of the set.

    Args:
        training_set: The images.
        progress: ``progress(label, total)`` makes a bar with ``update(n)`` and ``close()``.
        say: Receives each problem in a line of its own, if the images are refused.
        skip_unreadable: Leave out what cannot be decoded instead of refusing.

    Raises:
        ReidEdgeError: Images cannot be decoded, or too few are left to train on.
    """
    unreadable = unreadable_images(training_set.crops, progress)
    readable = [crop for crop in training_set.crops if crop.path not in unreadable]
    found = training_set.with_problems(
        [*unreadable.values(), *shared_images(readable, progress)],
    )
    try:
        if unreadable and not skip_unreadable:
            named = " ".join(list(unreadable.values())[:_NAMED])
            more = " ...; all are listed above" if len(unreadable) > _NAMED else ""
            raise ReidEdgeError(
                f"{len(unreadable)} of {len(found.crops)} training images cannot be read ({named}"
                f"{more}); remove them or pass --skip-unreadable."
            )
        return found.reduced(readable, "that cannot be read")
    except ReidEdgeError:
        for problem in found.problems:
            say(problem)
        raise


def unreadable_images(crops: Sequence[TrainingCrop], progress: Progress) -> dict[Path, str]:
    """Decode every image once: a sentence per file that is missing, empty, cut short or no image."""

    def sentence(crop: TrainingCrop) -> str | None:
        try:
            read_image(crop.path)
        except ReidEdgeError as error:
            return str(error)
        return None

    said = zip(crops, _on_threads(sentence, crops, "checking images", progress))
    return {crop.path: problem for crop, problem in said if problem is not None}


def shared_images(crops: Sequence[TrainingCrop], progress: Progress) -> list[str]:
    """A sentence per image that lies, byte for byte the same, under several people."""
    sizes: dict[int, list[TrainingCrop]] = defaultdict(list)
    for crop in crops:
        sizes[_read(crop.path, lambda path: path.stat().st_size)].append(crop)
    alike = [crop for same in sizes.values() if _people(same) > 1 for crop in same]

    def digest(crop: TrainingCrop) -> bytes:
        return hashlib.sha256(_read(crop.path, Path.read_bytes)).digest()

    contents: dict[bytes, list[TrainingCrop]] = defaultdict(list)
    for crop, content in zip(alike, _on_threads(digest, alike, "comparing images", progress)):
        contents[content].append(crop)
    return [
        f"{' and '.join(str(crop.path) for crop in same)} are one image under {_people(same)} "
        "people, and trained on as both; remove the wrong one."
        for same in contents.values()
        if _people(same) > 1
    ]


def write_problems(training_set: TrainingSet, folder: Path) -> str | None:
    """Write every problem of the set to ``problems.txt``, if there are any.

    Returns:
        A line for people that says so.

    Raises:
        ReidEdgeError: The file cannot be written.
    """
    if not training_set.problems:
        return None
    path = folder / PROBLEMS_FILE
    try:
        path.write_text("\n".join((*training_set.problems, "")), encoding="utf-8")
    except OSError as error:
        raise ReidEdgeError(f"Cannot write {path}: {error.strerror or error}.") from None
    return f"{path} names all files with problems: {len(training_set.problems):,}"


def _people(crops: Iterable[TrainingCrop]) -> int:
    return len({crop.person for crop in crops})


def _read(path: Path, how: Callable[[Path], Result]) -> Result:
    try:
        return how(path)
    except OSError as error:  # it could be read a moment ago
        raise ReidEdgeError(f"Cannot read image {path}: {error.strerror or error}.") from None


def _on_threads(
    work: Callable[[TrainingCrop], Result],
    crops: Sequence[TrainingCrop],
    label: str,
    progress: Progress,
) -> list[Result]:
    """Results in the order of the crops, with a bar."""
    bar = progress(label, len(crops))
    results = []
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            for result in pool.map(work, crops):
                results.append(result)
                bar.update(1)
    finally:
        bar.close()
    return results
