"""Find training crops in any image folder or re-identification data set.

| layout | where | person, camera from |
|---|---|---|
| ``market1501`` | ``bounding_box_train/0002_c1s1_000451_03.jpg`` | file name |
| ``dukemtmc`` | ``bounding_box_train/0001_c2_f0046182.jpg`` | file name |
| ``cuhk03-np`` | ``bounding_box_train/0001_c1_1.png`` | file name |
| ``msmt17`` | ``list_train.txt``, ``list_val.txt``: lines ``relative/path id`` | list; file name |
| ``folders`` | one folder per identity | folder; -1 |
| ``flat`` | images of any name | -1; -1 |

Query and gallery crops are refused: ranges fitted to the test set would flatter its accuracy.
Hidden files and folders, and those that systems make, are passed over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ReidEdgeError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
# Photographs in formats that OpenCV does not read everywhere; they are named, not taken.
OTHER_IMAGE_SUFFIXES = frozenset(
    {".avif", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".tif", ".tiff"}
)
# Folders around images that say from which side people are seen.
VIEWS = ("rear", "front", "side")
UNKNOWN = -1

_TRAIN_FOLDERS = ("bounding_box_train", "train_all", "train")
_TEST_FOLDERS = frozenset(
    {
        "query",
        "gallery",
        "bounding_box_test",
        "multi-query",
        "gt_query",
        "gt_bbox",
        "mask_test_v2",
    }
)
# What systems put beside images: thumbnails of a NAS, leavings of archives, deleted files.
_SYSTEM_FOLDERS = frozenset({"__macosx", "#recycle", "#snapshot", "$recycle.bin", "lost+found"})
# Too common a word to refuse where it is only some parent of the folder given.
_TEST_FOLDERS_HERE = _TEST_FOLDERS | {"test"}
_MSMT17_LISTS = ("list_train.txt", "list_val.txt")
_MSMT17_FOLDERS = ("train", "mask_train_v2", "")

# person_camera[sequence]_[f]frame; the sequence marks Market-1501, the f DukeMTMC.
_REID_NAME = re.compile(r"(-1|\d+)_c(\d+)(s\d+)?_(f?)\d+")
# person_number_camera_time...; the person counts from 0 within the split.
_MSMT17_NAME = re.compile(r"(\d{4})_\d{3}_(\d{2})_\d{4}(?:morning|noon|afternoon)_")


@dataclass(frozen=True)
class Crop:
    """One image of one person.

    Attributes:
        path: The image file.
        person_id: Identity; -1 where unknown or junk.
        camera_id: Camera, as numbered by the data set; -1 where unknown.
    """

    path: Path
    person_id: int = UNKNOWN
    camera_id: int = UNKNOWN


def parse_reid_name(file_name: str) -> tuple[int, int] | None:
    """Person and camera from a Market-1501, DukeMTMC, CUHK03-np or MSMT17 file name.

    Args:
        file_name: Name without folders. Person -1 is junk, 0 a distractor (Market-1501).

    Returns:
        ``(person_id, camera_id)``, or None for a name of another form.
    """
    match = _REID_NAME.match(file_name) or _MSMT17_NAME.match(file_name)
    return (int(match[1]), int(match[2])) if match else None


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or made by a system."""
    return name.startswith((".", "@")) or name.lower() in _SYSTEM_FOLDERS


def training_crops(root: str | Path) -> tuple[list[Crop], str]:
    """List the training crops under a folder.

    Args:
        root: A data set's root, its training folder, or any folder of images, nested or not.

    Returns:
        The crops sorted by path, and the layout's name from the table above.

    Raises:
        ReidEdgeError: The folder is missing, holds no images, is (or lies in, or contains) a folder
            of test crops, or an MSMT17 list is malformed or names a missing file.
    """
    root = Path(root)
    if not root.is_dir():
        raise ReidEdgeError(f"Expected a folder of calibration crops, but {root} is no folder.")
    _refuse_test_folder(root)
    if (root / _MSMT17_LISTS[0]).is_file():
        return _msmt17_crops(root), "msmt17"
    root = _training_folder(root)
    paths = _files_under(root, IMAGE_SUFFIXES)
    if not paths:
        others = Counter(path.suffix.lower() for path in _files_under(root, OTHER_IMAGE_SUFFIXES))
        found = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(others.items()))
        raise ReidEdgeError(
            f"No images found under {root}; expected {', '.join(sorted(IMAGE_SUFFIXES))} files"
            + (f", got {found}; convert them to .jpg or .png." if found else ".")
        )
    return _labelled(root, paths)


def images_not_read(root: str | Path) -> list[Path]:
    """Photographs among the training images whose format is not read, sorted by path.

    Args:
        root: As for ``training_crops``, which must have accepted it. Where lists name the images
            (MSMT17) there are none.
    """
    root = Path(root)
    if (root / _MSMT17_LISTS[0]).is_file():
        return []
    return _files_under(_training_folder(root), OTHER_IMAGE_SUFFIXES)


def _training_folder(root: Path) -> Path:
    """The folder of training crops in a data set's root, or the folder itself."""
    return next((root / name for name in _TRAIN_FOLDERS if (root / name).is_dir()), root)


def _refuse_test_folder(root: Path) -> None:
    for path in (root.absolute(), root.resolve()):
        for part in path.parts:
            if part.lower() in (_TEST_FOLDERS_HERE if part == path.name else _TEST_FOLDERS):
                raise ReidEdgeError(
                    f"{root} holds test crops ({part}), and calibration may only see training "
                    "crops; give the data set's root or its training folder."
                )


def _files_under(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """All files of these suffixes, at any depth, sorted by path."""
    try:
        return sorted(path for path in _visible(folder) if path.suffix.lower() in suffixes)
    except OSError as error:
        raise ReidEdgeError(f"Cannot list {error.filename}: {error.strerror}.") from None


def _visible(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if is_hidden(entry.name):
            continue
        if not entry.is_dir():
            yield entry
        elif entry.name.lower() in _TEST_FOLDERS_HERE:
            raise ReidEdgeError(
                f"{folder} contains test crops ({entry.name}) and no training folder "
                f"({', '.join(_TRAIN_FOLDERS)}); give the folder of training crops itself."
            )
        else:
            yield from _visible(entry)


def _labelled(root: Path, paths: list[Path]) -> tuple[list[Crop], str]:
    parsed = [parse_reid_name(path.name) for path in paths]
    if sum(label is not None for label in parsed) > len(paths) / 2:
        crops = [Crop(path, *(label or ())) for path, label in zip(paths, parsed)]
        return crops, _layout_of_name(next(p.name for p, label in zip(paths, parsed) if label))
    folders = sorted({path.parent.relative_to(root) for path in paths} - {Path()})
    if not folders:
        return [Crop(path) for path in paths], "flat"
    if all(folder.name.isdecimal() for folder in folders):
        ids = {folder: int(folder.name) for folder in folders}
    else:
        ids = {folder: number for number, folder in enumerate(folders)}
    return [Crop(p, ids.get(p.parent.relative_to(root), UNKNOWN)) for p in paths], "folders"


def _layout_of_name(file_name: str) -> str:
    match = _REID_NAME.match(file_name)
    if not match:
        return "msmt17"
    return "market1501" if match[3] else "dukemtmc" if match[4] else "cuhk03-np"


def _msmt17_crops(root: Path) -> list[Crop]:
    crops = []
    for name in _MSMT17_LISTS:
        if not (root / name).is_file():
            continue
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            relative, _, person = line.strip().rpartition(" ")
            label = parse_reid_name(Path(relative).name)
            if not relative or not person.isdecimal() or label is None:
                raise ReidEdgeError(
                    f"Line {number} of {root / name} must be an MSMT17 file name and a person "
                    f"number, got {line[:80]!r}."
                )
            crops.append(Crop(_msmt17_file(root, relative), int(person), label[1]))
    if not crops:
        raise ReidEdgeError(f"The lists {', '.join(_MSMT17_LISTS)} in {root} name no images.")
    return sorted(crops, key=lambda crop: crop.path)


def _msmt17_file(root: Path, relative: str) -> Path:
    for folder in _MSMT17_FOLDERS:
        path = root / folder / relative
        if path.is_file():
            return path
    raise ReidEdgeError(
        f"MSMT17 lists {relative}, but no such file is in {root} or its training folder; "
        "extract the images completely."
    )
