"""Who is meant: the person under a box or a click, or the one in front of the camera."""

from typing import Optional, Sequence

import numpy as np

from runtime.detection import iou
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord, Seen

_SAME_BOX = 0.3  # IoU from which a drawn box means a person


def at_box(record: Optional[FrameRecord], box: Sequence[float]) -> int:
    """Track of the person whose box overlaps ``box`` (left, top, right, bottom) most.

    Raises:
        ReidEdgeError: No frame yet, nobody seen, not four numbers, or the box lies outside the frame
            or on nobody.
    """
    record = _with_people(record)
    height, width = record.frame_size
    try:
        left, top, right, bottom = (float(v) for v in box)
    except (TypeError, ValueError):
        raise ReidEdgeError(
            "The box of the target must be four numbers (left, top, right, bottom in pixels), got %r."
            % (box,)
        ) from None
    inside = left < right and top < bottom and left < width and top < height
    if not (inside and right > 0 and bottom > 0):
        raise ReidEdgeError(
            "The box of the target must lie in the frame of %d x %d pixels as left, top, right, "
            "bottom, got %s." % (width, height, [left, top, right, bottom])
        )
    boxes = np.array([p.box for p in record.people], np.float64)
    overlaps = iou(np.array([[left, top, right, bottom]], np.float64), boxes)[0]
    best = int(overlaps.argmax())
    if not overlaps[best] >= _SAME_BOX:
        raise ReidEdgeError(
            "Nobody is seen at %s; people are at %s."
            % ([left, top, right, bottom], [_whole(p) for p in record.people])
        )
    return record.people[best].track


def at_point(record: Optional[FrameRecord], x: float, y: float) -> int:
    """Track of the person under a click at pixel (x, y); of several, the one in front.

    Raises:
        ReidEdgeError: No frame yet, nobody seen, or nobody there.
    """
    record = _with_people(record)
    there = [p for p in record.people if p.box[0] <= x < p.box[2] and p.box[1] <= y < p.box[3]]
    if not there:
        raise ReidEdgeError(
            "Nobody is seen at (%g, %g); people are at %s."
            % (x, y, [_whole(p) for p in record.people])
        )
    return max(there, key=lambda p: p.box[3]).track


def in_front(record: Optional[FrameRecord]) -> int:
    """Track of whoever stands in front of the camera: tall, and near the middle of the frame.

    Raises:
        ReidEdgeError: No frame yet, or nobody seen.
    """
    record = _with_people(record)
    width = record.frame_size[1]

    def nearness(person: Seen) -> float:
        left, top, right, bottom = person.box
        aside = abs((left + right) / 2 - width / 2) / (width / 2)
        return (bottom - top) * max(1 - aside, 0) * person.quality

    return max(record.people, key=nearness).track


def _with_people(record: Optional[FrameRecord]) -> FrameRecord:
    if record is None:
        raise ReidEdgeError("Nobody can be chosen before the first frame.")
    if not record.people:
        raise ReidEdgeError("Nobody can be chosen: no person is seen on frame %d." % record.index)
    return record


def _whole(person: Seen) -> Sequence[int]:
    return [round(v) for v in person.box]
