"""Raw outputs of detection networks to persons' boxes and scores; nothing but arithmetic.

Each decoder takes the network's outputs for one image and gives the candidates in network pixels,
before non-maximum suppression. Scores are found first and boxes only where they reach the
threshold: of some thousand cells a handful hold a person. A score that is NaN or outside 0 to 1
raises, because a comparison would quietly drop it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Sequence, Tuple

import numpy as np

from runtime.errors import ReidEdgeError

STRIDES = (8, 16, 32)
STRIDES_P6 = (8, 16, 32, 64)
# Exponents of objectness and class in FastestDet's score, as in its repository (dog-qiuqiu).
_FASTESTDET_OBJECT, _FASTESTDET_CLASS = 0.6, 0.4

Size = Tuple[int, int]  # (height, width) of the network's input
Outputs = Sequence[np.ndarray]


class Candidates(NamedTuple):
    """Boxes that may hold a person.

    Attributes:
        boxes: (N, 4) float32 left, top, right, bottom in network pixels.
        scores: (N,) float32.
    """

    boxes: np.ndarray
    scores: np.ndarray


class Grid(NamedTuple):
    """The cells of all strides, smallest stride first, row by row.

    Attributes:
        cells: (M, 2) float32 column and row of each cell.
        strides: (M, 1) float32 its side in pixels.
    """

    cells: np.ndarray
    strides: np.ndarray


@lru_cache(maxsize=16)
def make_grid(size: Size, strides: Tuple[int, ...] = STRIDES) -> Grid:
    """The grid over an input of ``size``; a cell that is partly outside counts."""
    cells, sides = [], []
    for stride in strides:
        rows, columns = (-(-side // stride) for side in size)
        row, column = np.mgrid[:rows, :columns]
        cells.append(np.stack([column.ravel(), row.ravel()], axis=1))
        sides.append(np.full((rows * columns, 1), stride))
    return Grid(np.concatenate(cells).astype(np.float32), np.concatenate(sides).astype(np.float32))


def decode_yolov5(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """(1, M, 5 + classes): centre x, y, width, height in pixels, objectness, classes; decoded."""
    rows = outputs[0][0]
    scores, chosen = _choose(rows[:, 4] * rows[:, 5 + person], threshold)
    return Candidates(_from_centres(rows[chosen, :4]), scores)


def decode_yolov8(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """(1, 4 + classes, M): centre x, y, width, height in pixels, classes; decoded, no objectness."""
    columns = outputs[0][0]
    scores, chosen = _choose(columns[4 + person], threshold)
    return Candidates(_from_centres(columns[:4, chosen].T), scores)


def decode_yolox(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """(1, M, 5 + classes): offsets and log sizes in strides, objectness, classes (Ge et al. 2021)."""
    rows, grid = outputs[0][0], make_grid(size)
    scores, chosen = _choose(rows[:, 4] * rows[:, 5 + person], threshold)
    strides = grid.strides[chosen]
    centres = (rows[chosen, :2] + grid.cells[chosen]) * strides
    with np.errstate(over="ignore"):  # infinity is reported as such, in Detections
        sizes = np.exp(rows[chosen, 2:4]) * strides
    return Candidates(_from_centres(np.concatenate([centres, sizes], axis=1)), scores)


def decode_nanodet(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """Per stride (1, M, classes), then per stride (1, M, 4 * bins): distances as distributions.

    Cells are seen from their middle (NanoDet up to 0.4; generalised focal loss, Li et al. 2020).
    """
    levels = len(outputs) // 2
    scores = np.concatenate([classes[0][:, person] for classes in outputs[:levels]])
    bins = np.concatenate([distances[0] for distances in outputs[levels:]])
    return _from_distributions(scores, bins, make_grid(size), 0.5, threshold)


def decode_nanodet_plus(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """(1, M, classes + 32), strides 8 to 64; cells are seen from their upper left corner."""
    rows = outputs[0][0]
    grid = make_grid(size, STRIDES_P6)
    return _from_distributions(rows[:, person], rows[:, -32:], grid, 0.0, threshold)


def decode_fastestdet(outputs: Outputs, size: Size, threshold: float, person: int) -> Candidates:
    """(1, 5 + classes, rows, columns): objectness, tanh offsets, sigmoid sizes, classes."""
    maps = outputs[0][0]
    channels, rows, columns = maps.shape
    cells = maps.reshape(channels, rows * columns)
    with np.errstate(invalid="ignore"):  # a negative base gives NaN, which is reported
        mixed = cells[0] ** _FASTESTDET_OBJECT * cells[5 + person] ** _FASTESTDET_CLASS
    scores, chosen = _choose(mixed, threshold)
    row, column = np.divmod(np.flatnonzero(chosen), columns)
    height, width = size
    centre_x = (np.tanh(cells[1, chosen]) + column) * (width / columns)
    centre_y = (np.tanh(cells[2, chosen]) + row) * (height / rows)
    sides = _sigmoid(cells[3, chosen]) * width, _sigmoid(cells[4, chosen]) * height
    return Candidates(_from_centres(np.stack([centre_x, centre_y, *sides], axis=1)), scores)


def _choose(scores, threshold):
    """Scores that reach the threshold as float32, and the mask of them."""
    if not np.isfinite(scores).all():
        raise ReidEdgeError(
            "The detector returned scores that are not finite (NaN or infinity); export it again in "
            "fp32 or with another calibration."
        )
    if len(scores) and (scores.min() < -1e-3 or scores.max() > 1 + 1e-3):
        raise ReidEdgeError(
            "A detector's scores are 0 to 1, got %.3g to %.3g: this export leaves out the sigmoid, "
            "or is of another kind; name the kind or export it again."
            % (scores.min(), scores.max())
        )
    chosen = scores > threshold
    return np.clip(scores[chosen], 0, 1).astype(np.float32), chosen


def _from_centres(boxes):
    """(N, 4) centre x, y, width, height as left, top, right, bottom, float32."""
    centres, halves = boxes[:, :2], boxes[:, 2:4] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


def _from_distributions(scores, bins, grid, middle, threshold):
    """Boxes whose four distances from a point are means of distributions over whole strides."""
    scores, chosen = _choose(scores, threshold)
    strides = grid.strides[chosen]
    weights = bins[chosen].reshape(len(strides), 4, bins.shape[1] // 4)
    weights = np.exp(weights - weights.max(axis=2, keepdims=True))
    steps = np.arange(weights.shape[2], dtype=np.float32)
    distances = weights @ steps / weights.sum(axis=2) * strides
    points = (grid.cells[chosen] + np.float32(middle)) * strides
    boxes = np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1)
    return Candidates(boxes.astype(np.float32), scores)


def _sigmoid(values):
    return 0.5 * (1 + np.tanh(values / 2))  # no overflow at either end
