"""The files of a tracked video: annotated video, MOTChallenge text, JSON lines, summary."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Optional, Tuple

import cv2

from runtime.annotate import annotate
from runtime.errors import ReidEdgeError
from runtime.frame_record import FrameRecord
from runtime.mot_format import mot_line
from runtime.sources import Frame

VIDEO, TRACKS, RECORDS, SUMMARY = "video.mp4", "tracks.txt", "frames.jsonl", "summary.json"
_COUNT_TOLERANCE = (
    0.01  # some builds of OpenCV compute a video's number of frames from its duration
)


class TrackOutputs:
    """Writes into a hidden folder beside ``folder`` and renames it when closed well.

    Args:
        folder: Where to; it must not exist yet, or be empty, or ``force``.
        fps: Frames per second of the video.
        video: Whether to write one.
        force: Replace an earlier result: a folder with the files of this command and no others.

    Raises:
        ReidEdgeError: The folder is in use, or cannot be written.
    """

    def __init__(self, folder: Path, fps: float, video: bool = True, force: bool = False):
        self.folder, self.fps, self.video, self.force = folder, fps, video, force
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Tuple[int, int] = (0, 0)
        self._frames = 0  # in the video
        self._new_parents: List[Path] = []
        self._work = folder.parent
        try:
            _check_free(folder, force)
            self._new_parents = [parent for parent in folder.parents if not parent.exists()]
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._work = Path(tempfile.mkdtemp(prefix="." + folder.name, dir=str(folder.parent)))
            self._tracks = (self._work / TRACKS).open("w", encoding="utf-8")
            self._records = (self._work / RECORDS).open("w", encoding="utf-8")
        except OSError as error:
            self._remove()
            self._refuse(error)

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
            self._refuse(error)
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
        self._frames += 1

    def keep(self, summary: Dict[str, Any]) -> Path:
        """Close everything and give the folder its name.

        Raises:
            ReidEdgeError: No more room, or the folder is in use by now.
        """
        try:
            self._close()
            self._check_video()
            text = json.dumps(summary, indent=2) + "\n"
            (self._work / SUMMARY).write_text(text, encoding="utf-8")
            self._work.chmod(0o755)  # mkdtemp's are private
            _check_free(self.folder, self.force)
            self._rename()
        except OSError as error:
            self._refuse(error)
        return self.folder

    def _check_video(self) -> None:
        """OpenCV does not say when it cannot write: count the frames that can be read back."""
        if not self._frames:
            return
        reader = cv2.VideoCapture(str(self._work / VIDEO))
        count = reader.get(cv2.CAP_PROP_FRAME_COUNT) if reader.isOpened() else 0.0
        reader.release()
        if not abs(count - self._frames) <= 1 + _COUNT_TOLERANCE * self._frames:
            raise ReidEdgeError(
                "Cannot write to %s: of %d frames of the video %d can be read back; make room there, "
                "or use --no-video." % (self.folder, self._frames, max(count, 0))
            )

    def _rename(self) -> None:
        """Put the result in its place; an earlier one goes only when the new one is there."""
        earlier = None
        if self.folder.exists():
            earlier = self._work.with_name(self._work.name + ".earlier")
            os.replace(str(self.folder), str(earlier))
        try:
            os.replace(str(self._work), str(self.folder))
        except BaseException:
            if earlier is not None:
                os.replace(str(earlier), str(self.folder))
            raise
        if earlier is not None:
            shutil.rmtree(str(earlier), ignore_errors=True)

    def discard(self) -> None:
        """Leave nothing behind; without effect after ``keep``."""
        with contextlib.suppress(OSError):
            self._close()
        self._remove()

    def _remove(self) -> None:
        if self._work != self.folder.parent:
            shutil.rmtree(str(self._work), ignore_errors=True)
        with contextlib.suppress(OSError):  # in use: by the result, or by somebody else
            for parent in self._new_parents:
                parent.rmdir()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        try:
            self._tracks.close()
        finally:
            self._records.close()

    def _refuse(self, error: OSError) -> NoReturn:
        raise ReidEdgeError(
            "Cannot write to %s: %s." % (self.folder, error.strerror or error)
        ) from None


def _check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that has anything in it, but with ``force`` not an earlier result."""
    if not folder.exists() and not folder.is_symlink():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else None
    if names == set():
        return
    earlier = names is not None and {SUMMARY} <= names <= {VIDEO, TRACKS, RECORDS, SUMMARY}
    if not (force and earlier):
        raise ReidEdgeError(
            "The output must be a new or empty folder, got %s%s."
            % (folder, "; --force replaces the earlier result there" if earlier else "")
        )
