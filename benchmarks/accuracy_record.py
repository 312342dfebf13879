"""What a benchmark's results say about accuracy: retrieval, its drop, cosines, and following.

Percentages are 0..100, drops are percentage points below the fp32 row of the same bundle (positive is
worse). Part of the schema of benchmarks.results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional


@dataclass(frozen=True)
class DatasetRecord:
    """An evaluation set; see benchmarks.datasets.

    Attributes:
        name: Name of the data set where its layout tells, else of its folder.
        folder: Name of the folder.
        layout, cameras, seed: How it was read.
        protocol: What the queries and gallery are, where a data set has several protocols.
        queries, evaluated_queries: All, and those with a true match.
        gallery, identities, distractors, junk: Counts.
        unreadable: Files that no image could be read from, relative to the folder.
        sha256: Digest of the labels, paths and files.
    """

    name: str
    folder: str
    layout: str
    protocol: Optional[str]
    cameras: str
    seed: Optional[int]
    queries: int
    evaluated_queries: int
    gallery: int
    identities: int
    distractors: int
    junk: int
    unreadable: List[str]
    sha256: str


@dataclass(frozen=True)
class Interval:
    """A drop in percentage points with its paired bootstrap interval."""

    points: float
    low: float
    high: float


@dataclass(frozen=True)
class DropRecord:
    """What is lost against the fp32 row; ``level`` is the intervals' coverage, 0..1."""

    reference: str
    mAP: Interval
    rank1: Interval
    mINP: Interval
    level: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Cosines:
    """Cosines of each crop's embedding to its fp32 embedding.

    Attributes:
        edges: B + 1 ascending edges of the histogram; the first bin also holds what lies below.
        counts: Crops in each of the B bins.
    """

    mean: float
    minimum: float
    p01: float
    p10: float
    p50: float
    n: int
    edges: List[float]
    counts: List[int]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the lock's similarity, and the shares (0..1) that are wrong at it."""

    similarity: float
    false_accept: float
    false_reject: float


@dataclass(frozen=True)
class OpenSet:
    """Following: is this the learned person, or somebody new? See benchmarks.open_set.

    Attributes:
        rate: The stated false-accept rate, 0..1.
        at_rate: The threshold for it.
        at_fp32_threshold: What happens if the threshold of the fp32 row is kept; null for fp32.
        threshold_shift: ``at_rate``'s similarity less that of the fp32 row; null for fp32.
        curve: Operating points in order of rising similarity.
        people: People learned or met.
        genuine, impostor: Looks at the learned person, and at strangers.
    """

    rate: float
    at_rate: OperatingPoint
    at_fp32_threshold: Optional[OperatingPoint]
    threshold_shift: Optional[float]
    curve: List[OperatingPoint]
    people: int
    genuine: int
    impostor: int


@dataclass(frozen=True)
class Ranked:
    """A gallery image in a ranking: path relative to the data set, whether it is the person."""

    path: str
    right: bool
    similarity: float


@dataclass(frozen=True)
class WorstQuery:
    """A query that lost most average precision; the rankings begin with the nearest image.

    ``ap_fp32`` and ``ap`` are percent.
    """

    path: str
    person_id: int
    camera_id: int
    ap_fp32: float
    ap: float
    ranking_fp32: List[Ranked]
    ranking: List[Ranked]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on one data set.

    Attributes:
        cross_domain: Whether the network was trained on another data set; null where nobody knows.
        mAP, rank1, rank5, rank10, mINP: Percent, under the standard protocol.
        drop, cosine: Against the fp32 row; null for that row.
        open_set: Null where the data set does not allow it; a note of the row says why.
        worst: The queries that lost most, worst first; empty for the fp32 row.
    """

    dataset: DatasetRecord
    cross_domain: Optional[bool]
    mAP: float
    rank1: float
    rank5: float
    rank10: float
    mINP: float
    drop: Optional[DropRecord]
    cosine: Optional[Cosines]
    open_set: Optional[OpenSet]
    worst: List[WorstQuery]
