"""Frames and where they come from."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

import numpy as np

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR; the receiver owns it.
        index: Position in the source, from 0; a live source counts dropped frames too, so that a
            gap shows.
        time_s: Live: time.monotonic() when the frame had arrived. Files: index / fps.
    """

    image: np.ndarray
    index: int
    time_s: float


class Source(ABC):
    """Gives frames one after the other, until its end.

    A context manager and an iterator:

        with open_source("0") as source:
            for frame in source:
                ...

    Frames may change size on the way (a stream that switches its resolution, a folder of mixed
    images): they are given out as they are, and the log names both sizes.

    Attributes:
        name: What it was opened from, without passwords.
        live: Whether frames come at their own pace and are dropped if nobody takes them.
        fps: Frames per second, None where unknown.
        frame_count: Number of frames, None where unknown; of a video file an estimate.
        dropped: Frames that arrived and were never given out.
    """

    name: str
    live: bool = False
    fps: Optional[float] = None
    frame_count: Optional[int] = None
    dropped: int = 0
    _last_size: Optional[Tuple[int, ...]] = None

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether no frame will come any more; what ``read`` returning None means then."""

    @abstractmethod
    def read(self, timeout_s: Optional[float] = None) -> Optional[Frame]:
        """The next frame.

        Args:
            timeout_s: Longest wait for a live source or one that is paced; by default endless.

        Returns:
            None at the end (then ``ended`` is true), or when none came in time.

        Raises:
            ReidEdgeError: The source broke: undecodable, vanished, or a camera that did not come
                back.
        """

    @abstractmethod
    def close(self) -> None:
        """End the source and release the camera or file; may be called twice, from any thread."""

    def __iter__(self) -> Iterator[Frame]:
        while True:
            frame = self.read()
            if frame is None:
                return
            yield frame

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _note_size(self, image: np.ndarray) -> None:
        size = image.shape[:2]
        if self._last_size not in (None, size):
            _log.warning(
                "Source %s changed its frame size from %d x %d to %d x %d.",
                self.name,
                *(self._last_size or ())[::-1],
                *size[::-1],
            )
        self._last_size = size
