"""Retrieval metrics under the standard person re-identification protocol.

The definitions are those of Market-1501 (Zheng et al., ICCV 2015) as the field evaluates them
(``eval_func`` of reid-strong-baseline), plus mINP (Ye et al., TPAMI 2021):

* gallery entries with the query's identity *and* the query's camera are removed, for that query;
* junk (identity -1) is removed from the gallery for all queries;
* distractors (any identity no query has, such as Market's 0) stay in the gallery;
* a query left without a true match is skipped and counted.

Ties: equal distances rank in gallery order, as ``np.argsort(distances, kind="stable")`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize

JUNK_ID = -1
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class RetrievalResult:
    """The ranks of the true matches of each query; every metric is a summary of these.

    Attributes:
        ap: (Q,) float64 average precision in 0..1, NaN where the query was skipped.
        first_hit: (Q,) int64 rank of the nearest true match, from 1; 0 where skipped.
        last_hit: (Q,) int64 rank of the farthest true match, from 1; 0 where skipped.
        n_matches: (Q,) int64 true matches of the query; 0 where skipped.
    """

    ap: np.ndarray
    first_hit: np.ndarray
    last_hit: np.ndarray
    n_matches: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """(Q,) bool: the query has at least one true match and counts in the metrics."""
        return self.n_matches > 0

    @property
    def n_valid(self) -> int:
        return int(np.count_nonzero(self.valid))

    @property
    def n_skipped(self) -> int:
        return len(self.ap) - self.n_valid

    @property
    def mAP(self) -> float:
        """Mean average precision in percent."""
        return 100.0 * float(np.mean(self.ap[self.valid]))

    def rank(self, k: int) -> float:
        """CMC at rank ``k`` in percent: queries with a true match among their ``k`` nearest."""
        return 100.0 * float(np.mean(self.first_hit[self.valid] <= k))

    @property
    def rank1(self) -> float:
        return self.rank(1)

    @property
    def rank5(self) -> float:
        return self.rank(5)

    @property
    def rank10(self) -> float:
        return self.rank(10)

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty in percent: true matches over the rank of the last one."""
        return 100.0 * float(np.mean(self.inp[self.valid]))

    @property
    def inp(self) -> np.ndarray:
        """(Q,) float64 inverse negative penalty of each query, 0..1; NaN where skipped."""
        return np.where(self.valid, self.n_matches / np.maximum(self.last_hit, 1), np.nan)

    def to_dict(self, ranks: Sequence[int] = RANKS) -> dict[str, float]:
        """Figures in percent: ``mAP``, ``rank<k>`` for each of ``ranks``, ``mINP``."""
        cmc = {f"rank{k}": self.rank(k) for k in ranks}
        return {"mAP": self.mAP, **cmc, "mINP": self.mINP}


def evaluate_retrieval(
    query_features: np.ndarray,
    query_ids: np.ndarray,
    query_cams: np.ndarray,
    gallery_features: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cams: np.ndarray,
    *,
    chunk: int = 256,
) -> RetrievalResult:
    """Rank the gallery for each query by cosine distance and find the true matches.

    Features are divided by their Euclidean norm here, so it does not matter whether the network
    or the caller did; a zero feature is at distance 1 from everything.

    Args:
        query_features: (Q, D) float; computed in float32.
        query_ids: (Q,) int identities.
        query_cams: (Q,) int cameras.
        gallery_features: (G, D) float.
        gallery_ids: (G,) int identities; -1 is junk.
        gallery_cams: (G,) int cameras.
        chunk: Queries per distance block; the working memory is about 8 * chunk * G bytes.

    Returns:
        The per-query result, in query order.

    Raises:
        ReidEdgeError: Shapes disagree, a feature is NaN or infinite, or no query has a match.
    """
    query, gallery = _unit(query_features, "query"), _unit(gallery_features, "gallery")
    if query.shape[1] != gallery.shape[1]:
        raise ReidEdgeError(
            f"Query and gallery features must have the same length, got {query.shape[1]} and "
            f"{gallery.shape[1]}; embed both with the same network."
        )
    blocks = (1.0 - query[i : i + chunk] @ gallery.T for i in range(0, len(query), chunk))
    rows = (row for block in blocks for row in block)
    return _evaluate_rows(
        rows, query_ids, query_cams, gallery_ids, gallery_cams, (len(query), len(gallery))
    )


def evaluate_distances(
    distances: np.ndarray,
    query_ids: np.ndarray,
    query_cams: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cams: np.ndarray,
) -> RetrievalResult:
    """As :func:`evaluate_retrieval`, from a (Q, G) distance matrix of any metric.

    Raises:
        ReidEdgeError: Shapes disagree, a distance is NaN or infinite, or no query has a match.
    """
    distances = np.asarray(distances, np.float32)
    if distances.ndim != 2 or not np.isfinite(distances).all():
        raise ReidEdgeError(
            f"Distances must be a finite (queries, gallery) matrix, got shape {distances.shape}"
            f"{'' if np.isfinite(distances).all() else ' with NaN or infinite values'}."
        )
    rows = (row.copy() for row in distances)
    return _evaluate_rows(rows, query_ids, query_cams, gallery_ids, gallery_cams, distances.shape)


def _evaluate_rows(
    rows: Iterator[np.ndarray], query_ids, query_cams, gallery_ids, gallery_cams, shape
) -> RetrievalResult:
    """Score each distance row; the rows are scratch and are overwritten."""
    n_queries, n_gallery = shape
    query_ids = _labels(query_ids, n_queries, "query ids")
    query_cams = _labels(query_cams, n_queries, "query cameras")
    gallery_ids = _labels(gallery_ids, n_gallery, "gallery ids")
    gallery_cams = _labels(gallery_cams, n_gallery, "gallery cameras")

    by_id = np.argsort(gallery_ids, kind="stable")
    start = np.searchsorted(gallery_ids[by_id], query_ids, "left")
    stop = np.searchsorted(gallery_ids[by_id], query_ids, "right")
    junk = np.flatnonzero(gallery_ids == JUNK_ID)

    ap = np.full(n_queries, np.nan)
    first_hit, last_hit, n_matches = np.zeros((3, n_queries), np.int64)
    for q, row in enumerate(rows):
        same_id = by_id[start[q] : stop[q]]
        same_camera = gallery_cams[same_id] == query_cams[q]
        matches = same_id[~same_camera]
        if not len(matches) or query_ids[q] == JUNK_ID:
            continue
        # Behind everything that is kept, an entry can no longer change any rank.
        row[junk] = row[same_id[same_camera]] = np.inf
        hits = _ranks_of(row, matches)
        ap[q] = np.mean(np.arange(1, len(hits) + 1) / hits)
        first_hit[q], last_hit[q], n_matches[q] = hits[0], hits[-1], len(hits)

    if not n_matches.any():
        raise ReidEdgeError(
            f"None of the {n_queries} queries has a true match in the gallery; expected the same "
            "identity seen by another camera (ids or cameras may be mixed up)."
        )
    return RetrievalResult(ap, first_hit, last_hit, n_matches)


def _ranks_of(row: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Ascending ranks, from 1, of some entries of a distance row in its stable ascending order.

    Sorting values is several times faster than sorting indices, and without ties the position
    of the value is the rank.
    """
    ordered = np.sort(row)
    values = row[entries]
    below = np.searchsorted(ordered, values, "left")
    if np.any(np.searchsorted(ordered, values, "right") - below > 1):
        below = np.empty(len(row), np.int64)
        below[np.argsort(row, kind="stable")] = np.arange(len(row))
        below = below[entries]
    return np.sort(below) + 1


@dataclass(frozen=True)
class RankAgreement:
    """How far two embeddings of the same crops order the neighbours alike.

    Attributes:
        top1: Percent of crops with the same nearest neighbour in both.
        overlap: Percent shared of the ``k`` nearest neighbours, mean over crops.
        spearman: Mean over crops of Spearman's rank correlation of all neighbours, -1..1.
        k: Neighbours compared in ``overlap``.
        n: Crops compared.
    """

    top1: float
    overlap: float
    spearman: float
    k: int
    n: int


def rank_agreement(
    features_a: np.ndarray, features_b: np.ndarray, *, top_k: int = 10
) -> RankAgreement:
    """Compare the neighbour order two networks give to the same crops, each crop against the rest.

    Needs no identities, so it works on any folder of crops. Memory grows with N squared: meant for
    the hundreds of crops of a parity check.

    Args:
        features_a: (N, D) embeddings of N crops, N >= 3.
        features_b: (N, E) embeddings of the same crops in the same order.
        top_k: Neighbours in the overlap; at most N - 1 are used, and the number is returned.

    Raises:
        ReidEdgeError: Different or too few crops, or NaN/infinite features.
    """
    if len(features_a) != len(features_b) or len(features_a) < 3:
        raise ReidEdgeError(
            "Rank agreement needs two embeddings of the same crops, at least 3, got "
            f"{len(features_a)} and {len(features_b)}."
        )
    n = len(features_a)
    k = min(top_k, n - 1)
    rank_a, rank_b = _neighbour_ranks(features_a), _neighbour_ranks(features_b)
    # Off the diagonal the ranks of a row are 0..n-2 exactly, so Spearman's closed form holds.
    squared = np.sum((rank_a - rank_b) ** 2, axis=1, dtype=np.float64)
    m = n - 1
    spearman = 1.0 - 6.0 * squared / (m * (m * m - 1))
    return RankAgreement(
        top1=100.0 * float(np.mean(np.any((rank_a == 0) & (rank_b == 0), axis=1))),
        overlap=100.0 * float(np.mean(np.sum((rank_a < k) & (rank_b < k), axis=1) / k)),
        spearman=float(np.mean(spearman)),
        k=k,
        n=n,
    )


def _neighbour_ranks(features: np.ndarray) -> np.ndarray:
    """(N, N) int64: rank, from 0, of each other crop by cosine distance; the crop itself last."""
    unit = _unit(features, "compared")
    distances = 1.0 - unit @ unit.T
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(unit))[None, :], axis=1)
    return ranks


def _unit(features: np.ndarray, what: str) -> np.ndarray:
    """Finite (N, D) features as float32 rows of length one."""
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or 0 in features.shape:
        raise ReidEdgeError(
            f"The {what} features must be a non-empty (N, D) array, got shape {features.shape}."
        )
    bad = int(np.count_nonzero(~np.isfinite(features).all(axis=1)))
    if bad:
        raise ReidEdgeError(
            f"{bad} of {len(features)} {what} features contain NaN or infinity; expected finite "
            "embeddings, so the network's weights or its quantization are broken."
        )
    return l2_normalize(features)


def _labels(values, count: int, what: str) -> np.ndarray:
    labels = np.asarray(values)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ReidEdgeError(
            f"The {what} must be {count} integers, one per feature, got shape {labels.shape} "
            f"dtype {labels.dtype}."
        )
    return labels
