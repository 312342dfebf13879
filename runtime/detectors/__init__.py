"""Person detectors and the choice between them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional, Tuple, Union

from runtime.detectors.base import Detector, DetectorSettings
from runtime.detectors.hog import HogDetector
from runtime.detectors.horizon import HorizonRunner
from runtime.detectors.kinds import KINDS
from runtime.detectors.network import NetworkDetector
from runtime.detectors.runner import OnnxRunner, Runner
from runtime.detectors.tensorrt import TensorRTRunner
from runtime.errors import ReidEdgeError

HOG = "hog"
_PLANS = (".plan", ".engine")

__all__ = [
    "HOG",
    "KINDS",
    "Detector",
    "DetectorSettings",
    "HogDetector",
    "HorizonRunner",
    "NetworkDetector",
    "OnnxRunner",
    "Runner",
    "TensorRTRunner",
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
        model: An ONNX file; a ``.plan`` that reid-build made on this board; a ``.bin`` compiled for
            the X3, or the folder of its export; a Runner of another backend; or None for OpenCV's
            HOG people detector, which is announced as the slow default.
        kind: One of ``KINDS`` or ``"hog"``; by default recognised from the network's outputs, and on
            the X3 what the detector was compiled as.
        settings: Thresholds; the defaults if None.
        threads: CPU threads of ONNX Runtime; by default all cores.
        input_size: (height, width) for an ONNX file that leaves them open.

    Raises:
        ReidEdgeError: The file is missing or broken, or not for this board; the kind unknown, or the
            signature is none of the known ones.
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
    if not isinstance(model, (str, Path)):
        return _announced(NetworkDetector(model, kind, settings))
    runner = _open_runner(Path(model), threads, input_size)
    try:
        if isinstance(runner, HorizonRunner):
            if kind not in (None, runner.kind):
                raise ReidEdgeError(
                    "%s was compiled as a %s, which its normalisation belongs to, so its kind cannot "
                    "be %s; leave the kind out." % (model, runner.kind, kind)
                )
            kind = runner.kind
        return _announced(NetworkDetector(runner, kind, settings))
    except BaseException:
        runner.close()
        raise


def _open_runner(path: Path, threads, input_size) -> Runner:
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        raise ReidEdgeError(
            "A detector is an ONNX file, a plan or a compiled model, got the checkpoint %s; export it "
            "to ONNX with the code it was trained with." % path
        )
    if suffix in _PLANS:
        return TensorRTRunner(path, input_size)
    if suffix == ".bin" or path.is_dir():
        return HorizonRunner(path, input_size)
    return OnnxRunner(path, threads, input_size)


def _announced(detector: NetworkDetector) -> NetworkDetector:
    _log.info("Using detector %s", detector.name)
    return detector
