"""The lens of a camera from pictures of a chessboard (Zhang 2000, as OpenCV computes it)."""

from dataclasses import dataclass
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple, Union

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_MIN_VIEWS = 8
_SAME_PLACE = 0.03  # farthest way of a corner, as a share of the frame's width
_OUTLIER = 3.0  # a picture's error against the median
_OUTLIER_PX = 1.0
_CELLS = 5  # the frame is divided into this many rows and columns
_GOOD_RMS_PX = 1.0
_GOOD_COVERAGE = 0.6
_GOOD_FOCAL = 0.01  # relative standard deviation


@dataclass(frozen=True)
class Board:
    """A chessboard, by the corners where four squares meet.

    Attributes:
        columns, rows: Inner corners; a board of 10 x 7 squares has 9 x 6. They must differ, or the
            board could be read turned by a quarter.
        square_m: Side of a square. The lens does not depend on it.
    """

    columns: int = 9
    rows: int = 6
    square_m: float = 0.025

    def __post_init__(self):
        if min(self.columns, self.rows) < 3 or self.columns == self.rows or not self.square_m > 0:
            raise ReidEdgeError(
                "A board needs at least 3 inner corners each way, not equally many, and squares with "
                "a size, got %d x %d of %g m." % (self.columns, self.rows, self.square_m)
            )

    def points(self) -> np.ndarray:
        """(columns * rows, 3) float32 corners in metres, row by row."""
        grid = np.zeros((self.rows * self.columns, 3), np.float32)
        grid[:, :2] = np.mgrid[: self.columns, : self.rows].T.reshape(-1, 2) * self.square_m
        return grid


class Rejected(NamedTuple):
    """A picture that was not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class LensCalibration:
    """What came out.

    Attributes:
        lens: Fields of ``CameraModel``: frame size, focal lengths, principal point, distortion.
        rms_px: Root mean square distance between corners found and predicted.
        coverage: Share of the frame's cells in which corners were seen.
        focal_sigma_px: Standard deviation of the focal length.
        used: Pictures that were used.
        rejected: Pictures that were not.
        warnings: What should be done better, in whole sentences.
    """

    lens: Dict[str, Union[int, float]]
    rms_px: float
    coverage: float
    focal_sigma_px: float
    used: List[str]
    rejected: List[Rejected]
    warnings: List[str]


class Views:
    """Pictures of one board from one camera, collected one by one.

    Args:
        board: The chessboard.
    """

    def __init__(self, board: Board):
        self.board = board
        self.size: Optional[Tuple[int, int]] = None
        self.names: List[str] = []
        self.corners: List[np.ndarray] = []
        self.rejected: List[Rejected] = []

    def add(self, name: str, image: np.ndarray) -> Optional[Rejected]:
        """Take in a picture, (H, W) or (H, W, 3) uint8; None if it is used, else why it is not."""
        reason = self._reason(image)
        if reason is None:
            self.names.append(name)
            return None
        rejected = Rejected(name, reason)
        self.rejected.append(rejected)
        return rejected

    def _reason(self, image: np.ndarray) -> Optional[str]:
        if self.size is not None and image.shape[:2] != self.size:
            return "is %d x %d pixels, the others are %d x %d" % (
                image.shape[1],
                image.shape[0],
                self.size[1],
                self.size[0],
            )
        corners = find_corners(image, self.board)
        if corners is None:
            return "shows no board of %d x %d inner corners" % (self.board.columns, self.board.rows)
        for name, other in zip(self.names, self.corners):
            # The same board turned round has its corners in reverse.
            moved = min(
                float(np.linalg.norm(corners - o, axis=1).max()) for o in (other, other[::-1])
            )
            if moved < _SAME_PLACE * image.shape[1]:
                return "shows the board in the same place as %s" % name
        self.size = image.shape[0], image.shape[1]
        self.corners.append(corners)
        return None


def find_corners(image: np.ndarray, board: Board) -> Optional[np.ndarray]:
    """The board's inner corners, row by row.

    Args:
        image: (H, W) or (H, W, 3) BGR, uint8.
        board: What to look for.

    Returns:
        (N, 2) float32 in OpenCV's pixels (the middle of the first one is 0, 0); None if not all were
        found.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # The sector-based detector (Duda and Frese 2018) is exact without further refinement.
    found, corners = cv2.findChessboardCornersSB(
        grey, (board.columns, board.rows), flags=cv2.CALIB_CB_NORMALIZE_IMAGE
    )
    return corners.reshape(-1, 2) if found else None


def calibrate_lens(
    pictures: Iterable[Tuple[str, np.ndarray]], board: Board, wide: bool = False
) -> LensCalibration:
    """Calibrate from pictures given by name.

    Args:
        pictures: Names and (H, W, 3) uint8 pictures, all of one size.
        board: The chessboard on them.
        wide: Fit k3 too. Only a lens of about 100 degrees and more needs it; on others it makes the
            corners of the frame worse.

    Raises:
        ReidEdgeError: As ``fit_lens``.
    """
    views = Views(board)
    for name, image in pictures:
        views.add(name, image)
    return fit_lens(views, wide)


def fit_lens(views: Views, wide: bool = False) -> LensCalibration:
    """Calibrate from collected views; those that do not fit the others are left out.

    Raises:
        ReidEdgeError: Fewer than eight usable pictures.
    """
    names, corners, rejected = list(views.names), list(views.corners), list(views.rejected)
    while True:
        if views.size is None or len(names) < _MIN_VIEWS:
            raise ReidEdgeError(
                "Calibration needs at least %d pictures that show the whole board in different places, "
                "got %d%s." % (_MIN_VIEWS, len(names), _listed(rejected))
            )
        rms, matrix, distortion, sigmas, errors = _fit(views, corners, wide)
        limit = max(_OUTLIER * float(np.median(errors)), _OUTLIER_PX)
        worst = int(errors.argmax())
        if errors[worst] <= limit:
            break
        rejected.append(Rejected(names[worst], "does not fit the others (%.1f px)" % errors[worst]))
        del names[worst], corners[worst]
    height, width = views.size
    lens: Dict[str, Union[int, float]] = {"width_px": width, "height_px": height}
    # OpenCV counts from the middle of the first pixel, CameraModel from its corner.
    lens.update(f_x_px=matrix[0, 0], f_y_px=matrix[1, 1])
    lens.update(c_x_px=matrix[0, 2] + 0.5, c_y_px=matrix[1, 2] + 0.5)
    lens.update(zip(("k1", "k2", "p1", "p2", "k3"), distortion))
    lens = {name: value if isinstance(value, int) else float(value) for name, value in lens.items()}
    coverage = _coverage(corners, views.size)
    focal_sigma = float(max(sigmas[:2]))
    warnings = _warnings(rms, coverage, focal_sigma / float(matrix[0, 0]))
    return LensCalibration(lens, rms, coverage, focal_sigma, names, rejected, warnings)


def _fit(views, corners, wide):
    points = [views.board.points()] * len(corners)
    height, width = views.size
    rms, matrix, distortion, _, _, sigmas, _, errors = cv2.calibrateCameraExtended(
        points,
        corners,
        (width, height),
        np.eye(3),
        np.zeros(5),
        flags=0 if wide else cv2.CALIB_FIX_K3,
    )
    return float(rms), matrix, distortion.ravel()[:5], sigmas.ravel(), errors.ravel()


def _coverage(corners, size):
    height, width = size
    seen = np.zeros((_CELLS, _CELLS), bool)
    for x, y in np.concatenate(corners):
        row, column = int(y / height * _CELLS), int(x / width * _CELLS)
        seen[min(max(row, 0), _CELLS - 1), min(max(column, 0), _CELLS - 1)] = True
    return float(seen.mean())


def _warnings(rms, coverage, focal):
    said = []
    if rms > _GOOD_RMS_PX:
        said.append(
            "The corners are %.1f px off (RMS; good is below %g): use a flat board, hold it still, and "
            "check its size." % (rms, _GOOD_RMS_PX)
        )
    if coverage < _GOOD_COVERAGE:
        said.append(
            "The board was seen in %.0f %% of the frame (good is above %.0f %%): what the lens does "
            "elsewhere is guessed, so show it near all edges and corners."
            % (100 * coverage, 100 * _GOOD_COVERAGE)
        )
    if focal > _GOOD_FOCAL:
        said.append(
            "The focal length is uncertain by %.1f %%: tilt the board more, in different directions."
            % (100 * focal)
        )
    return said


def _listed(rejected):
    if not rejected:
        return ""
    shown = "; ".join("%s %s" % entry for entry in rejected[:5])
    more = "; and %d more" % (len(rejected) - 5) if len(rejected) > 5 else ""
    return " (not used: %s%s)" % (shown, more)
