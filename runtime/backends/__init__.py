"""Inference backends and the choice between them."""

import logging
from pathlib import Path
from typing import Optional

from runtime.backends.base import Backend
from runtime.bundle import ENGINES_DIR, Bundle
from runtime.errors import ReidEdgeError

BACKENDS = ("auto", "tensorrt", "onnxruntime")

_log = logging.getLogger(__name__)


def open_backend(
    bundle: Bundle,
    backend: str = "auto",
    precision: Optional[str] = None,
    threads: Optional[int] = None,
) -> Backend:
    """Open the network of a bundle.

    Args:
        bundle: An opened bundle.
        backend: ``"tensorrt"``, ``"onnxruntime"``, or ``"auto"``: a TensorRT plan when reid-build has
            made one, else ONNX Runtime. The choice is logged.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``; by default what the bundle was exported for.
        threads: CPU threads for ONNX Runtime; by default all cores.

    Raises:
        ReidEdgeError: Unknown backend or precision, or the bundle cannot serve it.
    """
    if backend not in BACKENDS:
        raise ReidEdgeError("Backend must be one of %s, got %r." % (", ".join(BACKENDS), backend))
    plans = sorted((bundle.path / ENGINES_DIR).glob("*.plan"))
    if backend == "tensorrt" or (backend == "auto" and plans):
        return _open_tensorrt(bundle, plans, precision)
    return _open_onnxruntime(bundle, precision, threads)


def _open_tensorrt(bundle, plans, precision) -> Backend:
    wanted = precision or bundle.manifest.precision
    matching = [p for p in plans if p.stem.split("-")[0] == wanted]
    if not matching:
        raise ReidEdgeError(
            "Bundle %s has no TensorRT plan for %s (found %s); run reid-build %s on this board."
            % (bundle.path, wanted, ", ".join(p.name for p in plans) or "none", bundle.path)
        )
    from runtime.backends.tensorrt import TensorRTBackend  # only where TensorRT is installed

    plan = next((p for p in matching if p.stem.endswith("-gpu")), matching[0])
    _log.info("Using TensorRT plan %s", plan.name)
    return TensorRTBackend(plan, bundle)


def _open_onnxruntime(bundle, precision, threads) -> Backend:
    try:  # here, because a board with a TensorRT plan need not have ONNX Runtime
        from runtime.backends.onnxruntime import OnnxRuntimeBackend
    except ImportError as error:
        raise ReidEdgeError(
            "Bundle %s has no TensorRT plan in use and ONNX Runtime cannot be imported (%s); "
            "install onnxruntime, or run reid-build on a board with TensorRT."
            % (bundle.path, error)
        ) from None

    wanted = precision or bundle.manifest.precision
    model: Path = bundle.find("model." + wanted)
    if bundle.manifest.target == "xavier" and wanted == "int8":
        _log.warning(
            "ONNX Runtime runs a Xavier bundle's INT8 model at about fp32 speed; "
            "for speed on this machine export with --target cpu."
        )
    _log.info("Using ONNX Runtime on %s", model.name)
    return OnnxRuntimeBackend(model, bundle.manifest.input.shape, threads=threads)
