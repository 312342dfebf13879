"""The queries that a changed network serves worse than fp32, with what each ranked first."""

from __future__ import annotations

from typing import List

import numpy as np

from benchmarks.accuracy_record import Ranked, WorstQuery
from benchmarks.evaluation_set import EvaluationSet
from benchmarks.metrics import JUNK_ID, RetrievalResult
from calibration.layouts import Crop


def worst_queries(
    found: EvaluationSet,
    query: List[Crop],
    gallery: List[Crop],
    fp32: RetrievalResult,
    changed: RetrievalResult,
    fp32_units: np.ndarray,
    changed_units: np.ndarray,
    count: int = 8,
    depth: int = 10,
) -> List[WorstQuery]:
    """The queries whose average precision fell most, worst first; none where nothing fell.

    Args:
        found: The set, for paths.
        query, gallery: The Q and G readable crops, in the order of the results.
        fp32, changed: Results of both networks.
        fp32_units, changed_units: (Q + G, D) embeddings of unit length, queries first.
        count: Queries at most.
        depth: Images of a ranking. The query's own person in its own camera and junk are left out,
            as the protocol does.
    """
    loss = np.nan_to_num(fp32.ap - changed.ap, nan=0.0)
    order = np.argsort(-loss, kind="stable")[:count]
    ids = np.array([crop.person_id for crop in gallery])
    cams = np.array([crop.camera_id for crop in gallery])
    worst = []
    for number in order[loss[order] > 0]:
        asked = query[number]
        removed = ((ids == asked.person_id) & (cams == asked.camera_id)) | (ids == JUNK_ID)

        def ranking(units: np.ndarray, asked=asked, number=number, removed=removed) -> List[Ranked]:
            similarity = units[len(query) :] @ units[number]
            nearest = np.argsort(np.where(removed, np.inf, -similarity), kind="stable")[:depth]
            return [
                Ranked(
                    found.relative(gallery[i].path),
                    bool(ids[i] == asked.person_id),
                    float(similarity[i]),
                )
                for i in nearest
                if not removed[i]
            ]

        worst.append(
            WorstQuery(
                path=found.relative(asked.path),
                person_id=asked.person_id,
                camera_id=asked.camera_id,
                ap_fp32=100.0 * float(fp32.ap[number]),
                ap=100.0 * float(changed.ap[number]),
                ranking_fp32=ranking(fp32_units),
                ranking=ranking(changed_units),
            )
        )
    return worst
