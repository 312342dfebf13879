"""An evaluation set as a benchmark needs it: which data set and protocol it is, and its fingerprint.

Numbers of different data sets and protocols must not be compared, and a network is judged differently
on people of the data set it was trained on. Folders are often renamed, so what cannot be told from
names is asked for (``--dataset``, ``--trained-on``) or left unknown; nothing is guessed from pictures.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

from benchmarks.accuracy_record import DatasetRecord
from benchmarks.datasets import RetrievalSet, open_retrieval_set
from benchmarks.progress import progress_bar
from calibration.layouts import Crop
from runtime.bundle import file_sha256
from runtime.errors import ReidEdgeError
from runtime.manifest import Manifest

CLASSIC = "cuhk03-classic"
DATASETS: Dict[str, Tuple[str, ...]] = {
    "market1501": ("market",),
    "dukemtmc": ("market",),
    "cuhk03": ("market",),
    CLASSIC: ("market",),
    "msmt17": ("msmt17",),
    "folder": ("market", "msmt17", "split_folders", "identity_folders"),
}
"""Data set to the layouts (benchmarks.datasets) it comes in; "folder" is none of the known ones."""

CLASSIC_DRAWS = 100
_NAMES = {
    "market1501": re.compile(r"market[-_ ]?1501|market_?1501", re.I),
    "dukemtmc": re.compile(r"duke[-_ ]?mtmc", re.I),
    "cuhk03": re.compile(r"cuhk[-_ ]?03", re.I),
    "msmt17": re.compile(r"msmt[-_ ]?17", re.I),
}
_TRAINED = re.compile(r"^(trained on|training data)\b", re.I)


@dataclass(frozen=True)
class EvaluationSet:
    """Queries and gallery with their identity.

    Attributes:
        root: Folder of the set; paths in reports are relative to it.
        found: Queries and gallery.
        name: A key of DATASETS, or the folder's name where nobody knows.
        domain: The data set its people are of, for ``cross_domain``; None where nobody knows.
        protocol: What a reader must know to compare figures; None for the standard protocol.
        single_shot: Rank-k draws one gallery image per person (CUHK03's classic protocol).
        sha256: Digest of labels, paths and contents of all files, in order.
    """

    root: Path
    found: RetrievalSet
    name: str
    domain: Optional[str]
    protocol: Optional[str]
    single_shot: bool
    sha256: str

    @property
    def crops(self) -> List[Crop]:
        """Every image once, queries first."""
        return distinct(self.found)

    def relative(self, path: Path) -> str:
        """A crop's path as reports give it."""
        return path.relative_to(self.root).as_posix()

    def record(self, evaluated: int, unreadable: List[str]) -> DatasetRecord:
        """What a report says about the set.

        Args:
            evaluated: Queries with a true match.
            unreadable: Relative paths.
        """
        counts = self.found.record()
        folder = counts.pop("name")
        return DatasetRecord(
            name=self.name,
            folder=folder,
            protocol=self.protocol,
            evaluated_queries=evaluated,
            unreadable=unreadable,
            sha256=self.sha256,
            **counts,
        )

    def cross_domain(self, trained: Optional[str]) -> Optional[bool]:
        """Whether a network trained on ``trained`` meets people of another data set here."""
        there = domain_of(trained or "")
        if self.domain is None or there is None:
            return None
        return self.domain != there


def open_evaluation_set(
    root: Union[str, Path], dataset: Optional[str] = None, seed: int = 0, progress: bool = True
) -> EvaluationSet:
    """Open a folder of queries and gallery.

    Args:
        root: The folder, in a layout of benchmarks.datasets.
        dataset: A key of DATASETS, to say or confirm what it is.
        seed: Of the queries drawn where the layout names none.
        progress: Show a bar while the files are read for the digest.

    Raises:
        ReidEdgeError: As ``open_retrieval_set``; an unknown data set, or one of another layout.
    """
    if dataset is not None and dataset not in DATASETS:
        raise ReidEdgeError("--dataset must be one of %s, got %r." % (", ".join(DATASETS), dataset))
    root = Path(root)
    found = open_retrieval_set(root, seed=seed)
    if dataset is not None and found.layout not in DATASETS[dataset]:
        raise ReidEdgeError(
            "%s has the layout %s, but --dataset %s comes as %s; check the folder or the name."
            % (root, found.layout, dataset, " or ".join(DATASETS[dataset]))
        )
    name, protocol = _identity(root, found, dataset)
    single_shot = name == CLASSIC
    if single_shot:
        protocol = "%s; Rank-k is the mean over %d galleries with one image drawn per person" % (
            protocol or "CUHK03 classic protocol",
            CLASSIC_DRAWS,
        )
    domain = None if dataset == "folder" else domain_of(name)
    digest = _digest(root, found, progress)
    return EvaluationSet(root, found, name, domain, protocol, single_shot, digest)


def distinct(found: RetrievalSet) -> List[Crop]:
    """Every image of a set once, queries first."""
    return list({crop.path: crop for crop in (*found.query, *found.gallery)}.values())


def domain_of(text: str) -> Optional[str]:
    """The data set a name or sentence speaks of; CUHK03's protocols are of one."""
    named = [name for name, pattern in _NAMES.items() if pattern.search(text)]
    return named[0] if len(named) == 1 else None


def trained_on(manifest: Manifest) -> Optional[str]:
    """The data set a bundle's network was trained on, as far as the manifest says; else None.

    That is what a note says that begins with "trained on" or "training data", as reid-edge's own
    checkpoints have, or else the name of the checkpoint, as model zoos give them.
    """
    if not manifest.network.get("trained"):
        return None
    notes = [str(note) for note in manifest.network.get("notes") or ()]
    for text in [note for note in notes if _TRAINED.match(note)]:
        if domain_of(text):
            return domain_of(text)
    return domain_of(str(manifest.network.get("source") or ""))


def _identity(root: Path, found: RetrievalSet, dataset: Optional[str]) -> Tuple[str, Optional[str]]:
    """Name of the data set and description of its protocol."""
    description = root / "protocol.txt"  # as `reid-train data` writes it for CUHK03
    protocol = None
    if description.is_file():
        protocol = description.read_text(encoding="utf-8", errors="replace").strip()[:200] or None
    if dataset is not None:
        return found.name if dataset == "folder" else dataset, protocol
    if protocol and protocol.lower().startswith("cuhk03 classic"):
        return CLASSIC, protocol
    if found.layout == "msmt17":
        return "msmt17", protocol
    above = root.resolve()
    # CUHK03-NP keeps its sets in detected/ and labeled/.
    for text in (protocol or "", above.name, above.parent.name):
        name = domain_of(text)
        if name is not None and found.layout in DATASETS[name]:
            return name, protocol or ("CUHK03 new protocol" if name == "cuhk03" else None)
    return found.name, protocol


def _digest(root: Path, found: RetrievalSet, progress: bool) -> str:
    crops = distinct(found)
    digests: Dict[Path, str] = {}
    with progress_bar(len(crops), "reading %s" % found.name, "img", show=progress) as bar:
        with ThreadPoolExecutor(2) as pool:
            for crop, digest in zip(crops, pool.map(_file_digest, [c.path for c in crops])):
                digests[crop.path] = digest
                bar.update(1)
    whole = hashlib.sha256()
    for role, part in (("query", found.query), ("gallery", found.gallery)):
        for crop in part:
            line = (role, crop.path.relative_to(root), crop.person_id, crop.camera_id)
            whole.update(("%s\t%s\t%d\t%d\t" % line).encode() + digests[crop.path].encode())
    return whole.hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # lists may name what is not there; it is reported as unreadable later
        return "missing"
