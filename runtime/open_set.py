"""Where to draw the line between "the same person" and "somebody else"."""

from dataclasses import dataclass

import numpy as np

from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class OpenSetThreshold:
    """A similarity above which two crops are taken for the same person.

    Attributes:
        similarity: The threshold, a cosine.
        false_accept_rate: Share of pairs of different people above it.
        false_reject_rate: Share of pairs of the same person below it.
        impostor_pairs, genuine_pairs: How many pairs that was measured on.
    """

    similarity: float
    false_accept_rate: float
    false_reject_rate: float
    impostor_pairs: int
    genuine_pairs: int


def calibrate_threshold(
    genuine: np.ndarray, impostor: np.ndarray, false_accept_rate: float
) -> OpenSetThreshold:
    """The smallest threshold whose false-accept rate on ``impostor`` is at most the stated one.

    Args:
        genuine: (G,) cosines of pairs of crops of the same person, seen by different cameras or
            at different times.
        impostor: (I,) cosines of pairs of different people.
        false_accept_rate: In (0, 1); needs at least 1 / rate impostor pairs, for an extreme that
            was never observed cannot be measured.

    Raises:
        ReidEdgeError: Too few pairs, NaN, or a rate out of range.
    """
    genuine, impostor = (np.asarray(v, np.float64).ravel() for v in (genuine, impostor))
    if not 0 < false_accept_rate < 1:
        raise ReidEdgeError(
            "A false-accept rate must be between 0 and 1, got %r." % false_accept_rate
        )
    needed = int(np.ceil(1 / false_accept_rate))
    if len(impostor) < needed or not len(genuine):
        raise ReidEdgeError(
            "A false-accept rate of %g needs at least %d pairs of different people and one of the "
            "same, got %d and %d." % (false_accept_rate, needed, len(impostor), len(genuine))
        )
    if not (np.isfinite(genuine).all() and np.isfinite(impostor).all()):
        raise ReidEdgeError("Similarities must be finite; check the embeddings for NaN.")
    # Accepted is what lies above the threshold, so the value that comes next is the threshold.
    allowed = int(np.floor(false_accept_rate * len(impostor)))
    similarity = float(np.partition(impostor, len(impostor) - 1 - allowed)[-1 - allowed])
    return OpenSetThreshold(
        similarity,
        float((impostor > similarity).mean()),
        float((genuine <= similarity).mean()),
        len(impostor),
        len(genuine),
    )
