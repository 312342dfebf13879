"""MOTChallenge text as boxes per frame, and recall and precision."""

import numpy as np

from runtime.detection import iou


def read_boxes(path, with_scores=False):
    """Frame number to (N, 4) boxes, or to (boxes, scores), in the order of the file."""
    rows = np.loadtxt(str(path), delimiter=",", ndmin=2)
    found = {}
    for number in np.unique(rows[:, 0]).astype(int):
        of_frame = rows[rows[:, 0] == number]
        boxes = of_frame[:, 2:6].copy()
        boxes[:, 2:] += boxes[:, :2]
        found[number] = (boxes, of_frame[:, 6]) if with_scores else boxes
    return found


def count_hits(truth, boxes):
    """Number of pairs with an overlap of at least 0.5, each box used once, best overlaps first."""
    overlaps = iou(truth, boxes.astype(float)) if len(boxes) else np.zeros((len(truth), 0))
    hits = 0
    while overlaps.size and overlaps.max() >= 0.5:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        overlaps[row], overlaps[:, column] = 0, 0
        hits += 1
    return hits
