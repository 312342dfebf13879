"""How much of a whole, sharp, unobstructed person each crop of a frame shows.

Quality is a product of six factors, each 1 where nothing is lost; 0.4 is the least that the lock and
the embedding schedule look at:

| factor | 1 | 0.4 | 0 |
|---|---|---|---|
| height | 64 px | 30 px | 8 px |
| cut off at the top or bottom of the frame | nothing | 36 % | 60 % |
| cut off at its sides | nothing | 48 % | 80 % |
| covered by boxes in front | 10 % | 52 % | 80 % |
| blur, as a Gaussian on a crop of 128 rows, in the mean | sigma 1 | sigma 2.1 | sigma 3.3 |
| width / height | 0.2 to 0.6 | 0.14, 0.84 | 0.1, 1 |

The slopes are fitted to what a ReID network sees. 40 Market-1501 test crops were damaged and embedded
by OSNet x0.25 (mean over three draws of 40): cosine to the whole crop, share of those whose nearest
of the 40 whole crops is their own.

| damage | at 0.4 | at 0 |
|---|---|---|
| shrunk | 0.80, 1.00 | 0.46, 0.27 |
| cut off at the bottom, the top | 0.74, 0.98; 0.71, 0.93 | 0.51, 0.39; 0.48, 0.28 |
| cut off at one side | 0.80, 0.98 | 0.47, 0.26 |
| lower part, one side covered by another of the 40 | 0.62, 0.46; 0.70, 0.73 | 0.43, 0; 0.40, 0 |
| blurred | 0.76, 0.99 | 0.62, 0.77 |

Two strangers among them have a cosine of 0.38. The aspect was not measured.
"""

import math
from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_ROWS = 128  # crops are judged for blur at this height
_COLUMNS, _LINES = 8, 16  # points of a box that are tested for being covered
_ACROSS, _ALONG = np.array([[1.0, -2, 1]]), np.array([[1.0], [-2], [1]])  # second derivatives
_FLAT = 25.0  # variance of grey values below which there is hardly anything to see
_ROUNDING = 6 / 12  # of grey values to whole numbers, in the variance of a second derivative


class Cover(NamedTuple):
    """How N boxes of a frame cover each other.

    Attributes:
        overlap: (N,) float64, share of the part inside the frame that other boxes cover.
        covered: (N,) float64, the same by boxes of people who stand in front.
        rivals: For each box the rows of the boxes that cover some of it.
    """

    overlap: np.ndarray
    covered: np.ndarray
    rivals: List[Tuple[int, ...]]


class Crops(NamedTuple):
    """What is known of N boxes of a frame before any network runs.

    Attributes:
        quality: (N,) float64, 0 to 1.
        overlap: (N,) float64, share of the part inside the frame that other boxes cover.
        rivals: For each box the rows of the boxes that cover some of that.
        behind: (N,) bool, True where at least half of the overlap is by people who stand in front.
    """

    quality: np.ndarray
    overlap: np.ndarray
    rivals: List[Tuple[int, ...]]
    behind: np.ndarray


def assess(frame: np.ndarray, boxes: np.ndarray, solid: Optional[np.ndarray] = None) -> Crops:
    """Judge the crops of one frame.

    Args:
        frame: (H, W, 3) uint8 BGR.
        boxes: (N, 4) left, top, right, bottom in pixels; may reach beyond the frame.
        solid: (N,) bool, which boxes are people beyond doubt; the others cover nobody.

    Raises:
        ReidEdgeError: Not such a frame, boxes of another shape or not finite, or ``solid`` of
            another length.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ReidEdgeError(
            "A frame must be (H, W, 3) uint8 BGR, got shape %s dtype %s."
            % (frame.shape, frame.dtype)
        )
    boxes = _checked(boxes)
    inside = _clip(boxes, frame.shape[:2])
    seen = np.maximum(inside[:, 2:] - inside[:, :2], 0)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    overlap, covered, rivals = cover(boxes, frame.shape[:2], solid)
    quality = (
        _ramp(seen[:, 1], 8, 64)
        * _ramp(seen[:, 1] / sides[:, 1], 0.4, 1)
        * _ramp(seen[:, 0] / sides[:, 0], 0.2, 1)
        * _ramp(-covered, -0.8, -0.1)
        * _aspect(seen)
    )
    for row in np.flatnonzero(quality):
        quality[row] *= _sharpness(frame, inside[row])
    return Crops(quality, overlap, rivals, (covered > 0) & (covered >= overlap / 2))


def cover(
    boxes: np.ndarray, frame_size: Tuple[int, int], solid: Optional[np.ndarray] = None
) -> Cover:
    """Which boxes cover which, from geometry alone.

    Of two people whose boxes overlap, the one whose feet are lower in the picture stands in front;
    where the feet are about level, as where the frame cuts off both, the taller one.

    Counted on a grid of 8 x 16 points per box, because boxes that cover another may overlap each
    other. What lies between the points, up to an eighth of the width or a sixteenth of the height, is
    not seen.

    Args:
        boxes: (N, 4) left, top, right, bottom in pixels; may reach beyond the frame.
        frame_size: (height, width) in pixels.
        solid: (N,) bool, which boxes are people beyond doubt; the others cover nobody.

    Raises:
        ReidEdgeError: Boxes of another shape or not finite, or ``solid`` of another length.
    """
    boxes = _checked(boxes)
    count = len(boxes)
    solid = np.ones(count, bool) if solid is None else np.asarray(solid, bool)
    if solid.shape != (count,):
        raise ReidEdgeError(
            "There must be one value of solid for each of %d boxes, got shape %s."
            % (count, solid.shape)
        )
    inside = _clip(boxes, frame_size)
    left, top, right, bottom = inside.T[:, :, None]
    real = (left < right) & (top < bottom)
    x = left + (right - left) * ((np.arange(_COLUMNS) + 0.5) / _COLUMNS)  # (N, columns)
    y = top + (bottom - top) * ((np.arange(_LINES) + 0.5) / _LINES)
    within_x = (x[:, None] > left[None]) & (x[:, None] < right[None])  # [box, other, column]
    within_y = (y[:, None] > top[None]) & (y[:, None] < bottom[None])
    diagonal = np.arange(count)
    within_x[diagonal, diagonal] = False
    within_x[:, ~solid | ~real[:, 0]] = False
    within_x[~real[:, 0]] = False
    meets = within_x.any(axis=2) & within_y.any(axis=2)
    rivals = [tuple(np.flatnonzero(row).tolist()) for row in meets]
    if not meets.any():
        return Cover(np.zeros(count), np.zeros(count), rivals)

    lines = within_y.astype(np.float32)

    def share(columns: np.ndarray) -> np.ndarray:
        points = np.matmul(columns.transpose(0, 2, 1).astype(np.float32), lines)
        return (points > 0).mean(axis=(1, 2))

    # The height decides between feet at the same line, such as the lower edge of the frame.
    nearness = (bottom + 0.1 * (bottom - top))[:, 0]
    front = within_x & (nearness[None] > nearness[:, None])[..., None]
    return Cover(share(within_x), share(front), rivals)


def cut(frame: np.ndarray, boxes: np.ndarray) -> Sequence[np.ndarray]:
    """The crops of (N, 4) boxes as views into the frame, at least one pixel wide and high."""
    height, width = frame.shape[:2]
    crops = []
    for left, top, right, bottom in (
        np.rint(np.asarray(boxes, np.float64)).astype(int).reshape(-1, 4)
    ):
        left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
        crops.append(frame[top : max(bottom, top + 1), left : max(right, left + 1)])
    return crops


def _checked(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) float64, or (0, 4) of whatever is empty."""
    boxes = np.asarray(boxes, np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ReidEdgeError(
            "Boxes must be (N, 4) as left, top, right, bottom, got shape %s." % (boxes.shape,)
        )
    if not np.isfinite(boxes).all():
        raise ReidEdgeError(
            "Boxes must be finite, got NaN or infinity; the detector or its decoder is broken."
        )
    return boxes


def _clip(boxes: np.ndarray, frame_size: Tuple[int, int]) -> np.ndarray:
    limits = np.array([frame_size[1], frame_size[0]] * 2, np.float64)
    return np.minimum(np.maximum(boxes, 0), limits)


def _ramp(values: np.ndarray, zero: float, one: float) -> np.ndarray:
    # Not np.clip: it takes four times as long on so few values.
    return np.minimum(np.maximum((values - zero) / (one - zero), 0), 1)


def _aspect(sides: np.ndarray) -> np.ndarray:
    """Two people in one box are too wide, half a person is too wide or too narrow."""
    aspect = sides[:, 0] / np.maximum(sides[:, 1], 1e-6)
    return np.minimum(_ramp(aspect, 0.1, 0.2), _ramp(-aspect, -1.0, -0.6))


def _sharpness(frame: np.ndarray, box: np.ndarray) -> float:
    """0..1 from the second derivatives of the middle of the crop, relative to its contrast.

    Less where there is hardly any contrast, because what noise there is would pass for detail.

    The Laplacian's two parts are measured apart and the weaker counts: a turning camera blurs in one
    direction only, and in the other a crop stays sharp. Rows and columns are skipped to bring large
    crops to one size; what is sharp there stays sharp, what is blurred stays blurred.
    """
    left, top, right, bottom = box.tolist()
    width, height = right - left, bottom - top
    step = max(1, round(height / _ROWS))
    grey = np.ascontiguousarray(
        frame[
            int(top + 0.1 * height) : math.ceil(top + 0.7 * height) : step,
            int(left + 0.2 * width) : math.ceil(left + 0.8 * width) : step,
            1,
        ]
    )
    if min(grey.shape) < 3:
        return 0.0
    _, deviation = cv2.meanStdDev(grey)
    across = cv2.filter2D(grey, cv2.CV_16S, _ACROSS)[:, 1:-1]  # without the mirrored border
    along = cv2.filter2D(grey, cv2.CV_16S, _ALONG)[1:-1]
    energy = min(
        cv2.norm(across, cv2.NORM_L2SQR) / across.size, cv2.norm(along, cv2.NORM_L2SQR) / along.size
    )
    variance = float(deviation[0, 0]) ** 2
    detail = (energy - _ROUNDING) / (variance + _FLAT)
    sharpness = min(max(math.log10(max(detail, 1e-9) / 0.0008), 0.0), 1.0)
    return sharpness * min(variance / _FLAT, 1.0)
