"""The black box's reader: streams a recording from its start to where it can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Iterator, Optional, Union

from follow_robot.black_box_codec import decode
from follow_robot.black_box_format import HEAD_BYTES, MAGIC, Damage, Decoder, check_magic
from follow_robot.black_box_records import EndEntry, Entry, HeaderEntry
from runtime.errors import ReidEdgeError


class BlackBoxReader:
    """Reads one recording, once, holding one record at a time.

    with BlackBoxReader(path) as reader:
        for entry in reader:
            ...
        if reader.cut:
            print(reader.cut)

    A recording that was cut or damaged is read up to there; nothing behind it can be believed.

    Attributes:
        header: How the run began.
        records: Entries read so far, the header included.
        missing: Entries that the writer had to drop among them, because its disk was too slow.
        end: The writer's last words; None before they were read, or where they are missing.
        cut: Where and why the recording breaks off, in one sentence; None if it does not.
    """

    def __init__(self, path: Union[str, Path], file: Optional[BinaryIO] = None):
        """Open a recording and read its header.

        Args:
            path: The recording; its name is part of messages.
            file: An open one to read instead.

        Raises:
            ReidEdgeError: It cannot be read, is none, is of a newer version, or has no whole header.
        """
        self.path = Path(path)
        self.records = self.missing = 0
        self.end: Optional[EndEntry] = None
        self.cut: Optional[str] = None
        self._decoder = Decoder()
        self._number = 0
        try:
            self._file = file or self.path.open("rb")
            self._offset = len(MAGIC)
            line = self._file.read(len(MAGIC))
        except OSError as error:
            raise ReidEdgeError(
                "Cannot read recording %s: %s." % (self.path, error.strerror or error)
            ) from None
        try:
            check_magic(line, str(self.path))
            header = self._next()
            if not isinstance(header, HeaderEntry):
                raise ReidEdgeError(
                    "%s has no whole header (%s); nothing can be read from it."
                    % (self.path, self.cut or "its first record is another one")
                )
        except ReidEdgeError:
            self.close()
            raise
        self.header = header

    def __iter__(self) -> Iterator[Entry]:
        while True:
            entry = self._next()
            if entry is None:
                return
            if isinstance(entry, HeaderEntry):
                self._break("a second header")
                return
            yield entry
            if isinstance(entry, EndEntry):
                self.end = entry
                if self._file.read(1):
                    self._break("more bytes behind the end")
                return

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def __enter__(self) -> BlackBoxReader:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.close()

    def _next(self) -> Optional[Entry]:
        """The next entry, or None at the end of what can be believed."""
        if self.cut is not None or self.end is not None:
            return None
        try:
            head = self._file.read(HEAD_BYTES)
            if not head:
                raise Damage("it ends without the writer's last words: power cut, or killed?")
            if len(head) < HEAD_BYTES:
                raise Damage("it ends within a record")
            length = self._decoder.length(head)
            piece = self._file.read(length)
            if len(piece) < length:
                raise Damage("it ends within a record")
            record = self._decoder.decode(head, piece)
            if record.number < self._number:
                raise Damage("records out of order")
            entry = decode(record)
        except OSError as error:
            self._break("it cannot be read further (%s)" % (error.strerror or error))
            return None
        except Damage as error:
            self._break(str(error))
            return None
        self._offset += len(head) + len(piece)
        self.missing += record.number - self._number
        self._number = record.number + 1
        self.records += 1
        return entry

    def _break(self, reason: str) -> None:
        self.cut = "%s breaks off after %d records (byte %d): %s." % (
            self.path,
            self.records,
            self._offset,
            reason,
        )
