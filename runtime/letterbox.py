"""A frame of any size inside a network's input of fixed size, and boxes back again.

Coordinates are edges, not pixel centres: pixel i covers [i, i + 1]. So a frame resized from w to
w' pixels maps x to x * w' / w and nothing is lost by rounding: w' is the width that was really used,
not the ideal one, and each axis has its own factor. Decoders that divide by one ideal ratio instead
place a box up to half a pixel beside the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Optional, Tuple

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

FITS = ("stretch", "top_left", "centred")
ROUNDINGS = ("nearest", "down")
_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


@dataclass(frozen=True)
class Letterbox:
    """Where a frame lies inside a network's input.

    Attributes:
        frame_size: (height, width) of the frame in pixels.
        network_size: (height, width) of the network's input in pixels.
        resized: (height, width) of the frame inside the network's input.
        top, left: Rows and columns of padding above and left of it.
    """

    frame_size: Tuple[int, int]
    network_size: Tuple[int, int]
    resized: Tuple[int, int]
    top: int
    left: int

    @classmethod
    def fit(
        cls,
        frame_size: Tuple[int, int],
        network_size: Tuple[int, int],
        fit: str = "centred",
        rounding: str = "nearest",
    ) -> Letterbox:
        """Place a frame.

        Args:
            frame_size: (height, width) of the frame.
            network_size: (height, width) of the network's input.
            fit: ``"stretch"`` fills the input and changes the aspect ratio; ``"top_left"`` keeps the
                ratio and pads at the right and below; ``"centred"`` pads on both sides, an odd pixel
                below or at the right, as YOLOv5 and its descendants do.
            rounding: Of the shorter side, ``"nearest"`` (halves to even, as YOLOv5) or ``"down"``
                (as YOLOX). Computed in whole numbers, so that no float error moves a row.

        Raises:
            ReidEdgeError: A size below one pixel, or an unknown fit or rounding.
        """
        if min(*frame_size, *network_size) < 1:
            raise ReidEdgeError(
                "A letterbox needs sizes of at least one pixel, got a frame of %s and a network "
                "input of %s." % (frame_size, network_size)
            )
        if fit not in FITS or rounding not in ROUNDINGS:
            raise ReidEdgeError(
                "Fit must be one of %s and rounding one of %s, got %r and %r."
                % (", ".join(FITS), ", ".join(ROUNDINGS), fit, rounding)
            )
        if fit == "stretch":
            return cls(frame_size, network_size, network_size, 0, 0)
        (frame_h, frame_w), (height, width) = frame_size, network_size
        ratio = min(Fraction(height, frame_h), Fraction(width, frame_w))
        whole = round if rounding == "nearest" else floor
        resized_h, resized_w = (max(whole(side * ratio), 1) for side in frame_size)
        top, left = (height - resized_h) // 2, (width - resized_w) // 2
        if fit == "top_left":
            top = left = 0
        return cls(frame_size, network_size, (resized_h, resized_w), top, left)

    def apply(
        self,
        frame: np.ndarray,
        pad_value: int = 114,
        resize: str = "bilinear",
        canvas: Optional[np.ndarray] = None,
    ) -> np.ndarray:
        """Draw a frame into a network's input.

        Args:
            frame: (H, W, 3) uint8 of ``frame_size``.
            pad_value: 0 to 255, what the padding is filled with.
            resize: ``"bilinear"``, ``"bicubic"`` or ``"area"``.
            canvas: What an earlier call with the same letterbox and padding returned; only its
                inside is drawn again.

        Returns:
            (height, width, 3) uint8 of ``network_size``, ``canvas`` where given.
        """
        if frame.shape[:2] != tuple(self.frame_size):
            raise ReidEdgeError(
                "This letterbox was made for frames of %s, got %s; make one for this size."
                % (self.frame_size, frame.shape[:2])
            )
        if canvas is None:
            canvas = np.full((*self.network_size, 3), pad_value, np.uint8)
        height, width = self.resized
        inside = canvas[self.top : self.top + height, self.left : self.left + width]
        if self.resized == tuple(self.frame_size):
            inside[...] = frame
        else:
            cv2.resize(frame, (width, height), dst=inside, interpolation=_INTERPOLATION[resize])
        return canvas

    def _scale_and_shift(self):
        scale = [self.resized[1] / self.frame_size[1], self.resized[0] / self.frame_size[0]]
        shift = [self.left, self.top]
        return np.array(scale * 2, np.float32), np.array(shift * 2, np.float32)

    def to_network(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) left, top, right, bottom in frame pixels, in network pixels, float32."""
        scale, shift = self._scale_and_shift()
        return np.asarray(boxes, np.float32) * scale + shift

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) left, top, right, bottom in network pixels, in frame pixels, float32."""
        scale, shift = self._scale_and_shift()
        return (np.asarray(boxes, np.float32) - shift) / scale
