"""Crops to network input: the one place where pixels are prepared.

Calibration, accuracy runs, parity checks and the robot all come through here.
"""

from typing import Sequence

import cv2
import numpy as np

from runtime.contract import InputContract
from runtime.errors import ReidEdgeError

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def read_image(path) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 BGR.

    Raises:
        ReidEdgeError: The file is missing or is not an image OpenCV can decode.
    """
    try:
        data = np.fromfile(str(path), dtype=np.uint8)  # not cv2.imread: it cannot say why it failed
    except OSError as error:
        raise ReidEdgeError("Cannot read image %s: %s." % (path, error.strerror or error)) from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ReidEdgeError(
            "%s is not an image that OpenCV can decode; remove or replace it." % path
        )
    return image


def resize_crop(crop: np.ndarray, contract: InputContract) -> np.ndarray:
    """Stretch one BGR crop to the contract's size and colour order, uint8 (height, width, 3)."""
    if not isinstance(crop, np.ndarray):
        raise ReidEdgeError(
            "A crop must be an (H, W, 3) uint8 BGR image, got %s." % type(crop).__name__
        )
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or 0 in crop.shape:
        raise ReidEdgeError(
            "A crop must be a non-empty (H, W, 3) uint8 BGR image, got shape %s dtype %s."
            % (crop.shape, crop.dtype)
        )
    if crop.shape[:2] != (contract.height, contract.width):
        crop = cv2.resize(
            crop, (contract.width, contract.height), interpolation=_INTERPOLATION[contract.resize]
        )
    return crop[:, :, ::-1] if contract.color == "RGB" else crop


def preprocess(crops: Sequence[np.ndarray], contract: InputContract) -> np.ndarray:
    """Turn BGR uint8 crops of any size into one network input.

    Args:
        crops: N images, each (H, W, 3) uint8 in OpenCV's BGR order.
        contract: The network's input contract.

    Returns:
        (N, 3, height, width) float32, C-contiguous.
    """
    batch = np.empty((len(crops),) + contract.shape, np.float32)
    # One multiply-add per pixel: (x * scale - mean) / std = x * gain + offset.
    mean, std = np.reshape(contract.mean, (3, 1, 1)), np.reshape(contract.std, (3, 1, 1))
    gain = (contract.scale / std).astype(np.float32)
    offset = (-mean / std).astype(np.float32)
    for row, crop in zip(batch, crops):
        np.multiply(resize_crop(crop, contract).transpose(2, 0, 1), gain, out=row)
        row += offset
    return batch


def l2_normalize(embeddings: np.ndarray) -> np.ndarray:
    """Divide each row of (N, D) by its Euclidean norm; a zero row stays zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.maximum(norms, np.finfo(np.float32).tiny)
