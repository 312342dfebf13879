"""TensorRT's calibration cache: one line naming the calibrator, then one scale per tensor.

    TRT-8502-EntropyCalibration2
    input: 3f810204

A scale is ``amax / 127`` as the eight hexadecimal digits of a big-endian IEEE 754 float32; above,
128 / 127. Names are ONNX tensor names. They may contain ": ", so a line is split at its last colon,
as trtexec does. The calibrator that reads the cache must be of the kind in the first line.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.errors import ReidEdgeError

_HEADER = re.compile(r"TRT-(\d{4,6})-([A-Za-z0-9]+)")


@dataclass(frozen=True)
class TrtCache:
    """A cache's content.

    Attributes:
        scales: Tensor name to symmetric int8 scale.
        trt_version: Digits of the TensorRT version, e.g. ``"8502"`` for 8.5.2.
        kind: Calibrator, e.g. ``"EntropyCalibration2"``.
    """

    scales: dict[str, float]
    trt_version: str
    kind: str


def to_trt_cache(
    scales: Mapping[str, float], trt_version: str = "8502", kind: str = "EntropyCalibration2"
) -> str:
    """The cache file's text for symmetric scales (``amax / 127``), tensors in the given order.

    Raises:
        ReidEdgeError: A scale is not a positive finite float32 (TensorRT aborts on zero), a name
            is empty or spans lines, or the version or kind is malformed.
    """
    header = f"TRT-{trt_version}-{kind}"
    if not _HEADER.fullmatch(header):
        raise ReidEdgeError(
            "A TensorRT cache starts with a line like TRT-8502-EntropyCalibration2, "
            f"not {header!r}; give the version as digits and the calibrator's name."
        )
    lines = [header]
    for name, scale in scales.items():
        if not name or "\n" in name or "\r" in name:
            raise ReidEdgeError(f"A TensorRT cache cannot hold tensor name {name!r}; rename it.")
        lines.append(f"{name}: {_to_hex(name, scale)}")
    return "\n".join(lines) + "\n"


def from_trt_cache(text: str) -> TrtCache:
    """Read a cache file's text. Digits may lack leading zeros, as some writers omit them.

    Raises:
        ReidEdgeError: Wrong first line, a malformed or repeated entry, or a scale that is not
            positive and finite.
    """
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    header = _HEADER.fullmatch(lines[0].strip())
    if not header:
        raise ReidEdgeError(
            "A TensorRT cache starts with a line like TRT-8502-EntropyCalibration2, "
            f"got {lines[0][:60]!r}; check that it is a calibration cache."
        )
    scales: dict[str, float] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        name, colon, digits = line.rpartition(":")
        digits = digits.strip()
        if not colon or not name or not re.fullmatch(r"[0-9a-fA-F]{1,8}", digits):
            raise ReidEdgeError(
                f"Line {number} of the TensorRT cache must be a tensor name, a colon and up to "
                f"eight hexadecimal digits, got {line[:80]!r}."
            )
        if name in scales:
            raise ReidEdgeError(f"Line {number} of the TensorRT cache repeats tensor {name!r}.")
        (scale,) = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))
        scales[name] = _checked(name, scale)
    return TrtCache(scales, header[1], header[2])


def _to_hex(name: str, scale: float) -> str:
    try:
        packed = struct.pack(">f", _checked(name, scale))
    except OverflowError:
        raise _bad_scale(name, scale) from None
    _checked(name, struct.unpack(">f", packed)[0])  # may have rounded to zero
    return packed.hex()


def _checked(name: str, scale: float) -> float:
    if not (math.isfinite(scale) and scale > 0):
        raise _bad_scale(name, scale)
    return scale


def _bad_scale(name: str, scale: float) -> ReidEdgeError:
    return ReidEdgeError(
        f"The scale of tensor {name!r} must be a positive float32, got {scale!r}; "
        "calibrate again or leave the tensor out."
    )
