"""The detection networks that can be decoded, and which of them an unknown file is.

A kind says how pixels are prepared, how outputs are decoded and what the outputs look like. The
look is enough to tell the kinds apart, so a user need not name one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

import numpy as np

from runtime.contract import InputContract
from runtime.detectors.decoders import (
    STRIDES,
    STRIDES_P6,
    Candidates,
    Outputs,
    Size,
    decode_fastestdet,
    decode_nanodet,
    decode_nanodet_plus,
    decode_yolov5,
    decode_yolov8,
    decode_yolox,
    make_grid,
)
from runtime.errors import ReidEdgeError


@dataclass(frozen=True)
class Preparation:
    """How a frame becomes a network's input.

    Attributes:
        color, scale, mean, std, resize: As in runtime.contract.InputContract.
        fit, rounding, pad_value: How the frame is placed, see runtime.letterbox.
    """

    color: str
    scale: float
    fit: str
    mean: Tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: Tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: str = "bilinear"
    rounding: str = "nearest"
    pad_value: int = 114

    def contract(self, size: Size) -> InputContract:
        """How an image of ``size`` (height, width), already placed, becomes numbers."""
        return InputContract(*size, self.color, self.scale, self.mean, self.std, self.resize)


@dataclass(frozen=True)
class Kind:
    """One family of detection networks.

    Attributes:
        name: What a user calls it.
        signature: Its outputs in words, for messages.
        preparation: How a frame becomes its input.
        classes: Number of classes if ``outputs`` for an input of ``size`` are of this kind, else
            None.
        decode: ``decode(outputs, size, threshold, person)``, see runtime.detectors.decoders.
        plausible: Tells kinds of one shape apart by the outputs' values; not asked where a user
            names the kind.
    """

    name: str
    signature: str
    preparation: Preparation
    classes: Callable[[Outputs, Size], Optional[int]]
    decode: Callable[[Outputs, Size, float, int], Candidates]
    plausible: Callable[[Outputs, Size], bool] = lambda outputs, size: True


def _cells(size, strides=STRIDES):
    return len(make_grid(size, strides).cells)


def _yolov5(outputs, size):
    shape = outputs[0].shape
    # Three anchors a cell. Some exports add the three maps from before the decoding.
    if (
        len(shape) == 3
        and shape[0] == 1
        and len(outputs) in (1, 1 + len(STRIDES), 1 + len(STRIDES_P6))
    ):
        if shape[1] in (3 * _cells(size), 3 * _cells(size, STRIDES_P6)):
            return _positive(shape[2] - 5)
    return None


def _yolov8(outputs, size):
    shape = outputs[0].shape
    if len(outputs) == 1 and len(shape) == 3 and shape[0] == 1:
        if shape[2] in (_cells(size), _cells(size, STRIDES_P6)):
            return _positive(shape[1] - 4)
    return None


def _yolox(outputs, size):
    shape = outputs[0].shape
    if len(outputs) == 1 and len(shape) == 3 and shape[:2] == (1, _cells(size)):
        return _positive(shape[2] - 5)
    return None


def _in_pixels(outputs, size):
    # Every side is positive, and the last cells' centres lie far from the origin. Offsets in strides
    # do neither: a log size is negative wherever the network sees less than a stride.
    rows = outputs[0][0]
    return bool(rows[:, 2:4].min() > 0 and rows[:, :2].max() > min(size) / 2)


def _in_strides(outputs, size):
    return not _in_pixels(outputs, size)


def _nanodet(outputs, size):
    levels = [_cells(size, (stride,)) for stride in STRIDES]
    shapes = [output.shape for output in outputs]
    if len(shapes) != 2 * len(levels) or any(len(s) != 3 or s[0] != 1 for s in shapes):
        return None
    classes, bins = {s[2] for s in shapes[: len(levels)]}, {s[2] for s in shapes[len(levels) :]}
    if [s[1] for s in shapes] != 2 * levels or len(classes) != 1 or len(bins) != 1:
        return None
    return classes.pop() if bins.pop() % 4 == 0 else None


def _nanodet_plus(outputs, size):
    shape = outputs[0].shape
    if len(outputs) == 1 and len(shape) == 3 and shape[:2] == (1, _cells(size, STRIDES_P6)):
        return _positive(shape[2] - 32)
    return None


def _fastestdet(outputs, size):
    shape = outputs[0].shape
    if len(outputs) == 1 and len(shape) == 4 and shape[0] == 1:
        if shape[2:] == (-(-size[0] // 16), -(-size[1] // 16)):
            return _positive(shape[1] - 5)
    return None


def _positive(classes):
    return classes if classes > 0 else None


_YOLO = Preparation("RGB", 1 / 255, "centred")
_YOLOX = Preparation("BGR", 1.0, "top_left", rounding="down")
_NANODET = Preparation(
    "BGR", 1.0, "centred", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), pad_value=0
)
_FASTESTDET = Preparation("BGR", 1 / 255, "stretch", resize="area")

_ALL = (
    Kind(
        name="yolov5",
        signature="one output (1, 3 x cells, 5 + classes), such as (1, 25200, 85)",
        classes=_yolov5,
        decode=decode_yolov5,
        preparation=_YOLO,
    ),
    Kind(
        name="yolov8",
        signature="one output (1, 4 + classes, cells), such as (1, 84, 8400); YOLO11 has it too",
        classes=_yolov8,
        decode=decode_yolov8,
        preparation=_YOLO,
    ),
    Kind(
        name="yolox",
        signature="one output (1, cells, 5 + classes), such as (1, 3549, 85)",
        classes=_yolox,
        decode=decode_yolox,
        plausible=_in_strides,
        preparation=_YOLOX,
    ),
    Kind(  # exported with --decode_in_inference
        name="yolox_decoded",
        signature="as yolox, with boxes in pixels",
        classes=_yolox,
        decode=decode_yolov5,  # the same columns
        plausible=_in_pixels,
        preparation=_YOLOX,
    ),
    Kind(
        name="nanodet",
        signature="three outputs (1, cells, classes), then three (1, cells, 4 x bins)",
        classes=_nanodet,
        decode=decode_nanodet,
        preparation=_NANODET,
    ),
    Kind(
        name="nanodet_plus",
        signature="one output (1, cells of strides 8 to 64, classes + 32)",
        classes=_nanodet_plus,
        decode=decode_nanodet_plus,
        preparation=_NANODET,
    ),
    Kind(
        name="fastestdet",
        signature="one output (1, 5 + classes, height / 16, width / 16)",
        classes=_fastestdet,
        decode=decode_fastestdet,
        preparation=_FASTESTDET,
    ),
)
KINDS = {kind.name: kind for kind in _ALL}


def recognise(
    outputs: Sequence[np.ndarray], size: Size, name: str, kind: Optional[str] = None
) -> Kind:
    """Which kind a network is.

    Args:
        outputs: What it returned for one image.
        size: (height, width) of its input.
        name: What to call it in messages.
        kind: The kind a user named, which is only checked.

    Raises:
        ReidEdgeError: Unknown kind or signature, or outputs that are not of the named kind.
    """
    shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
    got = "got outputs %s for an input of %d x %d" % (shapes, *size)
    if kind is not None:
        if kind not in KINDS:
            raise ReidEdgeError(
                "Detector kind must be one of %s, got %r." % (", ".join(KINDS), kind)
            )
        if KINDS[kind].classes(outputs, size) is None:
            raise ReidEdgeError(
                "%s is no %s: expected %s, %s; leave out the kind to have it recognised."
                % (name, kind, KINDS[kind].signature, got)
            )
        return KINDS[kind]
    for candidate in KINDS.values():
        if candidate.classes(outputs, size) is not None and candidate.plausible(outputs, size):
            return candidate
    known = "; ".join("%s: %s" % (k.name, k.signature) for k in KINDS.values())
    raise ReidEdgeError(
        "%s has the signature of no known detector: %s; export it without built-in NMS as one of "
        "these (%s)." % (name, got, known)
    )
