"""Changes of layout inside (1, C, H, W) tensors: which index runs along which axis.

The BPU has neither Reshape nor Transpose. What it has is Split and Concat, and cutting a tensor along
one axis and putting the pieces together along another is how an index moves there. ``SplitConcat``
does that; ``ReshapeTranspose`` does the same with a node or two on the CPU, for a toolchain that
refuses the former, and so that the two can be compared.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

CHANNEL, ROW, COLUMN = 1, 2, 3
MAX_PIECES = 64  # the table names no limit; hundreds of one-row copies are no layout to ask for


class Layout(Protocol):
    """Every layout that a rewrite needs; c, h, w and k are indices, the sizes C, H, W and K."""

    def flatten(self, x: Tensor) -> Tensor:
        """(1, C, H, W) to (1, C, 1, H*W)."""

    def unflatten(self, x: Tensor, height: int) -> Tensor:
        """(1, C, 1, H*W) to (1, C, H, W)."""

    def matrix(self, x: Tensor) -> Tensor:
        """(1, C, H, W) to (1, 1, C, H*W)."""

    def columns_to_channels(self, x: Tensor) -> Tensor:
        """(1, 1, H, W) to (1, W, 1, H)."""

    def channels_to_columns(self, x: Tensor) -> Tensor:
        """(1, C, 1, W) to (1, 1, W, C)."""


class SplitConcat:
    """All on the BPU."""

    def flatten(self, x: Tensor) -> Tensor:
        return move(x, ROW, COLUMN)

    def unflatten(self, x: Tensor, height: int) -> Tensor:
        return _stack(x, COLUMN, int(x.shape[COLUMN]) // height, ROW)

    def matrix(self, x: Tensor) -> Tensor:
        return move(self.flatten(x), CHANNEL, ROW)

    def columns_to_channels(self, x: Tensor) -> Tensor:
        return move(move(x, COLUMN, CHANNEL), ROW, COLUMN)

    def channels_to_columns(self, x: Tensor) -> Tensor:
        return move(move(x, COLUMN, ROW), CHANNEL, COLUMN)


class ReshapeTranspose:
    """One node on the CPU for each change."""

    def flatten(self, x: Tensor) -> Tensor:
        _, channels, height, width = _sizes(x)
        return x.reshape(1, channels, 1, height * width)

    def unflatten(self, x: Tensor, height: int) -> Tensor:
        _, channels, _, positions = _sizes(x)
        return x.reshape(1, channels, height, positions // height)

    def matrix(self, x: Tensor) -> Tensor:
        _, channels, height, width = _sizes(x)
        return x.reshape(1, 1, channels, height * width)

    def columns_to_channels(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def channels_to_columns(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


LAYOUTS: dict[str, Layout] = {"bpu": SplitConcat(), "cpu": ReshapeTranspose()}


def move(x: Tensor, source: int, target: int, pieces: int = MAX_PIECES) -> Tensor:
    """Make the index along ``source`` the slow part of the index along ``target``.

    Args:
        x: (1, C, H, W).
        source, target: Two of CHANNEL, ROW and COLUMN; of sizes S and T.
        pieces: Where S is larger, it is moved in two factors by way of the third axis, with fewer
            and larger pieces.

    Returns:
        ``x`` with size 1 along ``source`` and index ``s * T + t`` along ``target``.
    """
    size = int(x.shape[source])
    if size == 1:
        return x
    outer = _factor(size) if size > pieces else 1
    if outer == 1:
        return _stack(x, source, 1, target)
    spare = CHANNEL + ROW + COLUMN - source - target
    step = int(x.shape[spare])
    x = _stack(x, source, size // outer, spare)  # the slow factor waits there
    x = _stack(x, source, 1, target)
    return _stack(x, spare, step, target)


def _stack(x: Tensor, source: int, size: int, target: int) -> Tensor:
    """Cut into pieces of ``size`` along one axis and join them along another."""
    return torch.cat(x.split(size, source), target)


def _factor(size: int) -> int:
    """The divisor ``a`` with the fewest pieces in all, a + size / a + a; 1 for a prime."""
    divisors = [a for a in range(2, size) if size % a == 0]
    return min(divisors, key=lambda a: 2 * a + size // a, default=1)


def _sizes(x: Tensor) -> tuple[int, ...]:
    return tuple(int(size) for size in x.shape)  # numbers, so that no shape is computed in ONNX
