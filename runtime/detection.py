"""Detected persons of one frame, the overlap of boxes and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class Detections:
    """The persons found in one frame.

    Attributes:
        boxes: (N, 4) float32: left, top, right, bottom in frame pixels, where pixel i covers
            [i, i + 1]. A box may reach beyond the frame: a detector extrapolates cut-off persons.
        scores: (N,) float32, 0 to 1.

    Raises:
        ReidEdgeError: Shapes that do not fit, a value that is not finite, right < left or
            bottom < top.
    """

    boxes: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32)
        scores = np.asarray(self.scores, np.float32)
        if boxes.size == 0 and scores.size == 0:
            boxes, scores = boxes.reshape(0, 4), scores.reshape(0)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != (len(boxes),):
            raise ReidEdgeError(
                "Detections need boxes (N, 4) and scores (N,), got %s and %s."
                % (boxes.shape, scores.shape)
            )
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ReidEdgeError(
                "Detections need finite boxes and scores, got NaN or infinity; the detector or its "
                "decoder is broken."
            )
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise ReidEdgeError(
                "Boxes are left, top, right, bottom, got one with right < left or bottom < top; "
                "convert boxes of another form first."
            )
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    @classmethod
    def empty(cls) -> Detections:
        """No persons."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: np.ndarray) -> Detections:
        """The detections at ``rows``: indices, a slice or a boolean mask of (N,)."""
        return Detections(self.boxes[rows], self.scores[rows])

    @property
    def heights(self) -> np.ndarray:
        """(N,) float32 heights in pixels."""
        return self.boxes[:, 3] - self.boxes[:, 1]


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        others: (M, 4), the same.

    Returns:
        (N, M), 0 to 1, of the boxes' float type. A pair without area has 0.
    """
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    intersection = sides[..., 0] * sides[..., 1]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    other_areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = areas[:, None] + other_areas[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def nms(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression: a box goes when a better kept one overlaps it by more.

    Class-agnostic. Works on whole rows of the overlap matrix instead of box by box: assume every box
    is kept, drop those that a kept better one overlaps, and repeat until nothing changes. That ends
    with the greedy result after as many rounds as the longest chain of suppressions (Zheng et al.,
    "Enhancing Geometric Factors in Model Learning and Inference for Object Detection and Instance
    Segmentation", 2021: Cluster-NMS), two or three on real frames.

    Args:
        boxes: (N, 4) left, top, right, bottom. Memory grows with N * N: cut by score first.
        scores: (N,) finite.
        iou_threshold: 0 to 1; a pair with exactly this overlap stays.

    Returns:
        (K,) indices of the kept boxes, best first; equal scores in the order given.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    overlaps = np.triu(iou(ranked, ranked) > iou_threshold, 1)  # [better, worse]
    keep: np.ndarray = np.ones(len(order), bool)
    while True:
        survivors = np.logical_not(overlaps[keep].any(axis=0))
        if np.array_equal(survivors, keep):
            return order[keep]
        keep = survivors
