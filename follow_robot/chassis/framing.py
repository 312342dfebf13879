"""Frames found again in a stream of bytes that may begin anywhere and be damaged anywhere."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List

_FLAT_OBJECT = re.compile(rb"\{[^{}]*\}")


class FrameScanner:
    """Binary frames that begin with a header and say or know their length.

    A sliding window: where a header is not the start of a valid frame, one byte is dropped and the
    search goes on, so no byte of a later frame is ever lost to an earlier mistake. Header and tail
    values inside a payload are therefore harmless. What holds for any stream and however it is cut
    into pieces:

    * Returned are exactly the frames that a search over the whole stream finds from left to right.
    * A whole frame in the stream is returned unless bytes in front of it, together with some of its
      own, happen to form a frame that passes every check.
    * It is returned with its last byte if all frames have one length, otherwise at most
      ``longest - 1`` bytes later (a false header in front of it may announce a long frame).
    * Fewer than ``longest`` bytes are kept between calls.

    Attributes:
        frames: Valid frames so far.
        skipped: Bytes so far that belong to none.
    """

    def __init__(
        self,
        header: bytes,
        head_bytes: int,
        length_of: Callable[[bytes], int],
        is_valid: Callable[[bytes], bool],
        longest: int,
    ):
        """Describe the frames.

        Args:
            header: What every frame begins with.
            head_bytes: How many bytes, header included, tell the length.
            length_of: Length of the whole frame from its first ``head_bytes`` bytes; 0 where this
                cannot be a frame.
            is_valid: Whether the checks (checksum, tail) of a whole frame are right.
            longest: Length of the longest frame, bytes; what announces more is none.
        """
        self.frames = self.skipped = 0
        self._header, self._head_bytes = header, head_bytes
        self._length_of, self._is_valid = length_of, is_valid
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[bytes]:
        """Take bytes; the frames they complete, whole. Never raises."""
        buffer = self._buffer
        buffer += data
        found: List[bytes] = []
        at = 0
        while True:
            start = buffer.find(self._header, at)
            if start < 0:
                start = self._begun_header(at)
                self.skipped += start - at
                break
            self.skipped += start - at
            at = start
            head = bytes(buffer[start : start + self._head_bytes])
            if len(head) < self._head_bytes:
                break
            length = self._length_of(head)
            possible = 0 < length <= self._longest
            if possible and length > len(buffer) - start:
                break
            frame = bytes(buffer[start : start + length])
            if possible and self._is_valid(frame):
                found.append(frame)
                at = start + length
            else:
                self.skipped += 1
                at = start + 1
        del buffer[:start]
        self.frames += len(found)
        return found

    def _begun_header(self, at: int) -> int:
        """Where at the end of the buffer a header may have begun, else the end."""
        for length in range(len(self._header) - 1, 0, -1):
            start = len(self._buffer) - length
            if start >= at and self._buffer.endswith(self._header[:length]):
                return start
        return len(self._buffer)


class ObjectScanner:
    """JSON objects without objects inside, whatever is around them.

    Looks for the innermost braces, so it needs no line ends and nothing in front of an object can
    hide it: every object of at most ``longest`` bytes without further braces (in strings neither)
    that arrives whole is returned with its last byte. Fewer than ``longest`` bytes are kept between
    calls.

    Attributes:
        frames: Objects so far.
        skipped: Bytes so far that belong to none; line ends count.
    """

    def __init__(self, longest: int = 1024):
        """Set the bound.

        Args:
            longest: Longest object, bytes.
        """
        self.frames = self.skipped = 0
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Dict[str, Any]]:
        """Take bytes; the objects they complete, decoded. Never raises."""
        self._buffer += data
        found: List[Dict[str, Any]] = []
        at = 0
        for match in _FLAT_OBJECT.finditer(bytes(self._buffer)):
            self.skipped += match.start() - at
            at = match.end()
            decoded = _decode(match.group()) if len(match.group()) <= self._longest else None
            if decoded is None:
                self.skipped += len(match.group())
            else:
                found.append(decoded)
        begun = self._buffer.rfind(b"{", at)
        if begun < 0 or b"}" in self._buffer[begun:] or len(self._buffer) - begun >= self._longest:
            begun = len(self._buffer)
        self.skipped += begun - at
        del self._buffer[:begun]
        self.frames += len(found)
        return found


def _decode(text):
    """The object in these bytes, None where they are not JSON."""
    try:
        decoded = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, an endless number
        return None
    return decoded if isinstance(decoded, dict) else None
