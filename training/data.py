"""Labelled training images of a data set: who, seen by which camera, from which side.

| layout | where | identity |
|---|---|---|
| ``market1501``, ``dukemtmc``, ``cuhk03-np`` | ``bounding_box_train/`` | file name |
| ``msmt17`` | ``list_train.txt`` and, on request, ``list_val.txt``; V1 or V2 | list |
| ``cuhk03`` | a folder of images under CUHK03's own names, and the new protocol's ``.mat`` | protocol |
| ``folders`` | one folder per identity; cameras from the names if all have one | folder |

A folder ``rear``, ``front`` or ``side`` around images says their view, below an identity or not.
``cuhk-03.mat`` itself is turned into ``cuhk03-np`` by ``training.cuhk03``. Junk (identity -1), the
distractors of Market-1501 (identity 0) and files without a label are left out and counted. Folders
of queries and gallery images are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from calibration.layouts import UNKNOWN, VIEWS
from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image
from training.labels import LAYOUTS, Labelled, read_labels
from training.views import read_views, same_file_key

# Names that say which part of a data set a folder is, not which data set.
_PART_NAMES = ("bounding_box_train", "train", "train_all", "mask_train_v2", "labeled", "detected")
_NAMED = 5  # files named in a report; all are in ``problems``
_DECODE_THREADS = 4


@dataclass(frozen=True)
class TrainingCrop:
    """One labelled image.

    Attributes:
        path: The image file.
        person: Label, from 0 without gaps over the training set.
        person_name: Identity as the data set writes it.
        camera_id: Camera as numbered by the data set; -1 where unknown.
        view: ``"rear"``, ``"front"``, ``"side"``, or None where unknown.
    """

    path: Path
    person: int
    person_name: str
    camera_id: int = UNKNOWN
    view: str | None = None


@dataclass(frozen=True)
class TrainingSet:
    """The images a network is trained on.

    Attributes:
        name: Name of the folder.
        layout: One of ``LAYOUTS``.
        crops: The images; labels run from 0 to ``identities - 1``.
        left_out: Reason to number of images that are not used.
        problems: One sentence per file that is not used because something is wrong with it.
    """

    name: str
    layout: str
    crops: tuple[TrainingCrop, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def identities(self) -> int:
        """Number of people, the classes of a classifier."""
        return len({crop.person for crop in self.crops})

    @property
    def cameras(self) -> tuple[int, ...]:
        """Known cameras, in order."""
        return tuple(sorted({crop.camera_id for crop in self.crops} - {UNKNOWN}))

    def record(self) -> dict[str, Any]:
        """JSON-able counts, for reports and checkpoints."""
        each = sorted(Counter(crop.person for crop in self.crops).values())
        views = Counter(crop.view or "unknown" for crop in self.crops)
        return {
            "name": self.name,
            "layout": self.layout,
            "images": len(self.crops),
            "identities": self.identities,
            "cameras": list(self.cameras),
            "images_per_identity": {"min": each[0], "median": median(each), "max": each[-1]},
            "views": {view: views[view] for view in (*VIEWS, "unknown") if views[view]},
            "left_out": dict(self.left_out),
            "problems": len(self.problems),
        }

    def report(self) -> str:
        """What is used and what is not, a few lines for people."""
        facts = self.record()
        each = facts["images_per_identity"]
        cameras = f"{len(self.cameras)} cameras" if self.cameras else "unknown cameras"
        lines = [
            f"{self.name} ({self.layout}): {len(self.crops):,} images of {self.identities:,} "
            f"identities, {cameras}",
            f"images per identity: {each['min']} to {each['max']}, median {each['median']:g}",
        ]
        if set(facts["views"]) != {"unknown"}:
            views = ", ".join(f"{view} {count:,}" for view, count in facts["views"].items())
            lines.append(f"views: {views}")
        if self.left_out:
            reasons = ", ".join(f"{count:,} {why}" for why, count in self.left_out.items())
            lines.append(f"left out: {reasons}")
        if self.problems:
            more = len(self.problems) - _NAMED
            named = " ".join(self.problems[:_NAMED])
            lines.append(f"problems: {named}" + (f" And {more:,} more." if more > 0 else ""))
        return "\n".join(lines)


def open_training_set(
    root: str | Path,
    *,
    layout: str | None = None,
    include_val: bool = False,
    protocol: str | Path | None = None,
    views: str | Path | None = None,
) -> TrainingSet:
    """Find the training images of a data set and label them; no image is decoded.

    Args:
        root: The data set's root or its training folder.
        layout: One of ``LAYOUTS``; None recognises it. It must be given where file names and folders
            say different identities.
        include_val: MSMT17: also train on ``list_val.txt``. Published results usually do not.
        protocol: CUHK03 under its own file names: ``cuhk03_new_protocol_config_*.mat``.
        views: CSV file ``path,view`` with paths relative to ``root``. Labels of existing files that
            are not trained on have no effect.

    Raises:
        ReidEdgeError: No such folder, test images, unknown or contradicting layout, an option of
            another layout, a malformed list or CSV file, fewer than two identities, or fewer than
            two identities with at least two images.
    """
    root = Path(root)
    if layout is not None and layout not in LAYOUTS:
        raise ReidEdgeError(f"Expected the layout {', '.join(LAYOUTS)}, got {layout!r}.")
    if root.suffix == ".mat" or (root / "cuhk-03.mat").is_file():
        raise ReidEdgeError(
            f"{root} holds CUHK03 as a .mat file, which training cannot read directly; extract it "
            "first with `reid-train data` and give the folder labeled or detected."
        )
    if not root.is_dir():
        raise ReidEdgeError(f"No training folder {root}; give a data set's root.")
    labels = read_labels(root, layout, include_val, protocol)
    images = labels.images if views is None else _with_views(labels.images, views, root)
    numbers = {name: i for i, name in enumerate(sorted({image.identity for image in images}))}
    opened = TrainingSet(
        name=_name(root),
        layout=labels.layout,
        crops=tuple(
            TrainingCrop(path, numbers[identity], str(identity), camera_id, view)
            for path, identity, camera_id, view in images
        ),
        left_out=labels.left_out,
        problems=tuple(labels.problems),
    )
    _check_usable(opened)
    return opened


def limit_identities(training_set: TrainingSet, count: int) -> TrainingSet:
    """The first ``count`` identities by label, for short trials; all, if there are fewer.

    Raises:
        ReidEdgeError: Too few to train on.
    """
    if count < 2:
        raise ReidEdgeError(f"Training needs at least 2 identities, got a limit of {count}.")
    kept = [crop for crop in training_set.crops if crop.person < count]
    return _keep(training_set, kept, f"of identities beyond the first {count}", ())


def check_readable(training_set: TrainingSet, progress: Callable[[str, int], Any]) -> list[str]:
    """Decode every image once.

    Args:
        training_set: The images.
        progress: ``progress(label, total)`` makes a bar with ``update(n)`` and ``close()``.

    Returns:
        One sentence per image that is missing, empty, cut short or no image.
    """
    return list(_unreadable(training_set, progress).values())


def leave_out_unreadable(
    training_set: TrainingSet, progress: Callable[[str, int], Any]
) -> TrainingSet:
    """The images that ``check_readable`` has nothing against; the others become problems.

    Raises:
        ReidEdgeError: Too few are left to train on.
    """
    unreadable = _unreadable(training_set, progress)
    kept = [crop for crop in training_set.crops if crop.path not in unreadable]
    return _keep(training_set, kept, "that cannot be read", unreadable.values())


def _unreadable(training_set: TrainingSet, progress: Callable[[str, int], Any]) -> dict[Path, str]:
    def sentence(crop: TrainingCrop) -> str | None:
        try:
            read_image(crop.path)
        except ReidEdgeError as error:
            return str(error)
        return None

    bar = progress("checking images", len(training_set.crops))
    problems = {}
    try:
        with ThreadPoolExecutor(_DECODE_THREADS) as pool:
            for crop, problem in zip(training_set.crops, pool.map(sentence, training_set.crops)):
                if problem is not None:
                    problems[crop.path] = problem
                bar.update(1)
    finally:
        bar.close()
    return problems


def _keep(
    training_set: TrainingSet, crops: list[TrainingCrop], reason: str, problems: Iterable[str]
) -> TrainingSet:
    """A set of some of the crops, people numbered again."""
    dropped = len(training_set.crops) - len(crops)
    if not dropped:
        return training_set
    labels = {person: i for i, person in enumerate(sorted({crop.person for crop in crops}))}
    smaller = replace(
        training_set,
        crops=tuple(replace(crop, person=labels[crop.person]) for crop in crops),
        left_out={**training_set.left_out, reason: dropped},
        problems=(*training_set.problems, *problems),
    )
    _check_usable(smaller)
    return smaller


def _with_views(images: list[Labelled], csv_path: str | Path, root: Path) -> list[Labelled]:
    """The images with the views of a CSV file, which may not contradict the folders."""
    labels = read_views(csv_path, root)
    viewed = []
    for image in images:
        label = labels.get(same_file_key(image.path))
        if label is not None and image.view not in (None, label.view):
            raise ReidEdgeError(
                f"Line {label.line} of {csv_path} says {label.view}, but {image.path} lies in the "
                f"folder {image.view}; correct one of them."
            )
        viewed.append(image if label is None else image._replace(view=label.view))
    if all(image.view is None for image in viewed):
        raise ReidEdgeError(
            f"{csv_path} labels none of the training images in {root}; paths are relative to that "
            "folder."
        )
    return viewed


def _name(root: Path) -> str:
    folder = root.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in _PART_NAMES else folder.name


def _check_usable(training_set: TrainingSet) -> None:
    """Refuse what no loss can learn from."""
    each = Counter(crop.person for crop in training_set.crops)
    problems = " ".join(("", *training_set.problems[:1]))
    if len(each) < 2:
        raise ReidEdgeError(
            f"Training needs images of at least 2 identities, got {len(each)} in "
            f"{training_set.name}; give more people.{problems}"
        )
    if sum(count > 1 for count in each.values()) < 2:
        raise ReidEdgeError(
            f"Training needs at least 2 identities with 2 images or more, but {training_set.name} "
            f"has {len(training_set.crops)} images of {len(each)} identities; add images."
        )
