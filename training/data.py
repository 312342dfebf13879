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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from calibration.layouts import UNKNOWN, VIEWS
from runtime.errors import ReidEdgeError
from training.labels import LAYOUTS, Labelled, read_labels
from training.views import read_views, same_file_key

# Names that say which part of a data set a folder is, not which data set.
_PART_NAMES = ("bounding_box_train", "train", "train_all", "mask_train_v2", "labeled", "detected")
_NAMED = 5  # files and people named in a report; all files are in ``problems``


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
        problems: One sentence per file with which something is wrong.
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

    def images_per_person(self) -> dict[str, int]:
        """Number of images by identity, as the data set writes it, in order of the labels."""
        names = {crop.person: crop.person_name for crop in self.crops}
        counts = Counter(crop.person for crop in self.crops)
        return {names[person]: counts[person] for person in sorted(names)}

    def with_problems(self, problems: Iterable[str]) -> TrainingSet:
        """The same with more problems."""
        return replace(self, problems=(*self.problems, *problems))

    def reduced(self, crops: Sequence[TrainingCrop], reason: str) -> TrainingSet:
        """Some of the crops, people numbered again; the others are counted as left out.

        Raises:
            ReidEdgeError: Too few to train on.
        """
        dropped = len(self.crops) - len(crops)
        if not dropped:
            return self
        labels = {person: i for i, person in enumerate(sorted({crop.person for crop in crops}))}
        smaller = replace(
            self,
            crops=tuple(replace(crop, person=labels[crop.person]) for crop in crops),
            left_out={**self.left_out, reason: dropped},
        )
        _check_usable(smaller)
        return smaller

    def record(self) -> dict[str, Any]:
        """JSON-able counts, for reports and checkpoints."""
        each = sorted(self.images_per_person().values())
        cameras = Counter(crop.camera_id for crop in self.crops)
        views = Counter(crop.view or "unknown" for crop in self.crops)
        return {
            "name": self.name,
            "layout": self.layout,
            "images": len(self.crops),
            "identities": self.identities,
            "cameras": list(self.cameras),
            "images_per_camera": {str(camera): cameras[camera] for camera in self.cameras},
            "images_per_identity": {"min": each[0], "median": median(each), "max": each[-1]},
            "views": {view: views[view] for view in (*VIEWS, "unknown") if views[view]},
            "left_out": dict(self.left_out),
            "problems": len(self.problems),
        }

    def report(self, images: int = 1) -> str:
        """What is used and what is not, a few lines for people.

        Args:
            images: How many images of a person a batch shows; who has fewer is said.
        """
        facts = self.record()
        each = facts["images_per_identity"]
        cameras = f"{len(self.cameras)} cameras" if self.cameras else "unknown cameras"
        lines = [
            f"{self.name} ({self.layout}): {len(self.crops):,} images of {self.identities:,} "
            f"identities, {cameras}",
            f"images per identity: {each['min']} to {each['max']}, median {each['median']:g}",
        ]
        few = [name for name, count in self.images_per_person().items() if count < images]
        if few:
            lines.append(
                f"few images: {len(few):,} of {self.identities:,} people have fewer than {images} "
                f"images and are repeated: {_some(few)}"
            )
        if set(facts["views"]) != {"unknown"}:
            views = ", ".join(f"{view} {count:,}" for view, count in facts["views"].items())
            lines.append(f"views: {views}")
        if self.left_out:
            reasons = ", ".join(f"{count:,} {why}" for why, count in self.left_out.items())
            lines.append(f"left out: {reasons}")
        if self.problems:
            lines.append(f"problems: {_first_problems(self)}")
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
    return training_set.reduced(kept, f"of identities beyond the first {count}")


def require_pairs(training_set: TrainingSet) -> None:
    """Refuse a set of which batches of persons with several images would hold few pairs.

    Raises:
        ReidEdgeError: Fewer than half of the people have two images.
    """
    each = training_set.images_per_person()
    alone = sum(count < 2 for count in each.values())
    if 2 * alone > len(each):
        raise ReidEdgeError(
            f"{alone:,} of {len(each):,} people in {training_set.name} have a single image "
            f"({_some([name for name, count in each.items() if count < 2])}), so most of a batch "
            "could not show two images of one person; at least half of the people need two. Add "
            "images, remove these people, or pass --set sampler.kind=uniform with losses that need "
            "no pairs."
        )


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


def _some(names: Sequence[str]) -> str:
    """The first few names, for a sentence."""
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _first_problems(training_set: TrainingSet) -> str:
    more = len(training_set.problems) - _NAMED
    named = " ".join(training_set.problems[:_NAMED])
    return named + (f" And {more:,} more." if more > 0 else "")


def _name(root: Path) -> str:
    folder = root.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in _PART_NAMES else folder.name


def _check_usable(training_set: TrainingSet) -> None:
    """Refuse what no loss can learn from."""
    each = Counter(crop.person for crop in training_set.crops)
    if len(each) < 2:
        problems = _first_problems(training_set)
        raise ReidEdgeError(
            f"Training needs images of at least 2 identities, got {len(each)} in "
            f"{training_set.name}; give more people.{' ' if problems else ''}{problems}"
        )
    if sum(count > 1 for count in each.values()) < 2:
        raise ReidEdgeError(
            f"Training needs at least 2 identities with 2 images or more, but {training_set.name} "
            f"has {len(training_set.crops)} images of {len(each)} identities; add images."
        )
