"""The black box's writer: everything that decisions were made from, in one file per run.

Recording never holds up the car. ``put`` leaves an entry for a thread and returns; a disk that is full,
slow or gone ends or thins the recording, with a warning, and nothing else. The thread looks by
itself, every ``_PERIOD_S``: woken by each entry it would take the interpreter's lock from whoever gave
it, in the middle of a frame (5 ms at the 99th percentile, against 0.01).
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, Callable, Deque, Dict, List, Optional, Tuple

import numpy as np

from follow_robot.black_box_codec import encode
from follow_robot.black_box_format import MAGIC, SUFFIX, Encoder
from follow_robot.black_box_records import EndEntry, Entry, HeaderEntry
from runtime.errors import ReidEdgeError

PART = ".part"  # behind the name of a file that is not closed yet
_PERIOD_S = 0.05  # between two looks for entries
_LOOK_S = 0.5  # between two looks at the disk's room
_TOGETHER = 64  # entries in one write
_CLOSE_S = 5.0  # a disk that takes longer to write the rest is given up

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordingSettings:
    """What a run leaves behind, to be looked at and replayed.

    Attributes:
        folder: Where black boxes are written, one file per run; null: nothing is recorded. There are
            no pictures in them, but what people looked like to the ReID network.
        min_free_mb: Recording does not start, and ends, when the disk has less room left.
        queue_records: How many records may wait for a slow disk; about 50 come per second.
        sync_s: How often what was written is forced onto the disk, against power cuts.
    """

    folder: Optional[str] = None
    min_free_mb: float = 200.0
    queue_records: int = 2000
    sync_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.min_free_mb >= 0:
            raise ReidEdgeError(
                "Recording's min_free_mb must be at least 0, got %r." % self.min_free_mb
            )
        if not 10 <= self.queue_records <= 100000:
            raise ReidEdgeError(
                "Recording's queue_records must be 10 to 100000, got %r." % self.queue_records
            )
        if not 0.1 <= self.sync_s <= 10:
            raise ReidEdgeError("Recording's sync_s must be 0.1 to 10, got %r." % self.sync_s)


class BlackBox:
    """Writes one run.

    with BlackBox(settings, header) as box:
        box.put(FrameEntry(...))
        box.put(DecisionEntry(decision_data(record, decision)))

    The file is called ``....blackbox.part`` until it was closed well. What is recorded reaches the
    operating system within ``_PERIOD_S``, so that a killed process loses a few records at most, and
    the disk every ``sync_s``.

    Attributes:
        path: The file, under its present name.
        ended: Why recording ended; None while it goes on.
        written_bytes: Size of the file so far.
        lost: Entries that were dropped because too many waited.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        header: HeaderEntry,
        warn: Callable[[str], object] = _log.warning,
        free_bytes: Callable[[Path], float] = lambda folder: shutil.disk_usage(str(folder)).free,
        open_file: Callable[[Path], BinaryIO] = lambda path: open(path, "xb", buffering=0),
    ):
        """Make the file, write the header, start the thread.

        Args:
            settings: ``folder`` must be given; it is made if it does not exist.
            header: How the run began.
            warn: Gets one sentence when recording ends early or loses entries; called from the
                writer's thread.
            free_bytes: Room left on a folder's disk.
            open_file: Makes a new file, unbuffered.

        Raises:
            ReidEdgeError: The folder cannot be written, or its disk has too little room.
        """
        if not settings.folder:
            raise ReidEdgeError("Recording needs a folder; set recording.folder.")
        self.settings, self._warn, self._free_bytes = settings, warn, free_bytes
        self.ended: Optional[str] = None
        self.written_bytes = 0
        self.lost = 0
        self._given = 0
        self._told_of_loss = False
        self._encoder = Encoder()
        self._reason = "closed"
        self._waiting: Deque[Tuple[int, Entry]] = deque()
        self._giving = threading.Lock()  # numbers go up in the order of waiting
        self._closing = threading.Event()
        self._folder = Path(settings.folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._check_room()
            self.path = self._new_path(header)
            self._file = open_file(self.path)
            try:
                self._write(MAGIC + self._encoder.encode(encode(header, 0)))
            except OSError:
                self._file.close()
                self.path.unlink()
                raise
        except OSError as error:
            raise ReidEdgeError(
                "Cannot record into %s: %s; set recording.folder to another one."
                % (self._folder, error.strerror or error)
            ) from None
        self._given = 1
        self._synced_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="black box", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> bool:
        """Record one entry, soon; whether it will be. Never waits for the disk, never raises.

        The entry and its arrays belong to the black box from now on and must not be changed. From any
        thread, but not from a signal handler, which may come in the middle of another ``put``.
        """
        if self.ended is not None or self._closing.is_set():
            return False
        with self._giving:
            number, self._given = self._given, self._given + 1
            room = len(self._waiting) < self.settings.queue_records
            if room:
                self._waiting.append((number, entry))
            else:
                self.lost += 1
        return room

    def close(self, reason: str = "closed") -> None:
        """Write what waits and an end, and give the file its final name. May be called twice."""
        if self._closing.is_set():
            return
        self._reason = reason
        self._closing.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._end("the disk did not take the end in %g s" % _CLOSE_S)

    def __enter__(self) -> BlackBox:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close("closed" if kind is None else "ended by %s" % kind.__name__)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._record()
            if self.ended is None:
                self._finish(self._reason)
                self.ended = self._reason
        except Exception as error:  # nothing that happens here may reach the car
            known = isinstance(error, (OSError, ReidEdgeError))
            text = getattr(error, "strerror", None) or str(error)
            self._end(text if known else "%s: %s" % (type(error).__name__, text))
        finally:
            try:
                self._file.close()
            except OSError:
                pass

    def _record(self) -> None:
        """Write entries until it is time to close, or the disk is nearly full."""
        looked_s = time.monotonic()
        while True:
            closing = self._closing.wait(_PERIOD_S)
            pieces: List[bytes] = []
            while self._waiting and len(pieces) < _TOGETHER:
                number, entry = self._waiting.popleft()
                pieces.append(self._encoder.encode(encode(entry, number)))
            if pieces:
                self._write(b"".join(pieces))
            elif closing:
                return
            now_s = time.monotonic()
            if now_s - self._synced_s >= self.settings.sync_s:
                os.fsync(self._file.fileno())
                self._synced_s = now_s
            if now_s - looked_s < _LOOK_S:
                continue
            looked_s = now_s
            if self.lost and not self._told_of_loss:
                self._told_of_loss = True
                self._tell("The disk is too slow: the recording %s has gaps." % self.path.name)
            try:
                self._check_room()
            except ReidEdgeError as error:
                self._finish("disk nearly full")
                self._end(str(error).rstrip("."))
                return

    def _write(self, data: bytes) -> None:
        """Append all of ``data``; an unbuffered file may take it in pieces."""
        view = memoryview(data)
        while view:
            count = self._file.write(view)
            if not count:
                raise OSError(errno.ENOSPC, "nothing more can be written")
            view = view[count:]
            self.written_bytes += count

    def _finish(self, reason: str) -> None:
        self._write(self._encoder.encode(encode(EndEntry(reason, self._given), self._given)))
        os.fsync(self._file.fileno())
        self._file.close()
        final = self.path.with_name(self.path.name[: -len(PART)])
        os.replace(str(self.path), str(final))
        self.path = final

    def _end(self, reason: str) -> None:
        """Recording is over before its time; say so once."""
        if self.ended is None:
            self.ended = reason
            self._tell("Recording ended: %s. The car goes on without." % reason)

    def _tell(self, text: str) -> None:
        try:
            self._warn(text)
        except Exception:
            _log.exception("A warning of the black box could not be given: %s", text)

    # -- the file --------------------------------------------------------------------------------

    def _check_room(self) -> None:
        free_mb = self._free_bytes(self._folder) / 1e6
        if free_mb < self.settings.min_free_mb:
            raise ReidEdgeError(
                "Recording into %s needs %g MB of free room, got %.0f; delete old recordings or set "
                "recording.folder to another disk."
                % (self._folder, self.settings.min_free_mb, free_mb)
            )

    def _new_path(self, header: HeaderEntry) -> Path:
        """A name that no recording has, closed or not."""
        stem = "follow-" + "".join(c for c in header.started_at[:19] if c.isdigit() or c == "T")
        for count in range(1, 1000):
            name = stem + ("" if count == 1 else "-%d" % count) + SUFFIX
            path = self._folder / (name + PART)
            if not path.exists() and not (self._folder / name).exists():
                return path
        raise ReidEdgeError("%s is full of recordings of this second; clear it." % self._folder)


def header_of(
    config: Dict[str, Any],
    holonomic: bool,
    strangers: Optional[np.ndarray],
    network: bool,
    notes: Optional[Dict[str, str]] = None,
) -> HeaderEntry:
    """The header of a run that begins now on this machine.

    Args:
        config: ``Config.without_secrets().to_dict()``.
        holonomic: Whether the chassis drives sideways.
        strangers: What the lock's scene begins with.
        network: Whether there is a ReID network.
        notes: What else people may want to know.
    """
    try:
        version = metadata.version("reid-edge")
    except metadata.PackageNotFoundError:  # run from a checkout
        version = "of a checkout"
    machine = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return HeaderEntry(
        "reid-edge %s" % version,
        time.monotonic(),
        datetime.now().astimezone().isoformat(timespec="seconds"),
        machine,
        config,
        holonomic,
        network,
        strangers,
        notes or {},
    )
