"""What is known of a frame, drawn on it: boxes, track numbers, the target and the lock's state."""

import colorsys
from typing import Tuple

import cv2
import numpy as np

from runtime.frame_record import FrameRecord
from runtime.lock_types import ENROLLING, IDLE, LOCKED

Colour = Tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TARGET: Colour = (60, 220, 60)
_WARNING: Colour = (40, 160, 255)
_GOLDEN = 0.618034  # steps of hue that keep neighbouring numbers apart


def annotate(image: np.ndarray, record: FrameRecord) -> np.ndarray:
    """A copy of an (H, W, 3) uint8 BGR frame with what ``record`` says about it.

    The target has a thick double box and the word "target"; others a thin one in a colour of their
    track; tentative tracks are dashed.
    """
    drawn = image.copy()
    scale = max(image.shape[0] / 720.0, 0.45)
    thin = max(1, round(1.5 * scale))
    for person in record.people:
        corners = [round(v) for v in person.box]
        target = person.track == record.lock.track
        colour = _TARGET if target else _colour(person.track)
        if person.state == "tentative":
            _dashed(drawn, corners, colour, thin)
        else:
            cv2.rectangle(drawn, corners[:2], corners[2:], colour, 3 * thin if target else thin)
        if target:
            cv2.rectangle(drawn, corners[:2], corners[2:], (0, 0, 0), thin)
        name = "target %d" % person.track if target else "%d" % person.track
        _label(drawn, name, (corners[0], corners[1]), colour, scale)
    if record.lock.state != IDLE:
        good = record.lock.state in (LOCKED, ENROLLING)
        _label(
            drawn, _state(record), (0, image.shape[0]), _TARGET if good else _WARNING, 1.2 * scale
        )
    return drawn


def _state(record: FrameRecord) -> str:
    said = record.lock.state
    if record.lock.similarity is not None:
        said += "  similarity %.2f" % record.lock.similarity
    if record.lock.event and record.lock.event != record.lock.state:
        said += "  (%s)" % record.lock.event.replace("_", " ")
    return said


def _colour(track: int) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(track * _GOLDEN % 1.0, 0.55, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _label(
    image: np.ndarray, text: str, corner: Tuple[int, int], colour: Colour, scale: float
) -> None:
    """Dark text on a coloured ground, its lower left corner at ``corner``, kept inside the picture."""
    size = 0.55 * scale
    (width, height), below = cv2.getTextSize(text, _FONT, size, 1)
    left = min(max(corner[0], 0), max(image.shape[1] - width - 4, 0))
    bottom = min(max(corner[1], height + below + 2), image.shape[0])
    cv2.rectangle(
        image, (left, bottom - height - below - 2), (left + width + 4, bottom), colour, cv2.FILLED
    )
    cv2.putText(
        image, text, (left + 2, bottom - below), _FONT, size, (0, 0, 0), 1, lineType=cv2.LINE_AA
    )


def _dashed(image: np.ndarray, corners, colour: Colour, width: int) -> None:
    left, top, right, bottom = corners
    step = max((bottom - top) // 12, 4)
    for y in range(top, bottom, 2 * step):
        for x in (left, right):
            cv2.line(image, (x, y), (x, min(y + step, bottom)), colour, width)
    for x in range(left, right, 2 * step):
        for y in (top, bottom):
            cv2.line(image, (x, y), (min(x + step, right), y), colour, width)
