"""From a histogram to a quantization range, and the error each range would cause.

Ranges come in two forms. Symmetric int8 (TensorRT): one ``amax``, scale ``amax / 127``, codes
-128..127, zero-point 0. Asymmetric uint8 (ONNX Runtime on a CPU): ``low <= 0 <= high``, scale
``(high - low) / 255``, codes 0..255.

| method | symmetric amax | asymmetric (low, high) |
|---|---|---|
| ``minmax`` | largest magnitude | smallest and largest value |
| ``percentile`` | quantile of the magnitudes | equal tails cut at both ends |
| ``entropy`` | least KL divergence, as in pytorch-quantization | real range cut to +-amax |
| ``entropy-mlperf`` | least KL divergence, as NVIDIA describes it for MLPerf | same |
| ``mse`` | least mean square error of the quantized values | same, searched on both ends |

No method goes beyond the data; ``mse`` never has a larger mean square error than ``minmax``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from calibration.entropy import mlperf_amax, pytorch_quantization_amax
from calibration.histogram import TensorHistogram
from runtime.errors import ReidEdgeError

METHODS = ("minmax", "percentile", "entropy", "entropy-mlperf", "mse")
DEFAULT_PERCENTILE = 99.99
# A live tensor's scale must stay a normal float32 with room for the int32 bias scale.
MIN_AMAX = 1e-6
# A dead tensor needs some positive scale (TensorRT aborts on 0). One as small as MIN_AMAX would
# overflow the bias that is stored in int32 at input scale x weight scale.
DEAD_AMAX = 1.0

_INT8 = (-128, 127)
_UINT8 = (0, 255)
_SHRINK = np.exp2(-np.arange(81) / 8.0)  # mse search: eight steps per octave, ten octaves


@dataclass(frozen=True)
class RangeLoss:
    """What one method would choose for a tensor, and the mean square error that would cause.

    ``mse`` belongs to symmetric int8 with ``amax``; ``mse_asymmetric`` to uint8 with
    ``(low, high)``; both are per value, in squared units of the tensor, zeros included.
    """

    amax: float
    mse: float
    low: float
    high: float
    mse_asymmetric: float


@dataclass(frozen=True)
class TensorRange:
    """The chosen range of one tensor, with what every other method would have chosen.

    Attributes:
        amax: Symmetric range, always positive.
        low, high: Asymmetric range; low <= 0 <= high, low < high.
        method: The method that chose it.
        dead: Whether every value seen was zero; amax is then only a placeholder.
        losses: Method name to its range and error.
        count: Values seen.
        histogram_sha256: Digest of the histogram all this was computed from.
    """

    amax: float
    low: float
    high: float
    method: str
    dead: bool
    losses: Mapping[str, RangeLoss]
    count: int
    histogram_sha256: str

    def with_method(self, method: str) -> TensorRange:
        """The same tensor with another method's range."""
        check_method(method)
        loss = self.losses[method]
        return replace(self, amax=loss.amax, low=loss.low, high=loss.high, method=method)


def check_method(method: str) -> None:
    """Raise ReidEdgeError unless ``method`` is one of METHODS."""
    if method not in METHODS:
        raise ReidEdgeError(
            f"Calibration method must be one of {', '.join(METHODS)}, got {method!r}."
        )


def choose(
    histogram: TensorHistogram,
    method: str,
    *,
    percentile: float = DEFAULT_PERCENTILE,
    min_amax: float = MIN_AMAX,
    dead_amax: float = DEAD_AMAX,
) -> TensorRange:
    """Choose the range of one tensor and record what every method would have chosen.

    Args:
        histogram: The tensor's values.
        method: One of METHODS.
        percentile: Quantile in percent for ``percentile``, above 50, at most 100.
        min_amax: Lower bound of every range of a live tensor.
        dead_amax: Range given to a tensor that was always zero.

    Raises:
        ReidEdgeError: Unknown method, percentile out of range, a bound that is not positive, or no
            value was collected.
    """
    check_method(method)
    if not 50.0 < percentile <= 100.0:
        raise ReidEdgeError(f"Percentile must be above 50 and at most 100, got {percentile}.")
    if not (min_amax > 0.0 and dead_amax > 0.0):
        raise ReidEdgeError(
            f"The least amax must be positive, got {min_amax} (live) and {dead_amax} (dead)."
        )
    if not histogram.count:
        raise ReidEdgeError(
            f"Tensor {histogram.name!r} has no values; collect ranges from at least one crop."
        )
    losses = {
        name: _evaluated(histogram, name, percentile, min_amax, dead_amax) for name in METHODS
    }
    chosen = losses[method]
    return TensorRange(
        chosen.amax,
        chosen.low,
        chosen.high,
        method,
        histogram.dead,
        losses,
        histogram.count,
        histogram.digest(),
    )


def symmetric_amax(
    histogram: TensorHistogram, method: str, *, percentile: float = DEFAULT_PERCENTILE
) -> float:
    """The unclamped symmetric range of a live tensor; see the table above."""
    if method == "minmax":
        return histogram.peak
    if method == "percentile":
        return _percentile_amax(histogram, percentile)
    if method == "entropy":
        return min(pytorch_quantization_amax(histogram), histogram.peak)
    if method == "entropy-mlperf":
        return min(mlperf_amax(histogram), histogram.peak)
    check_method(method)
    return _least(lambda amax: symmetric_mse(histogram, amax), histogram.peak)


def asymmetric_range(
    histogram: TensorHistogram, method: str, *, percentile: float = DEFAULT_PERCENTILE
) -> tuple[float, float]:
    """The unclamped ``(low, high)`` of a live tensor, zero always inside; see the table above.

    Neither published entropy procedure has an asymmetric form: it trims the real range to +-amax.
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "minmax":
        return low, high
    if method == "percentile":
        return _percentile_range(histogram, percentile)
    if method == "mse":
        return _least_square_range(histogram)
    amax = symmetric_amax(histogram, method)
    return max(low, -amax), min(high, amax)


def symmetric_mse(histogram: TensorHistogram, amax: float | np.ndarray) -> np.ndarray:
    """Mean square error of symmetric int8 with each ``amax``; same shape as ``amax``."""
    scale = np.asarray(amax, np.float64) / 127.0
    return _mean_square_error(histogram, scale, np.zeros_like(scale), _INT8)


def asymmetric_mse(
    histogram: TensorHistogram, low: float | np.ndarray, high: float | np.ndarray
) -> np.ndarray:
    """Mean square error of uint8 with each ``(low, high)``; the two broadcast."""
    low, high = np.broadcast_arrays(np.float64(low), np.float64(high))
    scale = (high - low) / 255.0
    return _mean_square_error(histogram, scale, np.rint(-low / scale), _UINT8)


def _evaluated(
    histogram: TensorHistogram, method: str, percentile: float, min_amax: float, dead_amax: float
) -> RangeLoss:
    if histogram.dead:
        return RangeLoss(dead_amax, 0.0, 0.0, dead_amax, 0.0)
    amax = max(symmetric_amax(histogram, method, percentile=percentile), min_amax)
    low, high = asymmetric_range(histogram, method, percentile=percentile)
    if high - low < min_amax:
        low, high = (-min_amax, high) if -low > high else (low, min_amax)
    return RangeLoss(
        float(amax),
        float(symmetric_mse(histogram, amax)),
        float(low),
        float(high),
        float(asymmetric_mse(histogram, low, high)),
    )


def _mean_square_error(
    histogram: TensorHistogram, scale: np.ndarray, zero_point: np.ndarray, codes: tuple[int, int]
) -> np.ndarray:
    """Expected square error, taking values as spread evenly within each bin.

    In steps of the scale, the error of t is (t - n)^2 with n the nearest allowed integer, whose
    antiderivative n / 12 + (t - n)^3 / 3 is continuous across rounding and clipping alike. So the
    mean over a bin is exact at any bin width. Exact zeros cost nothing.
    """
    occupied = np.flatnonzero(histogram.counts)
    if not occupied.size:
        return np.zeros(np.shape(scale))
    span = slice(occupied[0], occupied[-1] + 1)
    edges = np.clip(histogram.edges[occupied[0] : occupied[-1] + 2], histogram.low, histogram.high)
    scale, zero_point = scale[..., None], zero_point[..., None]
    t = edges / scale
    n = np.clip(np.rint(t), codes[0] - zero_point, codes[1] - zero_point)
    rest = t - n
    width = np.diff(t)
    middle = (t[..., 1:] + t[..., :-1]) / 2.0
    nearest = np.clip(np.rint(middle), codes[0] - zero_point, codes[1] - zero_point)
    # A bin cut to almost nothing by the data's own extremes has no width to integrate over.
    thin = width < 1e-6
    integral = np.diff(n / 12.0 + rest * rest * rest / 3.0) / np.where(thin, 1.0, width)
    error = np.where(thin, (middle - nearest) ** 2, integral)
    weights = histogram.counts[span].astype(np.float64)
    return (error @ weights) * scale[..., 0] ** 2 / histogram.count


def _least(loss: Callable[[np.ndarray], np.ndarray], start: float) -> float:
    """The range end of least loss, at most ``start``: a coarse search, then one around its best."""
    coarse = start * _SHRINK
    errors = loss(coarse)
    best = int(np.argmin(errors))
    fine = np.linspace(coarse[min(best + 1, coarse.size - 1)], coarse[max(best - 1, 0)], 33)
    fine_errors = loss(fine)
    if fine_errors.min() < errors[best]:
        return float(fine[np.argmin(fine_errors)])
    return float(coarse[best])


def _least_square_range(histogram: TensorHistogram) -> tuple[float, float]:
    """Coordinate descent over both ends, which interact only through the step size."""
    low, high = floor, ceiling = min(histogram.low, 0.0), max(histogram.high, 0.0)
    least = asymmetric_mse(histogram, low, high)
    for _ in range(2 if low < 0.0 < high else 1):
        for moves_high in (True, False):
            new_low, new_high = low, high
            if moves_high and ceiling > 0.0:
                new_high = _least(partial(asymmetric_mse, histogram, low), ceiling)
            elif not moves_high and floor < 0.0:
                new_low = -_least(partial(_mse_of_low, histogram, high), -floor)
            loss = asymmetric_mse(histogram, new_low, new_high)
            if loss < least:
                low, high, least = new_low, new_high, loss
    return low, high


def _mse_of_low(histogram: TensorHistogram, high: float, depth: np.ndarray) -> np.ndarray:
    return asymmetric_mse(histogram, -depth, high)


def _quantile(counts: np.ndarray, below: int, percentile: float, limit: float) -> float:
    """Quantile of values of which ``below`` are <= 0 and the rest are binned over (0, limit).

    Values are taken as spread evenly within their bin; 0.0 when the quantile is not positive.
    """
    binned = int(counts.sum())
    wanted = min((below + binned) * (percentile / 100.0) - below, float(binned))
    if wanted <= 0.0:
        return 0.0
    total = np.cumsum(counts)
    index = int(np.searchsorted(total, wanted))
    before = total[index] - counts[index]
    return float((index + (wanted - before) / counts[index]) * (limit / counts.size))


def _percentile_amax(histogram: TensorHistogram, percentile: float) -> float:
    """Quantile of all magnitudes; of the non-zero ones where that would be zero.

    Almost all of a sparse ReLU output is zero: its quantile would erase the tensor, so there it is
    taken over the values that carry information.
    """
    counts = histogram.magnitude_counts
    amax = _quantile(counts, histogram.zeros, percentile, histogram.limit)
    if amax == 0.0:
        amax = _quantile(counts, 0, percentile, histogram.limit)
    return min(amax, histogram.peak)


def _percentile_range(histogram: TensorHistogram, percentile: float) -> tuple[float, float]:
    """Cut half of the excluded share from each end, zero kept inside; zeros as for the amax."""
    inner = (100.0 + percentile) / 2.0
    negative = histogram.counts[: histogram.bins][::-1]
    positive = histogram.counts[histogram.bins :]
    low = high = 0.0
    for zeros in (histogram.zeros, 0):
        if low == high == 0.0:
            low = 0.0 - _quantile(negative, zeros + int(positive.sum()), inner, histogram.limit)
            high = _quantile(positive, zeros + int(negative.sum()), inner, histogram.limit)
    return max(low, min(histogram.low, 0.0)), min(high, max(histogram.high, 0.0))
