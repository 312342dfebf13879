"""What a perfect network would put out for chosen boxes: each kind's formula turned around.

Boxes are (left, top, right, bottom) in network pixels. Cells are counted by loops, not with the
decoders' grid.
"""

import math

import numpy as np

COCO = 80
QUIET = -9.0  # a log size, offset or logit where nothing is seen
BINS = 8


def cells_of(size, strides):
    """(stride, column, row) of every cell in the order of the outputs."""
    return [
        (stride, column, row)
        for stride in strides
        for row in range(math.ceil(size[0] / stride))
        for column in range(math.ceil(size[1] / stride))
    ]


def own_cell(box, cells, stride):
    """Index of the cell of ``stride`` that holds the box's centre."""
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return cells.index((stride, int(centre[0] // stride), int(centre[1] // stride)))


def centre_form(box):
    left, top, right, bottom = box
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def yolov5(boxes, scores, size, person=0, classes=COCO, objectness=0.8):
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((1, 3 * len(cells), 5 + classes), np.float32)
    output[..., :4] = [5, 5, 3, 3]
    for row, (box, score) in enumerate(zip(boxes, scores)):
        at = 7 * row + 3
        output[0, at, :4] = centre_form(box)
        output[0, at, 4] = objectness
        output[0, at, 5 + person] = score / objectness
    return [output]


def yolov8(boxes, scores, size, person=0, classes=COCO):
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((1, 4 + classes, len(cells)), np.float32)
    output[0, :4] = 3
    for row, (box, score) in enumerate(zip(boxes, scores)):
        output[0, :4, 7 * row + 3] = centre_form(box)
        output[0, 4 + person, 7 * row + 3] = score
    return [output]


def yolox(boxes, scores, size, person=0, classes=COCO, stride=16, objectness=0.8):
    cells = cells_of(size, (8, 16, 32))
    output = np.zeros((1, len(cells), 5 + classes), np.float32)
    output[..., 2:4] = QUIET
    for box, score in zip(boxes, scores):
        at = own_cell(box, cells, stride)
        _, column, row = cells[at]
        x, y, width, height = centre_form(box)
        output[0, at, :2] = x / stride - column, y / stride - row
        output[0, at, 2:4] = math.log(width / stride), math.log(height / stride)
        output[0, at, 4] = objectness
        output[0, at, 5 + person] = score / objectness
    return [output]


def yolox_decoded(boxes, scores, size, **options):
    output = yolox(boxes, scores, size, **options)[0]
    for at, (stride, column, row) in enumerate(cells_of(size, (8, 16, 32))):
        output[0, at, 0] = (output[0, at, 0] + column) * stride
        output[0, at, 1] = (output[0, at, 1] + row) * stride
        output[0, at, 2:4] = np.exp(output[0, at, 2:4]) * stride
    return [output]


def distribution(distance):
    """Logits over 0, 1, ..., BINS - 1 whose mean is ``distance`` strides."""
    logits = np.full(BINS, -40.0)
    low = min(int(distance), BINS - 2)
    share = distance - low
    logits[low : low + 2] = np.log(np.maximum([1 - share, share], 1e-18))
    return logits


def _distances(box, cell, middle):
    stride, column, row = cell
    x, y = (column + middle) * stride, (row + middle) * stride
    left, top, right, bottom = box
    return np.array([x - left, y - top, right - x, bottom - y]) / stride


def nanodet(boxes, scores, size, person=0, classes=COCO, stride=32):
    cells = cells_of(size, (8, 16, 32))
    seen = np.zeros((len(cells), classes), np.float32)
    bins = np.zeros((len(cells), 4 * BINS), np.float32)
    for box, score in zip(boxes, scores):
        at = own_cell(box, cells, stride)
        seen[at, person] = score
        distances = _distances(box, cells[at], 0.5)
        bins[at] = np.concatenate([distribution(distance) for distance in distances])
    levels = [[i for i, cell in enumerate(cells) if cell[0] == s] for s in (8, 16, 32)]
    return [values[None, rows] for values in (seen, bins) for rows in levels]


def nanodet_plus(boxes, scores, size, person=0, classes=COCO, stride=32):
    cells = cells_of(size, (8, 16, 32, 64))
    output = np.zeros((1, len(cells), classes + 4 * BINS), np.float32)
    for box, score in zip(boxes, scores):
        at = own_cell(box, cells, stride)
        output[0, at, person] = score
        distances = _distances(box, cells[at], 0.0)
        output[0, at, classes:] = np.concatenate([distribution(d) for d in distances])
    return [output]


def fastestdet(boxes, scores, size, person=0, classes=COCO, objectness=0.9):
    rows, columns = math.ceil(size[0] / 16), math.ceil(size[1] / 16)
    output = np.zeros((1, 5 + classes, rows, columns), np.float32)
    for box, score in zip(boxes, scores):
        x, y, width, height = centre_form(box)
        cell_x, cell_y = x / size[1] * columns, y / size[0] * rows
        column, row = int(cell_x), int(cell_y)
        at = (0, slice(None), row, column)
        values = np.zeros(5 + classes)
        values[0] = objectness
        values[1], values[2] = math.atanh(cell_x - column), math.atanh(cell_y - row)
        for channel, share in ((3, width / size[1]), (4, height / size[0])):
            values[channel] = math.log(share / (1 - share))
        values[5 + person] = (score / objectness**0.6) ** (1 / 0.4)
        output[at] = values
    return [output]


HEADS = {
    head.__name__: head
    for head in (yolov5, yolov8, yolox, yolox_decoded, nanodet, nanodet_plus, fastestdet)
}
