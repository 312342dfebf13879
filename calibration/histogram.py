"""One tensor's values, streamed into a histogram that fits in memory and merges exactly."""

from __future__ import annotations

import hashlib
import math

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

DEFAULT_BINS = 2048
# cv2.calcHist returns float32 counts, exact up to 2**24 values.
_CHUNK = 1 << 24
# A histogram reaches up to the next power of two, which must itself be a finite float32.
_OVERFLOW = 2.0**126


class TensorHistogram:
    """Streaming range and histogram of one tensor.

    The histogram covers ``[-limit, limit)`` with ``bins`` equal bins on either side of zero, where
    ``limit`` is the smallest power of two above every magnitude seen. When a larger value arrives
    the limit doubles and neighbouring bins are added together, so no data is read twice, and two
    histograms with the same ``bins`` merge into what one pass over all data would have given.
    Exact zeros (the bulk of a ReLU output, and always representable) are counted apart.

    Attributes:
        name: Tensor name, used in messages.
        bins: Bins on either side of zero.
        limit: Upper edge of the last bin, a power of two; 0.0 while only zeros were seen.
        counts: (2 * bins,) int64; ``counts[bins]`` starts at zero. Exact zeros are not in here.
        zeros: How many values were exactly zero.
        count: How many values were seen.
        low, high: Exact signed minimum and maximum; inf and -inf before the first value.
    """

    def __init__(self, name: str, bins: int = DEFAULT_BINS):
        if bins < 256 or bins & (bins - 1):
            raise ReidEdgeError(f"Histogram bins must be a power of two, at least 256, got {bins}.")
        self.name = name
        self.bins = bins
        self.limit = 0.0
        self.counts = np.zeros(2 * bins, np.int64)
        self.zeros = 0
        self.count = 0
        self.low = math.inf
        self.high = -math.inf

    @property
    def peak(self) -> float:
        """Largest magnitude seen, 0.0 before the first value."""
        return max(-self.low, self.high, 0.0) if self.count else 0.0

    @property
    def dead(self) -> bool:
        """Whether values were seen and every one was zero."""
        return self.count > 0 and self.peak == 0.0

    @property
    def edges(self) -> np.ndarray:
        """(2 * bins + 1,) float64 bin edges, ascending from -limit to limit."""
        return np.arange(-self.bins, self.bins + 1) * (self.limit / self.bins)

    @property
    def magnitude_counts(self) -> np.ndarray:
        """(bins,) int64 histogram of |x| over [0, limit), exact zeros left out."""
        return self.counts[self.bins :] + self.counts[: self.bins][::-1]

    def update(self, values: np.ndarray) -> None:
        """Add an array of any shape and float type (binned as float32).

        Raises:
            ReidEdgeError: A value is NaN, infinite, or beyond 2**126.
        """
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())  # a NaN anywhere makes both NaN
        peak = max(-low, high)
        if not peak < _OVERFLOW:
            found = "NaN" if math.isnan(peak) else f"values of magnitude {peak:g}"
            raise ReidEdgeError(
                f"Tensor {self.name!r} was expected to hold finite values but holds {found}; "
                "check the weights and the preprocessing of the network."
            )
        self.count += flat.size
        self.low, self.high = min(self.low, low), max(self.high, high)
        if peak == 0.0:
            self.zeros += flat.size
            return
        self._widen(_power_of_two_above(peak))
        zeros = flat.size - int(np.count_nonzero(flat))
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK].reshape(-1, 1)
            # Three times faster than np.histogram, and it releases the interpreter lock.
            binned = cv2.calcHist([chunk], [0], None, [2 * self.bins], [-self.limit, self.limit])
            self.counts += binned.reshape(-1).astype(np.int64)
        self.zeros += zeros
        self.counts[self.bins] -= zeros

    def merge(self, other: TensorHistogram) -> None:
        """Add another histogram of the same tensor, as if its data had come through ``update``.

        Exact, except that negative values under 2**-40 of a bin count as positive ones.

        Raises:
            ReidEdgeError: The two have different numbers of bins.
        """
        if other.bins != self.bins:
            raise ReidEdgeError(
                f"Cannot merge histograms of {self.name!r} with {self.bins} and {other.bins} bins; "
                "collect both with the same number."
            )
        self._widen(other.limit)
        if other.limit:
            self.counts += _coarsened(other.counts, self.limit / other.limit)
        self.zeros += other.zeros
        self.count += other.count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def digest(self) -> str:
        """SHA-256 (hex) of everything but the name: equal digests, equal data distribution."""
        head = (self.bins, self.limit, self.zeros, self.count, self.low, self.high)
        counts = self.counts.astype("<i8").tobytes()
        return hashlib.sha256(repr(head).encode() + counts).hexdigest()

    def _widen(self, limit: float) -> None:
        if limit > self.limit:
            if self.limit:
                self.counts = _coarsened(self.counts, limit / self.limit)
            self.limit = limit


def _power_of_two_above(value: float) -> float:
    return math.ldexp(1.0, math.frexp(value)[1])


def _coarsened(counts: np.ndarray, factor: float) -> np.ndarray:
    """The same counts over a range wider by ``factor`` (a power of two), zero kept in place."""
    bins = counts.size // 2
    kept = bins // int(min(factor, bins))  # a larger factor leaves all in the bins next to zero
    wide = np.zeros_like(counts)
    wide[bins - kept : bins] = counts[:bins].reshape(kept, -1).sum(axis=1)
    wide[bins : bins + kept] = counts[bins:].reshape(kept, -1).sum(axis=1)
    return wide
