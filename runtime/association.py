"""Which detection continues which track: costs, limits and their assignment."""

from typing import Callable, Optional, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

_FORBIDDEN = 1e6  # far above any cost, and small enough to leave the costs their digits


def assign(cost: np.ndarray, allowed: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The assignment with the most allowed pairs and, among those, the lowest sum of costs.

    Args:
        cost: (N, M) float, finite and below 1000 in absolute value.
        allowed: (N, M) bool.

    Returns:
        Rows and columns of the pairs, (K,) integers each, by ascending row.

    Raises:
        ReidEdgeError: scipy is missing.
    """
    none = np.empty(0, np.intp)
    if not allowed.any():
        return none, none
    rows, columns = linear_sum_assignment()(np.where(allowed, cost, _FORBIDDEN))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def appearance_distance(
    embeddings: Optional[np.ndarray], others: Optional[np.ndarray]
) -> Optional[np.ndarray]:
    """Cosine distance of every pair, 0 to 2, NaN where one has no embedding; None without any.

    Args:
        embeddings: (N, D) float32, L2-normalised; NaN rows have none.
        others: (M, D), the same.
    """
    if embeddings is None or others is None:
        return None
    return 1 - embeddings @ others.T


def largest_with_others(overlap: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """For each of N boxes its largest overlap with one of those in ``columns`` but itself: (N,).

    Args:
        overlap: (N, N) overlaps of the boxes with each other.
        columns: (M,) which of them count; without any all are 0.
    """
    if not len(columns):
        return np.zeros(len(overlap))
    others = overlap[:, columns]
    others[columns, np.arange(len(columns))] = 0
    return others.max(axis=1)


def linear_sum_assignment() -> Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]:
    """scipy's solver, imported here because a board may lack it.

    Raises:
        ReidEdgeError: It cannot be imported.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ReidEdgeError(
            "Tracking needs scipy for its assignment; install it with `pip install scipy` "
            "(Jetson and RDK X3: `sudo apt install python3-scipy`)."
        ) from None
    return linear_sum_assignment
