"""Evaluation sets in the layouts the field uses: which crops are queries, which are the gallery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.metrics import JUNK_ID
from calibration.layouts import (
    IMAGE_SUFFIXES,
    UNKNOWN,
    VIEWS,
    Crop,
    is_hidden,
    parse_reid_name,
)
from runtime.errors import ReidEdgeError

_EXPECTED = (
    "expected query/ and bounding_box_test/ (Market-1501, DukeMTMC-reID, CUHK03-NP), "
    "list_query.txt and list_gallery.txt (MSMT17), query/<id>/ and gallery/<id>/, or one folder "
    "per identity, with images or rear/, front/ and side/ in it"
)


@dataclass(frozen=True)
class RetrievalSet:
    """Queries and gallery of one evaluation, and how they were chosen.

    Attributes:
        name: Name of the folder.
        query, gallery: Crops with identity and camera; junk is left out already.
        layout: ``"market"``, ``"msmt17"``, ``"split_folders"`` or ``"identity_folders"``.
        cameras: ``"from names"``, or ``"unknown"``: then each image counts as its own camera, so
            the protocol removes nothing but the query itself.
        n_junk: Images left out because their identity is -1.
        seed: Seed of the query choice; None where the layout itself names the queries.
    """

    name: str
    query: list[Crop]
    gallery: list[Crop]
    layout: str
    cameras: str
    n_junk: int
    seed: int | None = None

    def record(self) -> dict[str, Any]:
        """JSON-able counts and choices, for reports."""
        query_ids = {crop.person_id for crop in self.query}
        return {
            "name": self.name,
            "layout": self.layout,
            "cameras": self.cameras,
            "seed": self.seed,
            "queries": len(self.query),
            "gallery": len(self.gallery),
            "identities": len(query_ids),
            "distractors": sum(crop.person_id not in query_ids for crop in self.gallery),
            "junk": self.n_junk,
        }


def open_retrieval_set(root: str | Path, *, seed: int = 0) -> RetrievalSet:
    """Recognise the layout of a folder and list its queries and gallery, in sorted order.

    ================== =====================================================================
    layout             files
    ================== =====================================================================
    market             ``query/`` and ``bounding_box_test/`` with names ``<id>_c<camera>...``:
                       Market-1501, DukeMTMC-reID, CUHK03-NP (``detected/`` or ``labeled/``)
    msmt17             ``list_query.txt``, ``list_gallery.txt`` (``<path> <id>`` per line, camera
                       in the third ``_`` field of the name), images in ``test/`` (V1) or
                       ``mask_test_v2/`` (V2)
    split_folders      ``query/<id>/*`` and ``gallery/<id>/*``
    identity_folders   ``<id>/*``: every image is in the gallery, and of each identity and camera
                       one image, drawn by ``seed``, is a query. The query itself is not found,
                       because the protocol removes its own camera.
    ================== =====================================================================

    In the folder layouts an identity is a folder, and -1 as its name is junk; its images may lie in
    folders ``rear``, ``front`` and ``side`` inside, as for training. Cameras are read from the names
    (``_c<camera>``) if all images carry one.

    Args:
        root: Folder of the set.
        seed: Seed of the query choice for ``identity_folders``.

    Raises:
        ReidEdgeError: No such folder, unknown layout, no images, a name that cannot be read, or
            fewer than two identities with a query that has a true match.
    """
    root = Path(root)
    if not root.is_dir():
        raise ReidEdgeError(f"No evaluation folder {root}; {_EXPECTED}.")
    found = _layout_of(root)(root, seed)
    _check_usable(found, root)
    return found


def _layout_of(root: Path) -> Callable[[Path, int], RetrievalSet]:
    """The reader of the layout ``root`` has."""
    if (root / "list_query.txt").is_file() and (root / "list_gallery.txt").is_file():
        return _read_msmt17
    query = root / "query"
    if query.is_dir() and (root / "bounding_box_test").is_dir():
        return _read_market
    if query.is_dir() and (root / "gallery").is_dir():
        return _read_split_folders
    for half in ("query", "bounding_box_test", "gallery", "list_query.txt", "list_gallery.txt"):
        if (root / half).exists():
            raise ReidEdgeError(f"{root} has {half} but not its counterpart; {_EXPECTED}.")
    nested = [p.name for p in sorted(root.iterdir()) if (p / "query").is_dir()]
    if nested:  # the parent of a data set, such as cuhk03-np with detected/ and labeled/
        raise ReidEdgeError(
            f"{root} is not an evaluation set itself but holds {', '.join(nested)}; give the path "
            "of one of them."
        )
    return _read_identity_folders


def _read_market(root: Path, seed: int) -> RetrievalSet:
    query, gallery = (
        [_crop_by_name(path) for path in _images(root / part)]
        for part in ("query", "bounding_box_test")
    )
    return _without_junk(root, query, gallery, "market", "from names")


def _read_msmt17(root: Path, seed: int) -> RetrievalSet:
    images = next((root / d for d in ("mask_test_v2", "test") if (root / d).is_dir()), None)
    if images is None:
        raise ReidEdgeError(f"{root} has MSMT17 lists but no test/ or mask_test_v2/ with images.")
    query, gallery = (
        _read_list(root / name, images) for name in ("list_query.txt", "list_gallery.txt")
    )
    return _without_junk(root, query, gallery, "msmt17", "from names")


def _read_split_folders(root: Path, seed: int) -> RetrievalSet:
    names = {p.name for part in ("query", "gallery") for p in _folders(root / part)}
    identities = _number_identities(names)
    query, gallery, cameras = _with_cameras(
        _crops_in_folders(root / "query", identities),
        _crops_in_folders(root / "gallery", identities),
    )
    return _without_junk(root, query, gallery, "split_folders", cameras)


def _read_identity_folders(root: Path, seed: int) -> RetrievalSet:
    identities = _number_identities({p.name for p in _folders(root)})
    crops, _, cameras = _with_cameras(_crops_in_folders(root, identities), [])
    groups: dict[tuple[int, int], list[Crop]] = defaultdict(list)
    for crop in crops:
        groups[crop.person_id, crop.camera_id if cameras == "from names" else 0].append(crop)
    rng = np.random.default_rng(seed)
    query = [group[rng.integers(len(group))] for _, group in sorted(groups.items())]
    return _without_junk(root, query, crops, "identity_folders", cameras, seed)


def _without_junk(root, query, gallery, layout, cameras, seed=None) -> RetrievalSet:
    """Assemble the set, leaving out identity -1; its images are counted once each."""
    junk = {crop.path for crop in (*query, *gallery) if crop.person_id == JUNK_ID}
    return RetrievalSet(
        name=root.resolve().name,
        query=[crop for crop in query if crop.path not in junk],
        gallery=[crop for crop in gallery if crop.path not in junk],
        layout=layout,
        cameras=cameras,
        n_junk=len(junk),
        seed=seed,
    )


def _images(folder: Path) -> list[Path]:
    """Image files directly in ``folder``, sorted by name; other files (Thumbs.db) are not crops."""
    files = (p for p in folder.iterdir() if not is_hidden(p.name))
    return sorted(p for p in files if p.suffix.lower() in IMAGE_SUFFIXES)


def _crop_by_name(path: Path) -> Crop:
    parsed = parse_reid_name(path.name)
    if parsed is None:
        raise ReidEdgeError(
            f"Cannot read identity and camera from {path}; expected a name like "
            "0002_c1s1_000451_03.jpg."
        )
    return Crop(path, *parsed)


def _read_list(list_path: Path, images: Path) -> list[Crop]:
    """Read MSMT17's ``<path> <id>`` lines; the camera is in the file name."""
    crops = []
    lines = list_path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, person = line.strip().rpartition(" ")
        parsed = parse_reid_name(Path(name).name)
        if parsed is None or not person.isdecimal():
            raise ReidEdgeError(
                f"{list_path} line {number} is {line[:80]!r}; expected '<path> <identity>' with a "
                "name like 0000_000_01_0303morning_0015_0.jpg."
            )
        crops.append(Crop(images / name, int(person), parsed[1]))
    return crops


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name))


def _number_identities(names: set[str]) -> dict[str, int]:
    """Number folder names, which may be any text; only -1 keeps its meaning."""
    return {name: JUNK_ID if name == "-1" else i for i, name in enumerate(sorted(names))}


def _crops_in_folders(root: Path, identities: dict[str, int]) -> list[Crop]:
    """Crops of ``root/<identity>/*`` with the camera of the name, or none where it has none."""
    crops = []
    for folder in _folders(root):
        views = [view for view in _folders(folder) if view.name.lower() in VIEWS]
        for path in sorted(path for part in (folder, *views) for path in _images(part)):
            parsed = parse_reid_name(path.name)
            camera_id = parsed[1] if parsed else UNKNOWN
            crops.append(Crop(path, identities[folder.name], camera_id))
    return crops


def _with_cameras(query: list[Crop], gallery: list[Crop]) -> tuple[list[Crop], list[Crop], str]:
    """Keep the cameras of the names if every image has one; else give each image its own."""
    crops = query + gallery
    if all(crop.camera_id != UNKNOWN for crop in crops):
        return query, gallery, "from names"
    numbered = [replace(crop, camera_id=i) for i, crop in enumerate(crops)]
    return numbered[: len(query)], numbered[len(query) :], "unknown"


def _check_usable(found: RetrievalSet, root: Path) -> None:
    """Refuse a set on which retrieval metrics mean nothing."""
    for part, crops in (("query", found.query), ("gallery", found.gallery)):
        if not crops:
            raise ReidEdgeError(f"No {part} images in {root}; {_EXPECTED}.")
    cameras = defaultdict(set)
    for crop in found.gallery:
        cameras[crop.person_id].add(crop.camera_id)
    matched = {c.person_id for c in found.query if cameras[c.person_id] - {c.camera_id}}
    if not matched:
        raise ReidEdgeError(
            f"No query in {root} has a true match; expected gallery images of the same identity "
            "from another camera."
        )
    if len(matched) < 2:
        raise ReidEdgeError(
            f"Only one identity in {root} has a query with a true match, so there is nobody to "
            "confuse it with; expected at least 2 identities."
        )
