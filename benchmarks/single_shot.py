"""Rank-k as CUHK03's classic protocol counts it: one gallery image per person, drawn many times.

Li et al., DeepReID, CVPR 2014, section 5: from the gallery one image of each person is drawn, the
queries are ranked against these, and the rates are the mean over repeated draws. They are lower than
against all images of the gallery, so the two must not be compared.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from benchmarks.metrics import JUNK_ID
from runtime.errors import ReidEdgeError
from runtime.preprocess import l2_normalize


def single_shot_hits(
    query_features: np.ndarray,
    query_ids: np.ndarray,
    query_cams: np.ndarray,
    gallery_features: np.ndarray,
    gallery_ids: np.ndarray,
    gallery_cams: np.ndarray,
    *,
    ranks: Sequence[int] = (1, 5, 10),
    draws: int = 100,
    seed: int = 0,
) -> np.ndarray:
    """How often each query's person is among its nearest, over galleries of one image per person.

    In each draw the gallery is put into a random order and the first image of each person is taken;
    for the query's own person the first from another camera. Ties count against the query's person.

    Args:
        query_features: (Q, D) finite float; normalised here, as in benchmarks.metrics.
        query_ids, query_cams: (Q,) int.
        gallery_features: (G, D) finite float.
        gallery_ids, gallery_cams: (G,) int; junk (-1) is left out.
        ranks: The k of Rank-k.
        draws: Galleries drawn.
        seed: Of the draws.

    Returns:
        (Q, len(ranks)) float64 shares 0..1; NaN for a query without a true match.

    Raises:
        ReidEdgeError: No draws, or no gallery.
    """
    kept = np.flatnonzero(gallery_ids != JUNK_ID)
    if draws < 1 or not len(kept) or not len(query_ids):
        raise ReidEdgeError(
            "Single-shot ranks need queries, a gallery and at least 1 draw, got %d, %d and %d."
            % (len(query_ids), len(kept), draws)
        )
    ids, cams = gallery_ids[kept], gallery_cams[kept]
    similarity = l2_normalize(query_features) @ l2_normalize(gallery_features[kept]).T
    rng = np.random.default_rng(seed)
    hits = np.zeros((len(query_ids), len(ranks)))
    own = ids[None, :] == query_ids[:, None]
    true = own & (cams[None, :] != query_cams[:, None])
    rows = np.arange(len(query_ids))
    for _ in range(draws):
        order = rng.permutation(len(kept))
        people, first = np.unique(ids[order], return_index=True)
        drawn = order[first]
        mine = order[np.argmax(true[:, order], axis=1)]  # first true match in the drawn order
        others = np.where(people[None, :] == query_ids[:, None], -np.inf, similarity[:, drawn])
        rank = 1 + np.sum(others >= similarity[rows, mine][:, None], axis=1)
        hits += rank[:, None] <= np.asarray(ranks)[None, :]
    hits /= draws
    hits[~true.any(axis=1)] = np.nan
    return hits
