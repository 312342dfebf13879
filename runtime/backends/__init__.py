"""Inference backends and the choice between them."""

import logging
from pathlib import Path
from typing import Optional

from runtime.backends.base import Backend
from runtime.backends.horizon import HorizonBackend, check_golden
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
            reid-build has made one, on a Horizon board the bundle's compiled model, else ONNX
            Runtime. The choice is logged. A bundle for the X3 that was not compiled yet is refused
            on the board rather than run slowly on its CPU.
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
    if backend == "horizon" or (backend == "auto" and _for_this_board(bundle)):
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


def _for_this_board(bundle) -> bool:
    """Whether a bundle is for the X3 and this machine has a BPU, as far as its software tells."""
    if bundle.manifest.target != "x3":
        return False
    try:
        import hobot_dnn  # noqa: F401  # part of the board's system image
    except ImportError:
        return False
    return True


def _open_horizon(bundle, precision) -> Backend:
    if precision not in (None, "int8"):
        raise ReidEdgeError(
            "The compiled model of bundle %s is int8, not %s; for another precision use ONNX Runtime "
            "(--backend onnxruntime)." % (bundle.path, precision)
        )
    if bundle.manifest.target != "x3":
        raise ReidEdgeError(
            "Bundle %s was exported for %s, and the BPU runs bundles for x3; export the network with "
            "--target x3." % (bundle.path, bundle.manifest.target)
        )
    if not bundle.has("model.bin"):
        raise ReidEdgeError(
            "Bundle %s holds no model compiled for the X3; on the workstation run its x3/build.sh, then "
            "reid-export --target x3 --fold %s, and copy the bundle here again (or pass --backend "
            "onnxruntime to run it slowly on the CPU)." % (bundle.path, bundle.path.name)
        )
    model = bundle.find("model.bin")
    _log.info("Using the Horizon BPU on %s", model.name)
    backend = HorizonBackend(model, bundle)
    if bundle.has("golden"):
        check_golden(backend, bundle.find("golden"))
    return backend


def _open_onnxruntime(bundle, precision, threads) -> Backend:
    try:  # here, because a board with a TensorRT plan need not have ONNX Runtime
        from runtime.backends.onnxruntime import OnnxRuntimeBackend
    except ImportError as error:
        instead = {
            "xavier": ", or run reid-build on a board with TensorRT",
            "x3": ", or compile the bundle and use it on an X3 (README, Horizon Sunrise X3)",
        }
        raise ReidEdgeError(
            "Bundle %s needs ONNX Runtime here, which cannot be imported (%s); install onnxruntime%s."
            % (bundle.path, error, instead.get(bundle.manifest.target, ""))
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
            "ONNX Runtime only simulates an X3 bundle, slowly; on the board its compiled model is used."
        )
    _log.info("Using ONNX Runtime on %s", model.name)
    return OnnxRuntimeBackend(model, bundle.manifest.input.shape, threads=threads)
