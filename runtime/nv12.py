"""NV12, the bytes a Horizon board's cameras give and its networks take.

One buffer holds the luma of every pixel, then for each block of 2 x 2 pixels one U and one V. OpenCV
writes BT.601 in video range (luma 16..235), so a model fed from here is compiled with
``input_space_and_range: bt601_video``. With the toolchain's default ``regular`` the network would
see black as 16 and white as 235.
"""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import resize_crop

# The toolchain's input_space_and_range -> code of black, codes of luma's range and of chroma's.
_RANGES = {"bt601_video": (16, 219, 224), "regular": (0, 255, 255)}
SPACES = tuple(_RANGES)

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # shares of luma in BT.601


def bgr_to_nv12(image: np.ndarray) -> np.ndarray:
    """Convert an image as OpenCV does, BT.601 in video range.

    Each U and V is that of the upper left pixel of its block; OpenCV takes no mean.

    Args:
        image: (H, W, 3) uint8 BGR, H and W even.

    Returns:
        (H * 3/2, W) uint8, C-contiguous: H rows of luma, then H/2 rows of U V U V ... .
        Flattened, it is what a board takes.

    Raises:
        ReidEdgeError: Not such an image, or an odd height or width.
    """
    _check_image(image, "BGR")
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise ReidEdgeError(
            "NV12 needs an even height and width, got %d x %d; resize the image to even sizes."
            % (height, width)
        )
    planar = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2YUV_I420)
    chroma = planar[height:].reshape(2, height // 2, width // 2)  # all of U, then all of V
    nv12 = np.empty_like(planar)
    nv12[:height] = planar[:height]
    nv12[height:, 0::2], nv12[height:, 1::2] = chroma
    return nv12


def nv12_to_yuv444(nv12: np.ndarray) -> np.ndarray:
    """Give every pixel its own chroma, by repeating it over its block as the board does.

    Args:
        nv12: (H * 3/2, W) uint8, as bgr_to_nv12 returns.

    Returns:
        (H, W, 3) uint8 in the order Y, U, V.

    Raises:
        ReidEdgeError: Not such a buffer.
    """
    if (
        not isinstance(nv12, np.ndarray)
        or nv12.dtype != np.uint8
        or nv12.ndim != 2
        or 0 in nv12.shape
        or nv12.shape[0] % 3
        or nv12.shape[1] % 2
    ):
        raise ReidEdgeError(
            "An NV12 image is (height * 3/2, width) uint8 with both sizes even, got %s; "
            "reshape the buffer to the size of its image." % _described(nv12)
        )
    height, width = nv12.shape[0] // 3 * 2, nv12.shape[1]
    chroma = nv12[height:].reshape(height // 2, width // 2, 2)
    yuv = np.empty((height, width, 3), np.uint8)
    yuv[:, :, 0] = nv12[:height]
    yuv[:, :, 1:] = chroma.repeat(2, axis=0).repeat(2, axis=1)
    return yuv


def yuv444_to_bgr(yuv: np.ndarray, space: str = "bt601_video") -> np.ndarray:
    """Convert pixels to the colours a network compiled for ``space`` sees.

    Args:
        yuv: (H, W, 3) uint8 in the order Y, U, V.
        space: The toolchain's ``input_space_and_range``: ``"bt601_video"``, or ``"regular"``
            (BT.601 in full range). What fits bgr_to_nv12 is the first.

    Returns:
        (H, W, 3) uint8 BGR, rounded and clipped.

    Raises:
        ReidEdgeError: Not such an image, or an unknown space.
    """
    _check_image(yuv, "YUV")
    if space not in _RANGES:
        raise ReidEdgeError(
            "The space of YUV must be one of %s, got %r." % (", ".join(SPACES), space)
        )
    black, luma_codes, chroma_codes = _RANGES[space]
    codes = yuv.astype(np.float32)
    luma = (codes[:, :, 0] - black) * (255 / luma_codes)
    # Chroma is the difference of blue, or red, to luma, scaled so that it fills its codes.
    blue = (codes[:, :, 1] - 128) * (255 / chroma_codes * 2 * (1 - _BLUE))
    red = (codes[:, :, 2] - 128) * (255 / chroma_codes * 2 * (1 - _RED))
    green = -(_BLUE * blue + _RED * red) / _GREEN
    bgr = luma[:, :, None] + np.stack([blue, green, red], axis=2)
    return np.clip(np.rint(bgr), 0, 255).astype(np.uint8)


def through_nv12(image: np.ndarray, space: str = "bt601_video") -> np.ndarray:
    """What a board's network sees of an image: converted to NV12 and back, its fine colour lost.

    Args:
        image: (H, W, 3) uint8 BGR of the network's input size, H and W even.
        space: What the network is compiled for, see yuv444_to_bgr.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ReidEdgeError: Not such an image, or an unknown space.
    """
    return yuv444_to_bgr(nv12_to_yuv444(bgr_to_nv12(image)), space)


def preprocess_nv12(crops: Sequence[np.ndarray], contract: InputContract) -> np.ndarray:
    """Turn BGR uint8 crops of any size into the input of a network compiled for NV12.

    The network was compiled with the contract's colour order, mean and std, so none is applied here.

    Args:
        crops: N images, each (H, W, 3) uint8 in OpenCV's BGR order.
        contract: The network's input contract, its height and width even.

    Returns:
        (N, height * width * 3/2) uint8, C-contiguous: each row is one NV12 buffer.

    Raises:
        ReidEdgeError: A crop is no image, or the network's height or width is odd.
    """
    bgr = contract.with_(color="BGR")
    batch = np.empty((len(crops), contract.height * contract.width * 3 // 2), np.uint8)
    for row, crop in zip(batch, crops):
        row[:] = bgr_to_nv12(resize_crop(crop, bgr)).reshape(-1)
    return batch


def _check_image(image, order):
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or 0 in image.shape
    ):
        raise ReidEdgeError(
            "Expected a non-empty (H, W, 3) uint8 %s image, got %s." % (order, _described(image))
        )


def _described(value):
    if isinstance(value, np.ndarray):
        return "shape %s dtype %s" % (value.shape, value.dtype)
    return type(value).__name__
