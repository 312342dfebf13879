"""From embeddings of a set by several variants to what a report says about their accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from benchmarks.accuracy_record import Accuracy, Cosines, DropRecord, Interval, OpenSet
from benchmarks.bootstrap import Drop, paired_drop
from benchmarks.embedding_cache import Embedded
from benchmarks.evaluation_set import CLASSIC_DRAWS, EvaluationSet
from benchmarks.following import RATE, embeddings_by_person, open_set_figures
from benchmarks.metrics import RANKS, RetrievalResult, evaluate_retrieval
from benchmarks.single_shot import single_shot_hits
from benchmarks.worst import worst_queries
from calibration.layouts import Crop
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize

_BINS = 40


@dataclass(frozen=True)
class Figures:
    """What is computed besides the metrics.

    Attributes:
        worst: Queries shown per variant.
        resamples, seed: Of the bootstrap.
        rate: False-accept rate of the open-set threshold.
        open_set: Whether to measure it: it takes seconds per variant.
    """

    worst: int = 8
    resamples: int = 2000
    seed: int = 0
    rate: float = RATE
    open_set: bool = True


class _Judged:
    """One variant's embeddings of the set and its retrieval result."""

    def __init__(self, found: EvaluationSet, embedded: Embedded):
        crops = found.crops
        row_of = {crops[position].path: row for row, position in enumerate(embedded.kept)}
        self.query = [crop for crop in found.found.query if crop.path in row_of]
        self.gallery = [crop for crop in found.found.gallery if crop.path in row_of]
        if not self.query or not self.gallery:
            raise ReidEdgeError(
                "Of %s %d queries and %d gallery images can be read; expected some of both."
                % (found.root, len(self.query), len(self.gallery))
            )
        self.units = l2_normalize(embedded.features)
        self.unit_of = {path: self.units[row] for path, row in row_of.items()}
        self.kept, self.prior = embedded.kept, embedded.prior
        sides: List[Any] = []
        for part in (self.query, self.gallery):
            rows = [row_of[crop.path] for crop in part]
            sides += [self.units[rows], *_labels(part)]
        self.both_units = np.concatenate([sides[0], sides[3]])
        self.result: RetrievalResult = evaluate_retrieval(*sides)
        self.ranks = {k: self.result.rank(k) for k in RANKS}
        self.rank1 = (self.result.first_hit == 1) * 1.0
        if found.single_shot:
            hits = single_shot_hits(*sides, ranks=RANKS, draws=CLASSIC_DRAWS)
            self.ranks = dict(zip(RANKS, (100.0 * np.nanmean(hits, axis=0)).tolist()))
            self.rank1 = hits[:, RANKS.index(1)]


def evaluate(
    found: EvaluationSet,
    embedded: Mapping[str, Embedded],
    reference: Optional[str],
    trained: Optional[str],
    figures: Figures = Figures(),
) -> Tuple[Dict[str, Accuracy], List[str]]:
    """Metrics of each variant, and what it lost against the reference.

    Args:
        found: The set.
        embedded: Name of the variant to its embeddings of it.
        reference: The fp32 variant's name; None where there is none, and then no losses.
        trained: Data set the network was trained on, where known.
        figures: What is computed besides.

    Returns:
        Name to accuracy, and sentences on what could not be measured.

    Raises:
        ReidEdgeError: As ``evaluate_retrieval`` and ``paired_drop``.
    """
    judged = {name: _Judged(found, part) for name, part in embedded.items()}
    fp32 = judged[reference] if reference is not None else None
    order = sorted(judged, key=lambda name: name != reference)  # its threshold is needed first
    notes: List[str] = []
    threshold: Optional[float] = None
    made: Dict[str, Accuracy] = {}
    for name in order:
        own = judged[name]
        changed = fp32 is not None and name != reference
        open_set = None
        if figures.open_set:
            try:
                open_set = _open_set(found, own, threshold if changed else None, figures.rate)
            except ReidEdgeError as error:
                notes.append("No open-set figures of %s on %s: %s" % (name, found.name, error))
        if name == reference and open_set is not None:
            threshold = open_set.at_rate.similarity
        crops = found.crops
        unreadable = [found.relative(crops[i].path) for i in embedded[name].unreadable]
        made[name] = Accuracy(
            dataset=found.record(own.result.n_valid, unreadable),
            cross_domain=found.cross_domain(trained),
            mAP=own.result.mAP,
            rank1=own.ranks[1],
            rank5=own.ranks[5],
            rank10=own.ranks[10],
            mINP=own.result.mINP,
            drop=_drop(str(reference), fp32, own, figures) if changed and fp32 else None,
            cosine=_cosines(fp32, own) if changed and fp32 else None,
            open_set=open_set,
            worst=_worst(found, fp32, own, figures.worst) if changed and fp32 else [],
        )
    return {name: made[name] for name in embedded}, notes


def _drop(reference: str, fp32: _Judged, own: _Judged, figures: Figures) -> DropRecord:
    drop = paired_drop(
        fp32.result,
        own.result,
        resamples=figures.resamples,
        seed=figures.seed,
        rank1=(fp32.rank1, own.rank1),
    )

    def interval(part: Drop) -> Interval:
        return Interval(part.points, part.low, part.high)

    return DropRecord(
        reference=reference,
        mAP=interval(drop.mAP),
        rank1=interval(drop.rank1),
        mINP=interval(drop.mINP),
        level=drop.level,
        resamples=drop.resamples,
        seed=drop.seed,
    )


def _cosines(fp32: _Judged, own: _Judged) -> Cosines:
    _, left, right = np.intersect1d(fp32.kept, own.kept, return_indices=True)
    cosines = np.sum(fp32.units[left] * own.units[right], axis=1, dtype=np.float64)
    cosines = np.clip(cosines, -1.0, 1.0)
    # Most lie just below 1, so the histogram reaches from the lowest hundredth to there.
    low = min(float(np.percentile(cosines, 1)), 0.999)
    edges = np.linspace(low, 1.0, _BINS + 1)
    counts = np.histogram(np.maximum(cosines, low), edges)[0]
    p01, p10, p50 = np.percentile(cosines, (1, 10, 50))
    return Cosines(
        mean=float(cosines.mean()),
        minimum=float(cosines.min()),
        p01=float(p01),
        p10=float(p10),
        p50=float(p50),
        n=len(cosines),
        edges=edges.tolist(),
        counts=counts.tolist(),
    )


def _open_set(
    found: EvaluationSet, own: _Judged, fp32_threshold: Optional[float], rate: float
) -> OpenSet:
    if own.prior is None:
        raise ReidEdgeError(
            "the bundle has no golden inputs, which the lock needs to know what people have in common."
        )
    people = embeddings_by_person(found.found, own.unit_of)
    return open_set_figures(people, own.prior, fp32_threshold, rate)


def _worst(found: EvaluationSet, fp32: _Judged, own: _Judged, count: int):
    if not np.array_equal(fp32.kept, own.kept):
        return []
    return worst_queries(
        found, own.query, own.gallery, fp32.result, own.result,
        fp32.both_units, own.both_units, count,
    )  # fmt: skip


def _labels(crops: List[Crop]) -> Tuple[np.ndarray, np.ndarray]:
    return (
        np.array([crop.person_id for crop in crops], np.int64),
        np.array([crop.camera_id for crop in crops], np.int64),
    )
