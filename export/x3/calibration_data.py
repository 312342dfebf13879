"""Calibration files for hb_mapper: one headerless file per sample, as ``numpy.tofile`` writes it.

The toolchain reads each with ``numpy.fromfile``, as float32 where ``cal_data_type`` or the folder's
suffix ``_f32`` say so, and expects the network's own colour order, layout and size. Pixels stay in
0..255: mean and scale are in the configuration (``config.normalization``), and doing them twice is
the vendor's most frequent support case. The conversion to NV12 is the toolchain's own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.x3.config import INPUT_KINDS
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, resize_crop

SUFFIX = "_f32"
FILES = 100  # "about 100", says the vendor
_log = logging.getLogger(__name__)


def folder_name(contract: InputContract, kind: str) -> str:
    """``calibration_data_rgb_f32`` and the like."""
    return "calibration_data_%s%s" % (_train_type(contract, kind), SUFFIX)


def write_calibration_data(
    folder: str | Path,
    crops: Sequence[np.ndarray],
    contract: InputContract,
    kind: str = "nv12",
    *,
    count: int = FILES,
) -> dict[str, Any]:
    """Write the calibration folder.

    Args:
        folder: A new or empty folder whose name ends in ``_f32``.
        crops: Images, each (H, W, 3) uint8 BGR. If there are more than ``count``, that many are
            taken at equal distances. Crops of one colour tell nothing about ranges and are left
            out, as the vendor asks.
        contract: What the network expects.
        kind: As in ``config.make_config``. For ``"featuremap"`` the files hold finished network
            input, otherwise pixels.
        count: Number of files wanted.

    Returns:
        A JSON-able record: number and size of files, layout, colour, range, crops left out.

    Raises:
        ReidEdgeError: No (usable) crops, a bad crop, count or kind, or a folder that has files or
            another suffix.
    """
    folder = Path(folder)
    train_type = _train_type(contract, kind)
    if not folder.name.endswith(SUFFIX):
        raise ReidEdgeError(
            "The calibration folder's name must end in %s, by which hb_mapper knows float32 files; "
            "got %s." % (SUFFIX, folder.name)
        )
    if count < 1:
        raise ReidEdgeError("The number of calibration files must be at least 1, got %d." % count)
    usable = [crop for crop in crops if not is_uniform(crop)]
    if not usable:
        raise ReidEdgeError(
            "Calibration needs crops of people (about %d), got %d, of which %d are of one colour; "
            "give a data set with training crops." % (FILES, len(crops), len(crops))
        )
    if len(usable) < len(crops):
        _log.warning("%d crops of one colour were left out", len(crops) - len(usable))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ReidEdgeError(
            "%s must be a new or empty folder, since hb_mapper reads every file in it; remove it."
            % folder
        )
    # Equally spaced, because selections may be ordered, extremes first.
    chosen = np.unique(np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int))
    folder.mkdir(parents=True, exist_ok=True)
    for number, index in enumerate(chosen):
        sample = _sample(usable[index], contract, kind)
        sample.tofile(folder / ("%05d.%s" % (number, train_type)))
    return {
        "folder": folder.name,
        "files": len(chosen),
        "bytes_each": 4 * 3 * contract.height * contract.width,
        "type": "float32",
        "layout": "NCHW",
        "shape": [1, *contract.shape],
        "input_type_train": train_type,
        "values": "normalised" if kind == "featuremap" else "pixels 0..255",
        "left_out_uniform": len(crops) - len(usable),
    }


def _sample(crop: np.ndarray, contract: InputContract, kind: str) -> np.ndarray:
    """(3, H, W) float32, C-contiguous."""
    if kind == "featuremap":
        return preprocess([crop], contract)[0]
    pixels = resize_crop(crop, contract).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels, dtype="<f4")


def _train_type(contract: InputContract, kind: str) -> str:
    if kind not in INPUT_KINDS:
        raise ReidEdgeError(
            "The input kind must be one of %s, got %r." % (", ".join(INPUT_KINDS), kind)
        )
    return "featuremap" if kind == "featuremap" else contract.color.lower()


def is_uniform(crop: Any) -> bool:
    """Black, blown out or otherwise of one colour; what is no image is left to the preprocessing."""
    if not isinstance(crop, np.ndarray) or crop.ndim != 3 or not crop.size:
        return False
    return bool((crop == crop[:1, :1]).all())
