"""Open-set figures of a network: at what similarity a stranger would be taken for the target.

The looks are those of benchmarks.open_set, which learns and compares as the lock does; here they come
from embeddings that an accuracy run has anyway.
"""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Tuple

import numpy as np

from benchmarks.accuracy_record import OpenSet, OperatingPoint
from benchmarks.datasets import RetrievalSet
from benchmarks.open_set import looks, tracklets
from runtime.open_set import calibrate_threshold

RATE = 1e-3
_CURVE = 60  # operating points


def embeddings_by_person(
    found: RetrievalSet, unit_of: Mapping[object, np.ndarray]
) -> Dict[Tuple[int, int], np.ndarray]:
    """(person, camera) -> (N, D) embeddings, of the people who are queried.

    Args:
        found: The set. Who is not queried is no single person, such as Market-1501's 0.
        unit_of: Image file to its (D,) embedding of unit length; unreadable files are not there.

    Raises:
        ReidEdgeError: No camera saw two of these people often enough.
    """
    kept = tracklets(found, {crop.person_id for crop in found.query})
    rows = {
        key: [unit_of[path] for path in paths if path in unit_of] for key, paths in kept.items()
    }
    return {key: np.stack(part) for key, part in rows.items() if len(part) > 1}


def open_set_figures(
    embeddings: Mapping[Tuple[int, int], np.ndarray],
    prior: np.ndarray,
    fp32_threshold: Optional[float] = None,
    rate: float = RATE,
) -> OpenSet:
    """False accepts and false rejects of the lock's similarity.

    Args:
        embeddings: (person, camera) -> (N, D), of unit length.
        prior: (K, D) of people from elsewhere, by the same network.
        fp32_threshold: The fp32 network's threshold at this rate; None for that network itself.
        rate: False-accept rate, 0..1.

    Raises:
        ReidEdgeError: Too few people or looks for the rate.
    """
    genuine, impostor = looks(dict(embeddings), prior)
    found = calibrate_threshold(genuine, impostor, rate)
    genuine, impostor = np.sort(genuine), np.sort(impostor)

    def at(similarity: float) -> OperatingPoint:
        accepted = len(impostor) - np.searchsorted(impostor, similarity, "right")
        rejected = np.searchsorted(genuine, similarity, "right")
        return OperatingPoint(
            float(similarity), float(accepted / len(impostor)), float(rejected / len(genuine))
        )

    # Even steps of false accepts on a logarithmic axis, as such curves are drawn.
    wanted = np.geomspace(1 / len(impostor), 1, _CURVE)
    ranks = np.unique(np.clip(np.floor(wanted * len(impostor)), 1, len(impostor)).astype(int))
    thresholds = np.unique(np.append(impostor[len(impostor) - ranks], found.similarity))
    return OpenSet(
        rate=rate,
        at_rate=at(found.similarity),
        at_fp32_threshold=None if fp32_threshold is None else at(fp32_threshold),
        threshold_shift=None if fp32_threshold is None else found.similarity - fp32_threshold,
        curve=[at(threshold) for threshold in thresholds],
        people=len({person for person, _ in embeddings}),
        genuine=len(genuine),
        impostor=len(impostor),
    )
