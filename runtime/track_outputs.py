"""The files of a tracked video: annotated video, MOTChallenge text, JSON lines, summary."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import cv2

from runtime.annotate import annotate
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.mot_format import mot_line
from runtime.sources import Frame

VIDEO, TRACKS, RECORDS, SUMMARY = "video.mp4", "tracks.txt", "frames.jsonl", "summary.json"


class TrackOutputs:
    """Writes into a hidden folder beside ``folder`` and renames it when closed well.

    Args:
        folder: Where to; it must not exist yet, or be empty, or ``force``.
        fps: Frames per second of the video.
        video: Whether to write one.
        force: Replace an earlier result: a folder with a ``summary.json`` of this command.

    Raises:
        ReidEdgeError: The folder is in use, or cannot be written.
    """

    def __init__(self, folder: Path, fps: float, video: bool = True, force: bool = False):
        self.folder, self.fps, self.video = folder, fps, video
        earlier = (folder / SUMMARY).is_file()
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            if not (force and earlier):
                raise ReidEdgeError(
                    "The output must be a new or empty folder, got %s%s."
                    % (folder, "; --force replaces the earlier result there" if earlier else "")
                )
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._work = Path(tempfile.mkdtemp(prefix="." + folder.name, dir=str(folder.parent)))
            self._tracks = (self._work / TRACKS).open("w", encoding="utf-8")
            self._records = (self._work / RECORDS).open("w", encoding="utf-8")
        except OSError as error:
            raise ReidEdgeError("Cannot write to %s: %s." % (folder, error.strerror)) from None
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Tuple[int, int] = (0, 0)

    def write(self, frame: Frame, record: FrameRecord) -> None:
        """Take in one frame, in order.

        Raises:
            ReidEdgeError: No more room, or no video encoder.
        """
        try:
            for person in record.people:
                if person.state == "confirmed":
                    self._tracks.write(
                        mot_line(record.index + 1, person.track, person.box, person.score)
                    )
            self._records.write(json.dumps({"frame": frame.index, **record.to_dict()}) + "\n")
        except OSError as error:
            raise ReidEdgeError("Cannot write to %s: %s." % (self.folder, error.strerror)) from None
        if self.video:
            self._write_video(frame, record)

    def _write_video(self, frame: Frame, record: FrameRecord) -> None:
        drawn = annotate(frame.image, record)
        if self._writer is None:
            self._size = (drawn.shape[1], drawn.shape[0])
            path = str(self._work / VIDEO)
            code = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
            self._writer = cv2.VideoWriter(path, code, self.fps, self._size)
            if not self._writer.isOpened():
                raise ReidEdgeError(
                    "This OpenCV cannot write MPEG-4 video; use --no-video for text and JSON only."
                )
        if (drawn.shape[1], drawn.shape[0]) != self._size:  # a video has one size
            drawn = cv2.resize(drawn, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(drawn)

    def keep(self, summary: Dict[str, Any]) -> Path:
        """Close everything and give the folder its name.

        Raises:
            ReidEdgeError: No more room.
        """
        try:
            self._close()
            text = json.dumps(summary, indent=2) + "\n"
            (self._work / SUMMARY).write_text(text, encoding="utf-8")
            self._work.chmod(0o755)  # mkdtemp's are private
            if self.folder.exists():
                shutil.rmtree(str(self.folder))
            self._work.replace(self.folder)
        except OSError as error:
            raise ReidEdgeError("Cannot write to %s: %s." % (self.folder, error.strerror)) from None
        return self.folder

    def discard(self) -> None:
        """Leave nothing behind; without effect after ``keep``."""
        try:
            self._close()
        except OSError:
            pass
        shutil.rmtree(str(self._work), ignore_errors=True)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._tracks.close()
        self._records.close()
