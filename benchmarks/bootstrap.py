"""Is the accuracy difference of two networks real? A paired bootstrap over queries.

Both networks answered the same queries, so the queries are resampled and the difference is taken
within each resample (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, percentile
method). Pairing removes the spread between easy and hard queries, which is tens of points, and
leaves the spread of the change itself, which is tenths. Identities and gallery are held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from benchmarks.metrics import RetrievalResult
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class Drop:
    """A loss in percentage points; positive means the candidate is worse.

    Attributes:
        points: The drop measured on all queries.
        low, high: Ends of the bootstrap interval.
    """

    points: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDrop:
    """Drop of a candidate below a reference on the same queries.

    Attributes:
        mAP, rank1, mINP: The drops.
        level: Coverage of the intervals, 0..1.
        resamples, seed: How the intervals were made.
        n_queries: Queries resampled (those with a true match).
    """

    mAP: Drop
    rank1: Drop
    mINP: Drop
    level: float
    resamples: int
    seed: int
    n_queries: int


def paired_drop(
    reference: RetrievalResult,
    candidate: RetrievalResult,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    rank1: Optional[Tuple[np.ndarray, np.ndarray]] = None,
) -> PairedDrop:
    """Measure ``reference - candidate`` in mAP, Rank-1 and mINP with bootstrap intervals.

    Args:
        reference: Result of the network to compare with, usually fp32.
        candidate: Result of the changed network, usually int8, on the same queries and gallery.
        resamples: Bootstrap resamples, at least 100.
        level: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling.
        rank1: (Q,) shares 0..1 of Rank-1 hits of each query, of reference and candidate, where they
            are not 0 or 1 by ``first_hit``: under CUHK03's classic protocol.

    Raises:
        ReidEdgeError: The results are not of the same queries, or an argument is out of range.
    """
    if not np.array_equal(reference.n_matches, candidate.n_matches):
        raise ReidEdgeError(
            "A paired bootstrap needs two results on the same queries and gallery, got "
            f"{len(reference.ap)} and {len(candidate.ap)} queries whose true matches differ; "
            "evaluate both networks on one data set."
        )
    if resamples < 100 or not 0.0 < level < 1.0:
        raise ReidEdgeError(
            "A paired bootstrap needs at least 100 resamples and a level between 0 and 1, got "
            f"{resamples} and {level}."
        )
    valid = reference.valid
    ap_drop = 100.0 * (reference.ap - candidate.ap)[valid]
    hits = rank1 or ((reference.first_hit == 1) * 1.0, (candidate.first_hit == 1) * 1.0)
    rank1_drop = 100.0 * (hits[0] - hits[1])[valid]
    inp_drop = 100.0 * (reference.inp - candidate.inp)[valid]

    n = len(ap_drop)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n), dtype=np.int32)
    ends = 100.0 * np.array([(1.0 - level) / 2.0, (1.0 + level) / 2.0])

    def drop(per_query: np.ndarray) -> Drop:
        low, high = np.percentile(per_query[drawn].mean(axis=1), ends)
        return Drop(float(per_query.mean()), float(low), float(high))

    return PairedDrop(drop(ap_drop), drop(rank1_drop), drop(inp_drop), level, resamples, seed, n)
