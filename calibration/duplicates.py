"""Recognise images already taken, byte for byte or nearly."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

# Of 4,000 Market-1501 crops one pair is this close, and it shows one person; at a distance of 5
# pairs of different people begin.
NEAR_DISTANCE = 4

_BIT_COUNTS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def difference_hash(image: np.ndarray) -> np.ndarray:
    """64-bit perceptual hash: does brightness rise from each cell of a 9 x 8 grid to the next?

    Insensitive to size, compression and exposure. Known as dHash (N. Krawetz, 2013).

    Args:
        image: (H, W, 3) uint8 BGR.

    Returns:
        (8,) uint8, 64 packed bits.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


class DuplicateFilter:
    """Remembers the images let through, and names the way in which a new one repeats them.

    Attributes:
        exact, near: How many images were turned away, by reason.
    """

    def __init__(self) -> None:
        self.exact = 0
        self.near = 0
        self._digests: set[str] = set()
        self._hashes = np.empty((64, 8), np.uint8)

    def admit(self, content: bytes, image: np.ndarray) -> str | None:
        """Judge one image.

        Args:
            content: The file's bytes.
            image: The same decoded, (H, W, 3) uint8 BGR.

        Returns:
            SHA-256 (hex) of ``content`` if the image is new, and then it is remembered; else None.
        """
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._digests:
            self.exact += 1
            return None
        bits, taken = difference_hash(image), len(self._digests)
        distances = _BIT_COUNTS[self._hashes[:taken] ^ bits].sum(axis=1)
        if (distances <= NEAR_DISTANCE).any():
            self.near += 1
            return None
        if taken == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
        self._hashes[taken] = bits
        self._digests.add(digest)
        return digest
