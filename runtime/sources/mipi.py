"""The MIPI camera of an RDK X3 or X5, through the board's own library."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

import cv2
import numpy as np

from runtime.errors import ReidEdgeError
from runtime.sources.captures import CameraSettings

_IPU = 2  # the module whose output has the size that was asked for
_PIPE = 0
_WIDTH_STEP = 32  # the scaler writes rows of a multiple of this width
_LOST_AFTER_S = 1.0  # also what a camera needs until its first frame, as the vendor's samples wait
_RETRY_S = 0.02

AUTO_HOST = -1  # the board looks for the connector that has a camera


def load_libsrcampy() -> Any:
    """The board's ``libsrcampy``.

    Raises:
        ReidEdgeError: It cannot be imported: this is no Horizon board.
    """
    try:
        from hobot_vio import libsrcampy
    except ImportError as error:
        raise ReidEdgeError(
            "hobot_vio cannot be imported (%s): MIPI cameras need an RDK X3's or X5's system image; "
            "for a USB camera give its number, such as 0." % error
        ) from None
    return libsrcampy


class MipiCapture:
    """A MIPI camera as a runtime.sources.captures.Capture.

    Frames come as NV12, BT.601; 1920 x 1080 at 30 frames/s by default, scaled by the board to any
    other size of 1/8 to 3/2 of the sensor's.
    """

    def __init__(
        self,
        host: int = AUTO_HOST,
        settings: Optional[CameraSettings] = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Start the camera.

        Args:
            host: Connector 0 to 2 (/etc/board_config.json), or AUTO_HOST.
            settings: Size and rate.
            clock, sleep: Time in seconds, and waiting.

        Raises:
            ReidEdgeError: Not a Horizon board, an odd size, or the camera does not start.
        """
        settings = settings or CameraSettings()
        self._width, self._height = settings.width or 1920, settings.height or 1080
        if self._width % 2 or self._height % 2:
            raise ReidEdgeError(
                "A MIPI camera gives NV12, so its size must be even, got %d x %d."
                % (self._width, self._height)
            )
        self._clock, self._sleep = clock, sleep
        self._camera: Any = load_libsrcampy().Camera()
        self._nv12: Optional[np.ndarray] = None
        status = self._camera.open_cam(_PIPE, host, settings.fps or 30, self._width, self._height)
        if status != 0:
            self.release()
            raise ReidEdgeError(
                "The MIPI camera does not start (open_cam returned %s): check the ribbon cable with "
                "the board switched off, and that no other program uses the camera." % status
            )

    def grab(self) -> bool:
        give_up_s = self._clock() + _LOST_AFTER_S
        while True:
            # bytes, or None or a negative number where there is no frame
            data = self._camera.get_img(_IPU, self._width, self._height)
            if isinstance(data, (bytes, bytearray, memoryview)) and len(data):
                self._nv12 = np.frombuffer(data, np.uint8)
                return True
            if self._clock() >= give_up_s:
                return False
            self._sleep(_RETRY_S)

    def retrieve(self) -> Optional[np.ndarray]:
        if self._nv12 is None:
            return None
        stride = self._nv12.size * 2 // (self._height * 3)
        if self._nv12.size * 2 != stride * self._height * 3 or stride not in (
            self._width,
            -(-self._width // _WIDTH_STEP) * _WIDTH_STEP,
        ):
            raise ReidEdgeError(
                "The MIPI camera gave %d bytes, expected NV12 of %d x %d; choose a width that is a "
                "multiple of %d." % (self._nv12.size, self._width, self._height, _WIDTH_STEP)
            )
        rows = self._nv12.reshape(self._height * 3 // 2, stride)[:, : self._width]
        return cv2.cvtColor(np.ascontiguousarray(rows), cv2.COLOR_YUV2BGR_NV12)

    def release(self) -> None:
        self._camera.close_cam()
