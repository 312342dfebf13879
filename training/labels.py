"""Who is on each training image, by the rules of each data set layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from calibration.layouts import (
    UNKNOWN,
    VIEWS,
    Crop,
    images_not_read,
    parse_reid_name,
    training_crops,
)
from runtime.errors import ReidEdgeError
from training.cuhk03 import files_by_stem, missing_image
from training.cuhk03_mat import RAW_NAME, read_new_protocol

LAYOUTS = ("market1501", "dukemtmc", "cuhk03-np", "msmt17", "cuhk03", "folders")

_JUNK, _DISTRACTOR = -1, 0
_MSMT17_TRAIN, _MSMT17_VAL = "list_train.txt", "list_val.txt"


class Labelled(NamedTuple):
    """One labelled image.

    Attributes:
        path: The image file.
        identity: Number or folder name, as the data set writes it; one kind per data set.
        camera_id: Camera as numbered by the data set; -1 where unknown.
        view: One of ``calibration.layouts.VIEWS``, or None where unknown.
    """

    path: Path
    identity: int | str
    camera_id: int
    view: str | None = None


class Labels(NamedTuple):
    """The images of a folder.

    Attributes:
        layout: One of ``LAYOUTS``.
        images: Those to train on, sorted by path.
        left_out: Reason to number of images that are no training images.
        problems: One sentence per file that has no label, or a format that is not read.
    """

    layout: str
    images: list[Labelled]
    left_out: dict[str, int]
    problems: list[str]


def read_labels(
    root: Path, layout: str | None, include_val: bool, protocol: str | Path | None
) -> Labels:
    """Label the training images of a folder; arguments and errors as ``open_training_set``."""
    crops, recognised = training_crops(root)
    layout = _chosen_layout(root, crops, recognised, layout, protocol)
    if include_val and layout != "msmt17":
        raise ReidEdgeError(
            f"Only MSMT17 has validation images to train on, but {root} is {layout}; leave the "
            "option out."
        )
    if layout == "cuhk03":
        return _from_protocol(root, protocol)  # type: ignore[arg-type]
    if layout == "msmt17":
        return _from_msmt17_lists(root, crops, include_val)
    if layout == "folders":
        labels = _from_folders(root, [crop.path for crop in crops])
    else:
        labels = _from_names(root, crops, layout)
    return _with_images_not_read(labels, root)


def _with_images_not_read(labels: Labels, root: Path) -> Labels:
    """The labels, and a problem for each photograph of a format that is not read."""
    others = images_not_read(root)
    if not others:
        return labels
    problems = [
        f"{path.relative_to(root)} is of a format that is not read; convert it to .jpg or .png."
        for path in others
    ]
    suffixes = ", ".join(sorted({path.suffix.lower() for path in others}))
    return labels._replace(
        left_out={**labels.left_out, f"of formats that are not read ({suffixes})": len(others)},
        problems=[*labels.problems, *problems],
    )


def _chosen_layout(
    root: Path, crops: list[Crop], recognised: str, wanted: str | None, protocol: object
) -> str:
    """The layout to read, or an error that says why it is not the one wanted."""
    if protocol is not None:
        if wanted not in (None, "cuhk03"):
            raise ReidEdgeError(
                f"A protocol file goes with layout cuhk03, but {wanted} was asked for; leave one "
                "of them out."
            )
        return "cuhk03"
    if wanted == "folders":
        return wanted
    own_names = sum(bool(RAW_NAME.match(crop.path.stem)) for crop in crops)
    if wanted == "cuhk03" or own_names > len(crops) / 2:
        raise ReidEdgeError(
            f"CUHK03 under its own file names, as in {root}, needs a protocol that says which "
            "images train: give cuhk03_new_protocol_config_labeled.mat or _detected.mat."
        )
    if recognised == "flat":
        raise ReidEdgeError(
            f"The images in {root} have no identity ({crops[0].path.name}); expected names like "
            "0002_c1s1_000451_03.jpg or one folder per identity."
        )
    if wanted not in (None, recognised):
        raise ReidEdgeError(
            f"{root} was to be {wanted}, but its names are those of {recognised}; check the folder "
            "or leave the layout out."
        )
    if wanted is None and recognised != "msmt17":
        _refuse_two_meanings(crops, recognised)
    if recognised == "msmt17" and not (root / _MSMT17_TRAIN).is_file():
        raise ReidEdgeError(
            f"MSMT17 says in {_MSMT17_TRAIN} which images train, which is not in {root}; give the "
            "data set's root."
        )
    return recognised


def _refuse_two_meanings(crops: list[Crop], layout: str) -> None:
    """Refuse images in folders whose names and file names say different identities."""
    if len({_home(crop.path)[0] for crop in crops}) == 1:
        return  # one folder of images, whose name means nothing
    for crop in crops:
        folder = _home(crop.path)[0].name
        same = folder.lstrip("-").isdecimal() and int(folder) == crop.person_id
        if crop.camera_id != UNKNOWN and not same:
            raise ReidEdgeError(
                f"{crop.path} is identity {crop.person_id} by its name but {folder} by its folder; "
                f"say which one is right with the layout {layout} or folders."
            )


def _home(path: Path) -> tuple[Path, str | None]:
    """The folder an image lies in apart from a folder of a view, and that view."""
    view = path.parent.name.lower()
    return (path.parent.parent, view) if view in VIEWS else (path.parent, None)


def _from_names(root: Path, crops: list[Crop], layout: str) -> Labels:
    """Market-1501, DukeMTMC-reID and CUHK03-NP."""
    images, left_out, problems = [], Counter[str](), []
    for crop in crops:
        if crop.camera_id == UNKNOWN:  # junk has a camera; only an unreadable name has none
            problems.append(
                f"{crop.path.relative_to(root)} has no identity in its name; expected one like "
                "0002_c1s1_000451_03.jpg."
            )
        elif crop.person_id == _JUNK:
            left_out["junk (identity -1)"] += 1
        elif crop.person_id == _DISTRACTOR and layout == "market1501":
            left_out["distractors (identity 0)"] += 1
        else:
            images.append(Labelled(crop.path, crop.person_id, crop.camera_id, _home(crop.path)[1]))
    return _labels(layout, images, left_out, problems)


def _from_msmt17_lists(root: Path, crops: list[Crop], include_val: bool) -> Labels:
    """MSMT17's training list; both lists were checked and joined by ``training_crops``."""
    images = [Labelled(crop.path, crop.person_id, crop.camera_id) for crop in crops]
    if include_val:
        if not (root / _MSMT17_VAL).is_file():
            raise ReidEdgeError(f"No {_MSMT17_VAL} in {root}; add it or train without validation.")
        return _labels("msmt17", images, Counter(), [])
    train = (root / _MSMT17_TRAIN).read_text(encoding="utf-8").splitlines()
    # The name holds person, camera and time, so it is unique without its folder.
    names = {Path(line.strip().rpartition(" ")[0]).name for line in train}
    kept = [image for image in images if image.path.name in names]
    left_out = Counter({f"for validation ({_MSMT17_VAL})": len(images) - len(kept)})
    return _labels("msmt17", kept, left_out, [])


def _from_protocol(root: Path, protocol: str | Path) -> Labels:
    """CUHK03 under its own file names."""
    files = files_by_stem(root)
    images = []
    for entry in read_new_protocol(protocol).train:
        if entry.stem not in files:
            raise missing_image(entry.stem, root)
        images.append(Labelled(files[entry.stem], entry.person, entry.camera))
    return _labels("cuhk03", images, Counter(), [])


def _from_folders(root: Path, paths: list[Path]) -> Labels:
    """One folder per identity, all in one parent, with optional folders of views inside."""
    homes = [(path, *_home(path)) for path in paths]
    parents = Counter(home.parent for _, home, _ in homes if root in home.parents)
    base = max(parents, key=lambda parent: parents[parent], default=root)
    images, left_out, problems = [], Counter[str](), []
    for path, home, view in homes:
        if home in (base, root):
            problems.append(f"{path.relative_to(root)} lies in no folder of an identity.")
        elif home.parent != base:
            raise ReidEdgeError(
                f"Expected one folder per identity in {base}, but {path} lies elsewhere; inside an "
                f"identity there may be {', '.join(VIEWS)} and nothing else."
            )
        elif home.name == str(_JUNK):
            left_out["junk (identity -1)"] += 1
        else:
            images.append(Labelled(path, home.name, UNKNOWN, view))
    names = [parse_reid_name(image.path.name) for image in images]
    if all(names):
        images = [image._replace(camera_id=name[1]) for image, name in zip(images, names) if name]
    return _labels("folders", images, left_out, problems)


def _labels(
    layout: str, images: list[Labelled], left_out: Counter[str], problems: list[str]
) -> Labels:
    left_out["without a label"] = len(problems)
    counts = {reason: count for reason, count in left_out.items() if count}
    return Labels(layout, sorted(images, key=lambda image: image.path), counts, problems)
