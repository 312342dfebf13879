"""Pictures for the page: scaled and encoded once for all pages; each page gets the newest only."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from follow_robot.dashboard.hub import Published
from follow_robot.dashboard.messages import to_json
from runtime.errors import ReidEdgeError


class Picture(NamedTuple):
    """One frame as the pages get it.

    Attributes:
        seq: Number of the frame.
        frame_time_s: Monotonic time when it was captured.
        status: JSON.
        jpeg: Empty where the frame has no image.
        problem: Why something of it cannot be shown, or "".
    """

    seq: int
    frame_time_s: float
    status: str
    jpeg: bytes
    problem: str = ""


def encode_jpeg(image: np.ndarray, width_px: int, quality: int) -> bytes:
    """Scale down to at most ``width_px`` and encode.

    Args:
        image: (H, W, 3) uint8 BGR or (H, W) grey.
        width_px: Wider images are scaled down, keeping their aspect.
        quality: 1 to 100.

    Raises:
        ReidEdgeError: Not such an image.
    """
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.size == 0
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    ):
        raise ReidEdgeError(
            "The dashboard shows (H, W, 3) uint8 images, got %s of shape %s."
            % (getattr(image, "dtype", type(image).__name__), getattr(image, "shape", "?"))
        )
    height, width = image.shape[:2]
    if width > width_px:
        size = (width_px, max(1, round(height * width_px / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ReidEdgeError("The picture could not be encoded as JPEG.")
    return jpeg.tobytes()


def picture_of(published: Published, width_px: int, quality: int) -> Picture:
    """Encode a frame; what cannot be encoded is a picture that says so, not an error."""
    jpeg, problem = b"", ""
    try:
        status = to_json(published.status)
    except (TypeError, ValueError, RecursionError) as error:
        status, problem = "{}", "The status of this frame is not one: %s." % error
    if published.image is not None:
        try:
            jpeg = encode_jpeg(published.image, width_px, quality)
        except (ReidEdgeError, cv2.error) as error:
            problem = str(error)
    return Picture(published.seq, published.frame_time_s, status, jpeg, problem)


class Flow:
    """How many pictures are on their way to one page: at most ``window``, never a queue.

    The page says when it has received one. So a slow page gets fewer and still the newest, and
    neither this process nor the network's buffers fill with old pictures.
    """

    def __init__(self, window: int = 2):
        self._window = window
        self._sent_seq = 0  # newest picture sent
        self._under_way = 0

    @property
    def ready(self) -> bool:
        """Whether another picture may be sent."""
        return self._under_way < self._window

    def wants(self, seq: int) -> bool:
        """Whether picture ``seq`` should be sent now."""
        return seq > self._sent_seq and self.ready

    def sent(self, seq: int) -> None:
        """Picture ``seq`` was sent."""
        self._sent_seq = seq
        self._under_way += 1

    def got(self) -> None:
        """The page received one."""
        self._under_way = max(0, self._under_way - 1)
