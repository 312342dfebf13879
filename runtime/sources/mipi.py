"""The MIPI camera of an RDK X3 or X5, through the board's own library. Untested on a board.

What the library does, by its sources (Camera_get_img in src/python/x3_sdk_python.cpp of
HorizonRDK/hobot-spdev, two versions): ``get_img`` waits up to two seconds for the next frame, and keeps Python's global lock while it
waits, so that every other thread of the process stands still. Where it has no frame to wait for (a size
that no channel has, a pipeline that failed) it returns None at once; older frames in its queue come at
once too. So a capture asks only when a frame is nearly due, by the times between the frames so far: then
it neither waits long with the lock nor spins, whichever way a version behaves. A camera driver that never
answers stops the process, which only another process can notice.
"""

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
_LOST_AFTER_S = 1.0
_FIRST_FRAME_S = 3.0  # the vendor's samples wait one second before they ask
_RETRY_S = 0.02
_EARLY = 0.2  # share of the time between frames that a frame is asked for before it is due
# Weights of the newest time between frames in their mean. Down fast: who asks too seldom gets frames
# that have waited. Up slowly: one late frame says little.
_FASTER, _SLOWER = 0.5, 0.1
_FASTEST = 4  # times the asked rate is the most, should a version return at once again and again

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
        self._asked_s = self._period_s = 1 / (settings.fps or 30)
        self._last_s: Optional[float] = None  # when the newest frame came
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
        self._sleep_until_nearly_due()
        patience_s = _FIRST_FRAME_S if self._last_s is None else _LOST_AFTER_S
        give_up_s = self._clock() + patience_s
        while True:
            # bytes, or None or a negative number where there is no frame
            data = self._camera.get_img(_IPU, self._width, self._height)
            now_s = self._clock()
            if isinstance(data, (bytes, bytearray, memoryview)) and len(data):
                self._nv12 = np.frombuffer(data, np.uint8)
                self._note_time(now_s)
                return True
            if now_s >= give_up_s:
                return False
            self._sleep(_RETRY_S)

    def _sleep_until_nearly_due(self):
        if self._last_s is not None:
            rest_s = self._last_s + self._period_s * (1 - _EARLY) - self._clock()
            if rest_s > 0:
                self._sleep(rest_s)

    def _note_time(self, now_s):
        """Keep the mean time between frames: a camera need not keep the rate it was asked for."""
        if self._last_s is not None:
            newest_s = min(now_s - self._last_s, 2 * self._period_s)
            weight = _FASTER if newest_s < self._period_s else _SLOWER
            self._period_s += weight * (newest_s - self._period_s)
            self._period_s = max(self._period_s, self._asked_s / _FASTEST)
        self._last_s = now_s

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
