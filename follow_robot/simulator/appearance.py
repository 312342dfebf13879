"""Embeddings of drawn people without a network: which colours are worn at which height.

This is no person re-identification. It tells drawn people apart as long as they wear different
colours, so that everything behind the network can be run where there is no bundle; with a bundle the
simulator uses the real network.
"""

from typing import Sequence

import cv2
import numpy as np

from follow_robot.simulator.looks import CLOTHES

_SIZE = (20, 54)  # width, height that crops are reduced to
_STRIPS = 9
_SPREAD = 0.09  # distance in the axes below within which colours are alike
_LIGHT = 0.3  # weight of lightness: most of a change of it is the lamp's, not the person's
_DARK = 25.0  # grey levels below which a colour says little
_SKINS = ((96, 132, 178), (52, 76, 118))


def embed(crops: Sequence[np.ndarray]) -> np.ndarray:
    """Embed N crops, each (H, W, 3) uint8 BGR of any size, as (N, DIM) float32 of unit length."""
    if not len(crops):
        return np.empty((0, DIM), np.float32)
    pixels = np.stack(
        [cv2.resize(crop, _SIZE, interpolation=cv2.INTER_AREA) for crop in crops]
    ).reshape(-1, 3)
    axes = _axes(pixels.astype(np.float32))
    # Squared distances to the anchors, as |a|^2 - 2ab + |b|^2.
    apart = (axes**2).sum(axis=1, keepdims=True) - 2 * axes @ _ANCHORS.T + (_ANCHORS**2).sum(axis=1)
    alike = np.exp(apart * (-0.5 / _SPREAD**2))
    alike /= alike.sum(axis=1, keepdims=True) + 0.02
    rows = alike.reshape(len(crops), _SIZE[1], _SIZE[0], -1)
    columns = np.einsum("nhwk,w->nhk", rows, _MIDDLE)
    strips = columns.reshape(len(crops), _STRIPS, -1, columns.shape[-1]).mean(axis=2)
    found = np.sqrt(strips).reshape(len(crops), -1)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def _axes(pixels: np.ndarray) -> np.ndarray:
    """Blue against the rest, red against green, and lightness, of (N, 3) colours."""
    total = pixels.sum(axis=1) + _DARK
    blue = 1.5 * pixels[:, 0] / total
    red = 1.2 * (pixels[:, 2] - pixels[:, 1]) / total
    return np.stack([blue, red, _LIGHT * np.log(total)], axis=1)


def _middle() -> np.ndarray:
    """Weight of each column: a box's sides show what is behind the person."""
    x = (np.arange(_SIZE[0]) + 0.5) / _SIZE[0] - 0.5
    weight = np.exp(-0.5 * (x / 0.17) ** 2)
    return (weight / weight.sum()).astype(np.float32)


_ANCHORS = _axes(np.array([*CLOTHES.values(), *_SKINS], np.float32))
_MIDDLE = _middle()
DIM = _STRIPS * len(_ANCHORS)
