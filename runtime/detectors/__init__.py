"""Person detectors and the choice between them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional, Tuple, Union

from runtime.detectors.base import Detector, DetectorSettings
from runtime.detectors.hog import HogDetector
from runtime.detectors.kinds import KINDS
from runtime.detectors.network import NetworkDetector
from runtime.detectors.runner import OnnxRunner, Runner
from runtime.errors import ReidEdgeError

HOG = "hog"

__all__ = [
    "HOG",
    "KINDS",
    "Detector",
    "DetectorSettings",
    "HogDetector",
    "NetworkDetector",
    "OnnxRunner",
    "Runner",
    "open_detector",
]

_log = logging.getLogger(__name__)


def open_detector(
    model: Union[str, Path, Runner, None] = None,
    kind: Optional[str] = None,
    settings: Optional[DetectorSettings] = None,
    threads: Optional[int] = None,
    input_size: Optional[Tuple[int, int]] = None,
) -> Detector:
    """Open a person detector.

    Args:
        model: An ONNX file, a Runner of another backend, or None for OpenCV's HOG people detector,
            which is announced as the slow default.
        kind: One of ``KINDS`` or ``"hog"``; by default recognised from the network's outputs.
        settings: Thresholds; the defaults if None.
        threads: CPU threads of ONNX Runtime; by default all cores.
        input_size: (height, width) for an ONNX file that leaves them open.

    Raises:
        ReidEdgeError: The file is missing or broken, the kind unknown, or the signature is none of
            the known ones.
    """
    if model is None:
        if kind not in (None, HOG):
            raise ReidEdgeError(
                "Detector kind %r needs a model file; give one, or leave the kind out for OpenCV's "
                "HOG detector." % kind
            )
        if kind is None:
            _log.warning(
                "No detector model given: using OpenCV's HOG people detector, the slow default, "
                "which misses small, cut-off and half hidden people; give an ONNX model of one of "
                "the kinds %s." % ", ".join(KINDS)
            )
        return HogDetector(settings)
    if kind == HOG:
        raise ReidEdgeError("Detector kind 'hog' takes no model, got %s; leave one out." % model)
    if isinstance(model, (str, Path)):
        if Path(model).suffix.lower() in (".plan", ".engine", ".bin", ".pt", ".pth"):
            raise ReidEdgeError(
                "A detector is opened from an ONNX file, got %s; give the ONNX file, or from Python "
                "a Runner of its backend." % model
            )
        model = OnnxRunner(model, threads, input_size)
    detector = NetworkDetector(model, kind, settings)
    _log.info("Using detector %s", detector.name)
    return detector
