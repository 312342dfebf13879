"""Choose points that cover an embedding space, with shares for cameras and identities."""

from __future__ import annotations

import math

import numpy as np

from calibration.layouts import UNKNOWN
from runtime.errors import ReidEdgeError


def k_center(
    embeddings: np.ndarray,
    count: int,
    person_ids: np.ndarray,
    camera_ids: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Greedy k-center: each next point is the one farthest from all chosen so far.

    Its largest gap is at most twice the best possible (T. F. Gonzalez, 1985), as long as no share
    below is used up. A camera gets at most a quarter more than an even share, an identity at most
    an even share; points of groups that are full wait until every group is. Unknown (-1) cameras
    and identities have no share.

    Args:
        embeddings: (N, D) float; compared by cosine.
        count: How many to choose; all N if there are fewer.
        person_ids, camera_ids: (N,) integer labels.
        rng: Chooses the first point.

    Returns:
        (min(count, N),) int64 distinct indices, in the order of choice.

    Raises:
        ReidEdgeError: The embeddings are not (N, D) finite numbers.
    """
    embeddings = np.asarray(embeddings, np.float32)
    if embeddings.shape[:1] != np.shape(person_ids) or embeddings.ndim != 2:
        raise ReidEdgeError(
            f"Coverage needs one embedding per crop, expected ({len(person_ids)}, D), "
            f"got {embeddings.shape}."
        )
    if not np.isfinite(embeddings).all():
        raise ReidEdgeError("Embeddings hold NaN or infinity; check the network's weights.")
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = embeddings / np.maximum(norms, np.finfo(np.float32).tiny)
    count = min(count, len(units))
    shares = (_Share(camera_ids, count, slack=1.25), _Share(person_ids, count, slack=1.0))
    closest = np.full(len(units), -2.0, np.float32)  # cosine to the nearest chosen point
    chosen = np.empty(count, np.int64)
    free = np.ones(len(units), bool)
    for position in range(count):
        eligible = _eligible(free, shares)
        if position == 0:
            index = int(rng.choice(np.flatnonzero(eligible)))
        else:
            index = int(np.argmin(np.where(eligible, closest, np.inf)))
        chosen[position] = index
        free[index] = False
        for share in shares:
            share.take(index)
        np.maximum(closest, units @ units[index], out=closest)
    return chosen


class _Share:
    """How many points of each group may still be chosen."""

    def __init__(self, labels: np.ndarray, count: int, slack: float):
        labels = np.asarray(labels)
        groups, self._group = np.unique(labels, return_inverse=True)
        self._left = np.full(len(groups), math.ceil(slack * count / len(groups)))
        self._unlimited = labels == UNKNOWN

    def open(self) -> np.ndarray:
        return self._unlimited | (self._left[self._group] > 0)

    def take(self, index: int) -> None:
        self._left[self._group[index]] -= 1

    def enlarge(self) -> None:
        self._left += 1


def _eligible(free: np.ndarray, shares: tuple[_Share, ...]) -> np.ndarray:
    while True:
        eligible = free.copy()
        for share in shares:
            eligible &= share.open()
        if eligible.any():
            return eligible
        for share in shares:
            share.enlarge()
