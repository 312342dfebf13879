"""Inference backends and the choice between them."""

import logging
from pathlib import Path
from typing import Optional

from runtime.backends.base import Backend
from runtime.backends.horizon import HorizonBackend
from runtime.bundle import ENGINES_DIR, Bundle
from runtime.errors import ReidEdgeError

BACKENDS = ("auto", "tensorrt", "horizon", "onnxruntime")

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
        backend: ``"tensorrt"``, ``"horizon"``, ``"onnxruntime"``, or ``"auto"``: a TensorRT plan when
            reid-build has made one, a model compiled for the X3 when the bundle has one, else ONNX
            Runtime. The choice is logged.
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
    if backend == "horizon" or (backend == "auto" and bundle.has("model.bin")):
        return _open_horizon(bundle, precision)
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


def _open_horizon(bundle, precision) -> Backend:
    if precision not in (None, "int8"):
        raise ReidEdgeError(
            "The compiled model of bundle %s is int8, not %s; for another precision open the bundle "
            'with backend="onnxruntime".' % (bundle.path, precision)
        )
    if not bundle.has("model.bin"):
        raise ReidEdgeError(
            "Bundle %s holds no model compiled for the X3 (it holds %s); export with --target x3 and run "
            "the bundle's build.sh in the vendor's container."
            % (bundle.path, ", ".join(bundle.roles()) or "no files")
        )
    model = bundle.find("model.bin")
    _log.info("Using the Horizon BPU on %s", model.name)
    return HorizonBackend(model, bundle)


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
    if bundle.manifest.target == "x3":
        _log.warning(
            "ONNX Runtime runs an X3 bundle on the CPU; for the BPU compile its model.bin with build.sh."
        )
    _log.info("Using ONNX Runtime on %s", model.name)
    return OnnxRuntimeBackend(model, bundle.manifest.input.shape, threads=threads)
