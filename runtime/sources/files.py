"""Video files and folders of images: every frame in order, and a clean end."""

from __future__ import annotations

import configparser
import logging
import math
import re
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Union

import cv2
import numpy as np

from runtime.errors import ReidEdgeError
from runtime.preprocess import read_image
from runtime.sources.base import Frame, Source

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
DEFAULT_FOLDER_FPS = 25.0
# FRAME_COUNT is computed from the duration in some containers; a file that ends within this share
# of it, or within two frames, is whole.
_COUNT_TOLERANCE = 0.02

_log = logging.getLogger(__name__)


class _FileSource(Source):
    """Frames in order with the time index / fps, paced on request."""

    def __init__(self, name, fps, frame_count, realtime, clock):
        self.name = name
        self.fps: float = fps
        self.frame_count = frame_count
        self._realtime, self._clock = realtime, clock
        self._started_s: Optional[float] = None
        self._index = 0
        self._stop = threading.Event()
        self._at_end = False

    @property
    def ended(self) -> bool:
        return self._at_end or self._stop.is_set()

    def read(self, timeout_s: Optional[float] = None) -> Optional[Frame]:
        if self.ended:
            return None
        if self._realtime and not self._await_turn(timeout_s):
            return None
        image = self._next_image()
        if image is None:
            self._at_end = True
            return None
        self._note_size(image)
        frame = Frame(image, self._index, self._index / self.fps)
        self._index += 1
        return frame

    def close(self) -> None:
        self._stop.set()

    def _await_turn(self, timeout_s):
        """Wait until the next frame is due; false when stopped or not due in time."""
        now_s = self._clock()
        if self._started_s is None:
            self._started_s = now_s
        wait_s = self._started_s + self._index / self.fps - now_s
        if timeout_s is not None and wait_s > timeout_s:
            self._stop.wait(timeout_s)
            return False
        return not self._stop.wait(max(wait_s, 0.0))

    def _next_image(self) -> Optional[np.ndarray]:
        raise NotImplementedError


class VideoFileSource(_FileSource):
    """A video file that OpenCV can decode."""

    def __init__(
        self,
        path: Union[str, Path],
        fps: Optional[float] = None,
        realtime: bool = False,
        video_capture: Callable[..., Any] = cv2.VideoCapture,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Open a video and decode its first frame.

        Args:
            path: The file.
            fps: Frames per second; by default what the file says.
            realtime: Give each frame no earlier than its time, as if filmed now. None is dropped.
            video_capture: cv2.VideoCapture, or what stands in for it.
            clock: Monotonic time in seconds, for ``realtime``.

        Raises:
            ReidEdgeError: The file is missing, cannot be decoded, or does not say its frame rate.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise ReidEdgeError("Video %s is not a file; check the path." % path)
        self._video = video_capture(str(path))
        self._lock = threading.Lock()  # a close from another thread waits for the running decode
        opened = self._video.isOpened()
        self._first = self._decode() if opened else None
        if self._first is None:
            self._video.release()
            raise ReidEdgeError(
                "%s is not a video that OpenCV can decode; convert it, for instance with ffmpeg to "
                "H.264 in MP4." % path
            )
        said = self._video.get(cv2.CAP_PROP_FPS)
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)
        if fps is None and not (math.isfinite(said) and 0 < said <= 1000):
            self._video.release()
            raise ReidEdgeError(
                "%s does not say its frame rate (got %s); give the frames per second."
                % (path, said)
            )
        count = int(count) if math.isfinite(count) and count > 0 else None
        super().__init__(str(path), _checked_fps(fps or said), count, realtime, clock)

    def close(self) -> None:
        super().close()
        with self._lock:
            self._video.release()
            self._first = None

    def _decode(self):
        decoded, image = self._video.read()
        return image if decoded and image is not None and image.size else None

    def _next_image(self):
        with self._lock:
            if self._stop.is_set():
                return None
            image, self._first = self._first, None
            if image is None:
                image = self._decode()
        if image is None:
            self._check_end()
        return image

    def _check_end(self):
        # OpenCV says the same for the end, for damage and for a disk that was pulled out.
        if not self.path.exists():
            raise ReidEdgeError(
                "Video %s vanished after %d frames; is its disk still there?"
                % (self.path, self._index)
            )
        missing = (self.frame_count or 0) - self._index
        if missing > max(2, _COUNT_TOLERANCE * (self.frame_count or 0)):
            _log.warning(
                "Video %s ended after %d of about %d frames: it is cut off or damaged there.",
                self.path,
                self._index,
                self.frame_count,
            )


class ImageFolderSource(_FileSource):
    """Images as frames, in the order of the numbers in their names."""

    def __init__(
        self,
        path: Union[str, Path],
        fps: Optional[float] = None,
        realtime: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        """List a folder, or take one image.

        Args:
            path: A folder of images, a sequence in MOTChallenge's layout (a folder with
                ``seqinfo.ini`` and ``img1``), or one image.
            fps: Frames per second; by default what ``seqinfo.ini`` says, else 25.
            realtime: Give each frame no earlier than its time.
            clock: Monotonic time in seconds, for ``realtime``.

        Raises:
            ReidEdgeError: Nothing there, or no images.
        """
        path = Path(path)
        if not path.is_dir() and not path.is_file():
            raise ReidEdgeError("Image folder %s does not exist; check the path." % path)
        folder, said = _sequence(path)
        self.paths = [path] if path.is_file() else list_images(folder)
        if not self.paths:
            raise ReidEdgeError(
                "Folder %s holds no images (%s); check the path."
                % (folder, ", ".join(IMAGE_SUFFIXES))
            )
        if fps is None and said is None and len(self.paths) > 1:
            _log.info("%s does not say its frame rate; assuming %g.", path, DEFAULT_FOLDER_FPS)
        rate = _checked_fps(fps or said or DEFAULT_FOLDER_FPS)
        super().__init__(str(path), rate, len(self.paths), realtime, clock)

    def _next_image(self):
        return read_image(self.paths[self._index]) if self._index < len(self.paths) else None


def list_images(folder: Path) -> List[Path]:
    """Images of a folder; numbers in names count as numbers, so 2.jpg comes before 10.jpg."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(
        images,
        key=lambda path: [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"([0-9]+)", path.name)
            if part
        ],
    )


def _sequence(path):
    """The folder of images and the frame rate that a MOTChallenge sequence's seqinfo.ini states."""
    for info in (path / "seqinfo.ini", path.parent / "seqinfo.ini"):
        if not info.is_file():
            continue
        parser = configparser.ConfigParser()
        try:
            parser.read_string(info.read_text(encoding="utf-8"))
            folder = info.parent / parser.get("Sequence", "imDir", fallback="img1")
            fps = parser.getfloat("Sequence", "frameRate")
        except (OSError, ValueError, configparser.Error) as error:
            raise ReidEdgeError(
                "%s is not a MOTChallenge sequence description (%s); mend or remove it."
                % (info, str(error).splitlines()[0])
            ) from None
        if path in (info.parent, folder):
            return folder, fps
    return path, None


def _checked_fps(fps):
    if not (math.isfinite(fps) and fps > 0):
        raise ReidEdgeError("Frames per second must be more than 0, got %s." % fps)
    return float(fps)
