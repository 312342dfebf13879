"""Whether what arrives from the chassis makes sense."""

from __future__ import annotations

from typing import Optional

GARBAGE = "bytes arrive but none form a frame: wrong baud rate or chassis type?"


class LinkQuality:
    """Notices a wrong baud rate or chassis type: many bytes and not one valid frame among them.

    Attributes:
        problem: The sentence while it is so, else None.
    """

    def __init__(self, limit_bytes: int = 1024):
        """Set the patience.

        Args:
            limit_bytes: Bytes without a valid frame that are a problem. The boot messages of an
                ESP32 and a few damaged reports are fewer.
        """
        self.problem: Optional[str] = None
        self._limit_bytes = limit_bytes
        self._frames = self._without = 0

    def note(self, received: int, frames: int) -> Optional[str]:
        """Take what one read gave.

        Args:
            received: Bytes read.
            frames: Valid frames so far (``Chassis.frames``).

        Returns:
            The sentence when the problem begins, None at all other times.
        """
        if frames != self._frames:
            self._frames, self._without, self.problem = frames, 0, None
            return None
        self._without += received
        if self.problem is None and self._without >= self._limit_bytes:
            self.problem = GARBAGE
            return self.problem
        return None
