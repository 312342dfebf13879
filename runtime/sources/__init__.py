"""Sources of frames and the choice between them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

import cv2

from runtime.errors import ReidEdgeError
from runtime.sources.base import Frame, Source
from runtime.sources.captures import (
    CameraSettings,
    Capture,
    csi_pipeline,
    open_gstreamer,
    open_stream,
    open_v4l2,
    without_password,
)
from runtime.sources.files import IMAGE_SUFFIXES, ImageFolderSource, VideoFileSource
from runtime.sources.live import Backoff, LiveSource
from runtime.sources.mipi import AUTO_HOST, MipiCapture

__all__ = [
    "Backoff",
    "CameraSettings",
    "Capture",
    "Frame",
    "ImageFolderSource",
    "LiveSource",
    "Source",
    "VideoFileSource",
    "open_source",
]

_STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
FORMS = (
    "a camera number (0) or device (/dev/video0, /dev/v4l/by-id/...)",
    "csi://SENSOR (Jetson)",
    "mipi:// or mipi://CONNECTOR (RDK X3)",
    "rtsp://USER:PASSWORD@HOST/PATH or another stream",
    "a GStreamer pipeline ending in appsink",
    "a video file",
    "a folder of images",
)


def open_source(
    text: str,
    camera: Optional[CameraSettings] = None,
    fps: Optional[float] = None,
    realtime: bool = False,
    backoff: Optional[Backoff] = None,
    give_up_after_s: Optional[float] = 60.0,
    video_capture: Callable[..., Any] = cv2.VideoCapture,
) -> Source:
    """Open what a user names.

    Args:
        text: One of ``FORMS``.
        camera: What is asked of a camera.
        fps: Frames per second of a file or folder, where it does not say or says it wrongly.
        realtime: Pace files as if they were filmed now.
        backoff: Waits before a lost camera is opened again.
        give_up_after_s: Time without a frame after which a live source raises; None never.
        video_capture: cv2.VideoCapture, or what stands in for it.

    Raises:
        ReidEdgeError: Nothing of that form, or it cannot be opened.
    """
    text = str(text).strip()
    camera = camera or CameraSettings()
    live = partial(LiveSource, backoff=backoff, give_up_after_s=give_up_after_s)
    if not text:  # as a path it would be the current folder
        raise ReidEdgeError(_unknown(text))
    if text.isdigit() or text.startswith("/dev/"):
        return live(partial(open_v4l2, text, camera, video_capture), "camera " + text)
    scheme, separator, rest = text.partition("://")
    if separator and " " not in scheme:
        scheme = scheme.lower()
        if scheme == "csi":
            pipeline = csi_pipeline(_number(text, rest, range(8)), camera)
            return live(partial(open_gstreamer, pipeline, video_capture), text)
        if scheme == "mipi":
            host = AUTO_HOST if not rest else _number(text, rest, range(3))
            return live(partial(MipiCapture, host, camera), text)
        if scheme in _STREAMS:
            return live(partial(open_stream, text, video_capture), without_password(text))
        raise ReidEdgeError(_unknown(without_password(text)))
    if "!" in text and "appsink" in text:
        return live(partial(open_gstreamer, text, video_capture), "pipeline " + text.split()[0])
    path = Path(text)
    if path.is_dir() or (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES):
        return ImageFolderSource(path, fps, realtime)
    if path.is_file():
        return VideoFileSource(path, fps, realtime, video_capture)
    raise ReidEdgeError(_unknown(without_password(text)))


def _number(text, rest, allowed):
    if not rest.isdigit() or int(rest) not in allowed:
        raise ReidEdgeError(
            "The camera in %r must be a number from %d to %d." % (text, allowed[0], allowed[-1])
        )
    return int(rest)


def _unknown(text):
    return "Source %r does not exist and is none of: %s." % (text, "; ".join(FORMS))
