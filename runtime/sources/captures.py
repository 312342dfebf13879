"""Cameras and streams that OpenCV opens: V4L2, GStreamer, network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Optional, Protocol

import cv2
import numpy as np

from runtime.errors import ReidEdgeError

_OPEN_TIMEOUT_MS = 5000  # OpenCV waits 30 s by default for a stream that does not answer
_READ_TIMEOUT_MS = 5000


class Capture(Protocol):
    """An open camera or stream. Used by one thread at a time."""

    def grab(self) -> bool:
        """Wait for the next frame; False when the camera is lost."""

    def retrieve(self) -> Optional[np.ndarray]:
        """The grabbed frame, (H, W, 3) uint8 BGR, or None if it cannot be decoded."""

    def release(self) -> None:
        """Close the camera."""


@dataclass(frozen=True)
class CameraSettings:
    """What is asked of a camera; None leaves it as the camera is.

    Attributes:
        width, height: Size of the frames in pixels. A USB camera takes the nearest it has.
        fps: Frames per second.
        fourcc: Pixel format of a USB camera, such as ``"MJPG"``; many give full rate at larger
            sizes in MJPG only.
        flip_method: How a CSI camera's picture is turned, nvvidconv's number: 0 not, 2 by 180
            degrees.
    """

    width: Optional[int] = None
    height: Optional[int] = None
    fps: Optional[int] = None
    fourcc: Optional[str] = None
    flip_method: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "height", "fps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ReidEdgeError("Camera %s must be more than 0, got %r." % (name, value))
        if (self.width is None) != (self.height is None):
            raise ReidEdgeError(
                "A camera's size needs width and height, got %s x %s." % (self.width, self.height)
            )
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise ReidEdgeError(
                "A camera's fourcc is four letters, such as MJPG, got %r." % self.fourcc
            )
        if not 0 <= self.flip_method <= 7:
            raise ReidEdgeError("flip_method must be 0 to 7, got %r." % self.flip_method)


class Cv2Capture:
    """A cv2.VideoCapture as a Capture."""

    def __init__(self, video: Any):
        self._video = video

    def grab(self) -> bool:
        return bool(self._video.grab())

    def retrieve(self) -> Optional[np.ndarray]:
        decoded, image = self._video.retrieve()
        return image if decoded and image is not None and image.size else None

    def release(self) -> None:
        self._video.release()


def open_v4l2(
    device: str, settings: CameraSettings, video_capture: Callable[..., Any] = cv2.VideoCapture
) -> Cv2Capture:
    """Open a USB or other V4L2 camera.

    Args:
        device: Its number, such as ``"0"``, or path, such as ``"/dev/video0"``.
        settings: What is asked of it.
        video_capture: cv2.VideoCapture, or what stands in for it.

    Raises:
        ReidEdgeError: There is no such camera, or it is in use.
    """
    target = int(device) if device.isdigit() else device
    video = video_capture(target, cv2.CAP_V4L2)
    if not video.isOpened():
        video.release()
        found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise ReidEdgeError(
            "Camera %s cannot be opened (found: %s); check the number, the cable, that no other "
            "program uses it, and that you may read it (group video)." % (device, found)
        )
    if settings.fourcc:  # first: the sizes a camera offers depend on it
        video.set(cv2.CAP_PROP_FOURCC, int.from_bytes(settings.fourcc.encode(), "little"))
    if settings.width and settings.height:
        video.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    if settings.fps:
        video.set(cv2.CAP_PROP_FPS, settings.fps)
    return Cv2Capture(video)


def csi_pipeline(sensor: int, settings: CameraSettings) -> str:
    """GStreamer pipeline of a CSI camera on a Jetson; 1280 x 720 at 30 frames/s by default.

    The sensor runs at the size asked for; the picture is turned and converted by the Jetson's own
    unit, and only the last step to BGR is done by the CPU.
    """
    width, height = settings.width or 1280, settings.height or 720
    return (
        "nvarguscamerasrc sensor-id=%d ! "
        "video/x-raw(memory:NVMM), width=%d, height=%d, framerate=%d/1, format=NV12 ! "
        "nvvidconv flip-method=%d ! video/x-raw, format=BGRx ! "
        "videoconvert ! video/x-raw, format=BGR ! appsink drop=true max-buffers=1 sync=false"
        % (sensor, width, height, settings.fps or 30, settings.flip_method)
    )


def open_gstreamer(
    pipeline: str, video_capture: Callable[..., Any] = cv2.VideoCapture
) -> Cv2Capture:
    """Open a GStreamer pipeline that ends in an appsink of BGR frames.

    Raises:
        ReidEdgeError: OpenCV was built without GStreamer, or the pipeline does not start.
    """
    if video_capture is cv2.VideoCapture and not _has_backend(cv2.CAP_GSTREAMER):
        raise ReidEdgeError(
            "This OpenCV (%s) was built without GStreamer, which CSI cameras need; use the one that "
            "JetPack installs (python3-opencv), not a wheel from PyPI." % cv2.__version__
        )
    video = video_capture(pipeline, cv2.CAP_GSTREAMER)
    if not video.isOpened():
        video.release()
        raise ReidEdgeError(
            "GStreamer cannot start %r; try it with gst-launch-1.0, and for a CSI camera restart "
            "nvargus-daemon." % pipeline
        )
    return Cv2Capture(video)


def open_stream(url: str, video_capture: Callable[..., Any] = cv2.VideoCapture) -> Cv2Capture:
    """Open a network stream, such as RTSP, with time limits.

    Raises:
        ReidEdgeError: The stream does not answer, or OpenCV cannot decode it.
    """
    limits: List[int] = []
    # Since OpenCV 4.5.2; before, an unanswered stream takes OpenCV's own 30 s.
    if hasattr(cv2, "CAP_PROP_OPEN_TIMEOUT_MSEC"):
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS),
        ]
    # Only FFmpeg's backend obeys the limits, and only if it is named.
    ffmpeg = video_capture is not cv2.VideoCapture or _has_backend(cv2.CAP_FFMPEG)
    if ffmpeg and limits:
        video = video_capture(url, cv2.CAP_FFMPEG, limits)
    else:
        video = video_capture(url)
    if not video.isOpened():
        video.release()
        raise ReidEdgeError(
            "Stream %s cannot be opened; check address, user, password and network, for instance "
            "with ffplay." % without_password(url)
        )
    return Cv2Capture(video)


def without_password(url: str) -> str:
    """A URL with its password replaced by ``***``, for names and logs."""
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at or ":" not in credentials:
        return url
    return "%s%s%s:***@%s" % (scheme, separator, credentials.split(":")[0], host)


def _has_backend(backend: int) -> bool:
    return backend in cv2.videoio_registry.getBackends()
